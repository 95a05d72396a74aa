"""`make dev`: the service with reload, on a real PostgreSQL and a real Valkey, without a cluster and without Docker.

What PostgreSQL holds is kept in build/dev; remove that folder to begin anew.
"""

import http.client
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from dev.servers import PostgreSQL, Valkey, bound
from toolkit import valkey_programs
from toolkit.apt import may_install
from toolkit.exclusive import exclusive_run
from toolkit.paths import BUILD, ROOT, shown
from toolkit.ports import from_environment
from toolkit.process import CommandFailed, Failure, output

HOME = BUILD / "dev"
APP, KIT = ROOT / "app", ROOT / "kit"
DATABASE = "links"
PORTS = {"APP_PORT": 8000, "APP_MANAGEMENT_PORT": 9000, "POSTGRESQL_PORT": 15432, "VALKEY_PORT": 16379}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TOKEN_SECONDS = 7 * 24 * 3600
READY_SECONDS = 30.0
STOP_SECONDS = 10.0
LOOK_SECONDS = 0.25  # between two looks at the files

Snapshot = dict[Path, tuple[int, int]]


def say(line: str) -> None:
    print(line, flush=True)


def ports() -> dict[str, int]:
    """Every port, from the environment or as usual. Raises Failure for one that cannot be had."""
    chosen = {name: from_environment(name, usual) for name, usual in PORTS.items()}
    for name, number in chosen.items():
        if other := next((n for n in chosen if n != name and chosen[n] == number), None):
            raise Failure(f"{name} and {other} are both {number}: set one of them to something else.")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", number))
            except OSError as error:
                raise Failure(
                    f"Port {number} cannot be had ({error.strerror}): stop what uses it, or choose another one, as in "
                    f"`make dev {name}={number + 1}`."
                ) from error
    return chosen


def password() -> str:
    """The servers' password, made once."""
    file = HOME / "password"
    if not file.exists():
        with open(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as made:
            made.write(secrets.token_urlsafe(18))
    return file.read_text(encoding="ascii")


@contextmanager
def postgresql(number: int, word: str) -> Iterator[PostgreSQL]:
    """The database, made when there is none yet."""
    server = PostgreSQL(HOME / "postgresql", port=number, password=word)
    if not (server.directory / "whole").exists():
        server.create()
        (server.directory / "whole").touch()
    try:
        server.start()
        if not server.execute(f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'").strip():  # noqa: S608  # a constant
            server.execute(f"CREATE DATABASE {DATABASE}")
        yield server
    finally:
        if server.runs:
            server.stop()


def stop_forgotten() -> None:
    """End the database of a run that was killed."""
    server = PostgreSQL(HOME / "postgresql", password=password())
    if server.runs:
        server.stop()


@contextmanager
def valkey(number: int, word: str) -> Iterator[Valkey]:
    program = valkey_programs.server()
    if program is None and may_install():
        say("Fetching Valkey, once ...")
        program = valkey_programs.obtain()
    if program is None:
        raise Failure("valkey-server is missing: install it, as with apt-get install valkey-server.")
    (HOME / "valkey").mkdir(parents=True, exist_ok=True)
    server = Valkey(bound(program), HOME / "valkey", port=number, password=word)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@dataclass
class DevServer:
    """`python -m app`, started anew when its files change."""

    environment: dict[str, str]
    management_port: int
    process: "subprocess.Popen[bytes] | None" = None
    minting: "subprocess.Popen[str] | None" = None
    migrated: bool = False

    def mint(self) -> None:
        """Begin to make a token; it is ready by the time the service is."""
        argv = [sys.executable, "-m", "app", "token", f"--expires-in={TOKEN_SECONDS}"]
        self.minting = subprocess.Popen(argv, cwd=HOME, env=self.environment, stdout=subprocess.PIPE, text=True)

    def token(self) -> str:
        """It is made anew if the code could not make one when it was begun."""
        if self.minting is None or self.minting.wait():
            self.mint()
        return self.minting.communicate()[0].strip() if self.minting else ""

    def migrate(self) -> None:
        """Bring the database's schema to what the code wants; says why not."""
        try:
            output([sys.executable, "-m", "app", "migrate"], cwd=HOME, env=self.environment)
            self.migrated = True
        except CommandFailed as error:
            say(f"The migration failed:\n{error}")
            self.migrated = False

    def run(self) -> bool:
        """Start it where the database is what it wants, and wait; whether it is ready."""
        if not self.migrated:
            self.migrate()
        if not self.migrated:
            return False
        self.start()
        return self.wait_ready()

    def start(self) -> None:
        # A session of its own: Ctrl-C comes to us alone, and the servers end after the service.
        self.process = subprocess.Popen(self.command, cwd=HOME, env=self.environment, start_new_session=True)

    @property
    def command(self) -> list[str]:
        argv = [sys.executable, "-m", "app", "serve"]
        # A debugger goes on in what is started as Python, and in nothing that starts Python in turn.
        return argv if "pydevd" in sys.modules else bound(argv)

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def wait_ready(self) -> bool:
        """Wait until it is ready; False when it ended instead, or takes too long."""
        deadline = time.monotonic() + READY_SECONDS
        while self.process and self.process.poll() is None and time.monotonic() < deadline:
            if self.is_ready():
                return True
            time.sleep(0.02)
        return False

    def is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.management_port, timeout=1)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False  # not yet
        finally:
            connection.close()


def environment(chosen: dict[str, int], database: PostgreSQL, cache: Valkey) -> dict[str, str]:
    """The service's variables: those of the developer's own environment, but for the servers that are started here."""
    url = f"http://127.0.0.1:{chosen['APP_PORT']}"
    usual = {
        "APP_DEV_KEY_FILE": str(HOME / "dev-key.json"),
        "APP_DOCS": "on",
        "APP_DRAIN_DELAY_SECONDS": "0",
        "APP_DRAIN_TIMEOUT_SECONDS": "2",
        "APP_PUBLIC_URL": url,
        "APP_RATE_LIMIT_TOKEN_PER_MINUTE": "0",
        "APP_RATE_LIMIT_ADDRESS_PER_MINUTE": "0",
    }
    ours = {
        "APP_DATABASE_URL": database.url(DATABASE),
        "APP_VALKEY_URL": cache.url,
        "APP_PORT": str(chosen["APP_PORT"]),
        "APP_MANAGEMENT_PORT": str(chosen["APP_MANAGEMENT_PORT"]),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{KIT}",
    }
    return {**usual, **os.environ, **ours}


def snapshot() -> Snapshot:
    """What the service's files look like: a change changes their time or size. The kernel (inotify(7)) does not tell of
    files in a folder that was moved, nor of all that others share; and a local cluster may use up its limits."""
    found = {}
    for file in (*APP.rglob("*.py"), *KIT.rglob("*.py")):
        try:
            status = file.stat()
        except FileNotFoundError:  # an editor is replacing it
            continue
        found[file] = (status.st_mtime_ns, status.st_size)
    return found


def changed(before: Snapshot, after: Snapshot) -> list[Path]:
    return sorted({file for file in before.keys() | after.keys() if before.get(file) != after.get(file)})


def watch(service: DevServer, ready: Callable[[], None]) -> None:
    """Run the service until interrupted; start it anew when a file of app/ or kit/ has changed. Calls `ready` once."""
    seen = snapshot()
    runs = welcomed = service.run()
    if runs:
        ready()
    else:
        say("The service did not start: waiting for a change in app/ or kit/ ...")
    while True:
        time.sleep(LOOK_SECONDS)
        if runs and service.process and service.process.poll() is not None:
            say(f"The service ended (exit {service.process.returncode}): waiting for a change in app/ or kit/ ...")
            runs = False
        now = snapshot()
        if not (files := changed(seen, now)):
            continue
        seen = now
        started = time.monotonic()
        service.stop()
        if any(f.is_relative_to(APP / "migrations") for f in files):
            service.migrated = False
        runs = service.run()
        names = ", ".join(shown(f) for f in files[:3]) + (", ..." if len(files) > 3 else "")
        if runs:
            say(f"Reloaded after a change of {names} in {time.monotonic() - started:.1f} s.")
        else:
            say(f"It does not start after a change of {names}: waiting for the next one ...")
        if runs and not welcomed:
            ready()
            welcomed = True


def welcome(service: DevServer, chosen: dict[str, int], database: PostgreSQL, cache: Valkey, seconds: float) -> str:
    from app.main import SERVICE  # noqa: PLC0415  # it starts now: before, a mistake in it is the service's to tell

    url = f"http://127.0.0.1:{chosen['APP_PORT']}"
    examples = "\n".join(f"  curl {each}" for each in SERVICE.examples(url, "$TOKEN"))
    return f"""
Ready after {seconds:.1f} s. Ctrl-C ends everything; a change in app/ or kit/ reloads the service.

  The service     {url}
  Its API         {url}/docs
  Management      http://127.0.0.1:{service.management_port}/readyz, /metrics
  PostgreSQL      psql {shlex.quote(database.url(DATABASE))}
  Valkey          valkey-cli -u {shlex.quote(cache.url)}
  Data            {shown(HOME)}

A token, good for a week:
  export TOKEN={service.token()}
{examples}
"""


def interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def run() -> int:
    started = time.monotonic()
    for number in SIGNALS:  # SIGINT too: what a shell runs in the background would ignore it
        signal.signal(number, interrupt)
    with ExitStack() as stack:
        HOME.mkdir(parents=True, exist_ok=True)
        # They would share the data.
        refusal = "`make dev` is already at work in this checkout: use that one, or end it."
        stack.enter_context(exclusive_run(HOME / "lock", refusal))
        stop_forgotten()
        chosen = ports()
        word = password()
        try:
            database = stack.enter_context(postgresql(chosen["POSTGRESQL_PORT"], word))
            cache = stack.enter_context(valkey(chosen["VALKEY_PORT"], word))
            service = DevServer(environment(chosen, database, cache), chosen["APP_MANAGEMENT_PORT"])
            stack.callback(service.stop)
            service.mint()
            watch(service, lambda: say(welcome(service, chosen, database, cache, time.monotonic() - started)))
        except KeyboardInterrupt:
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)  # the end is on its way
            say("\nEnding the service, Valkey and PostgreSQL ...")
    return 0
