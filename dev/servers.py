"""Real servers without a cluster, for development and tests: PostgreSQL and Valkey, each on a port of 127.0.0.1."""

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic, sleep

from valkey import Valkey as Client
from valkey.exceptions import ConnectionError as NoAnswerError

from toolkit.ports import free_port
from toolkit.process import CommandFailed, Failure, output, succeeds

START_SECONDS = 20
LAST_LINES = 5
Options = Mapping[str, object]
NONE: Options = {}


def bound(argv: Sequence[str]) -> list[str]:
    """The same command, ended when the thread that starts it ends in whatever way; where the system can do that."""
    if sys.platform == "linux" and shutil.which("setpriv"):
        return ["setpriv", "--pdeathsig=TERM", *argv]
    return list(argv)


class PostgreSQL:
    """A server with its data in a folder. Root's is run by the user postgres, as PostgreSQL refuses root."""

    def __init__(self, directory: Path, *, password: str, port: int | None = None, options: Options = NONE) -> None:
        """`options` are PostgreSQL's own."""
        self.directory = directory
        self.bin = self._binaries()
        self.port = port or free_port()
        self.password = password
        self.options = options

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @staticmethod
    def _binaries() -> Path:
        places = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
        if found := shutil.which("initdb"):
            places.insert(0, Path(found).resolve().parent)
        if not places:
            raise Failure("PostgreSQL's server is missing: install it, as with apt-get install postgresql.")
        return places[0]

    def run(self, program: str, *arguments: str) -> str:
        """What one of PostgreSQL's programs says. Raises CommandFailed."""
        return output(self._as_user([str(self.bin / program), *arguments]), cwd=Path("/"))

    def create(self) -> None:
        """Make the data folder, with a user `links`. Raises Failure."""
        self.directory.mkdir(parents=True, exist_ok=True)
        password = self.directory / "password"
        password.write_text(self.password)
        password.chmod(0o600)
        if os.geteuid() == 0:
            try:
                user = pwd.getpwnam("postgres")
            except KeyError:
                raise Failure("PostgreSQL refuses to be run by root, and there is no user postgres.") from None
            for path in (self.directory, password):
                os.chown(path, user.pw_uid, user.pw_gid)
            if not succeeds(self._as_user(["test", "-w", str(self.directory)])):
                raise Failure(
                    f"PostgreSQL refuses to be run by root, and the user postgres may not enter {self.directory}: "
                    "run this as another user, or from a checkout that others may enter."
                )
        shutil.rmtree(self.data, ignore_errors=True)  # one that was interrupted
        self.run(
            *("initdb", "--pgdata", str(self.data), "--no-sync", "--auth=scram-sha-256"),
            *("--username=links", f"--pwfile={password}", "--encoding=UTF8", "--locale=C"),
        )

    def start(self) -> None:
        """Start it and wait until it answers. Raises Failure with the last lines of its log."""
        options = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "''", **self.options}
        given = " ".join(f"-c {name}={value}" for name, value in options.items())
        log = self.directory / "log"
        try:
            self.run("pg_ctl", "start", "-w", "-s", "-D", str(self.data), "-l", str(log), "-o", given)
        except CommandFailed as error:
            said = log.read_text(errors="replace").splitlines()[-LAST_LINES:] if log.exists() else [str(error)]
            raise Failure("\n  ".join([f"PostgreSQL did not start. Its last lines, from {log}:", *said])) from error

    def stop(self, mode: str = "fast") -> None:
        self.run("pg_ctl", "stop", "-w", "-s", "-m", mode, "-D", str(self.data))

    @property
    def runs(self) -> bool:
        return self.data.exists() and succeeds(
            self._as_user([str(self.bin / "pg_ctl"), "status", "-D", str(self.data)])
        )

    def url(self, database: str) -> str:
        return f"postgresql://links:{self.password}@127.0.0.1:{self.port}/{database}"

    def execute(self, *statements: str) -> str:
        """What they give, one after the other and without headings."""
        options = ["--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]
        return self.run("psql", *options, self.url("postgres"), *(f"--command={each}" for each in statements))

    @staticmethod
    def _as_user(command: list[str]) -> list[str]:
        if os.geteuid() == 0:
            return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]
        return command


class Valkey:
    """A server that keeps nothing on disk and asks for a password."""

    def __init__(
        self,
        program: list[str],
        directory: Path,
        *,
        password: str,
        port: int | None = None,
        options: Options = NONE,
    ) -> None:
        """`options` are Valkey's own."""
        self.program = program
        self.directory = directory
        self.options = options
        self.port = port or free_port()
        self.password = password
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"valkey://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, empty, and wait until it answers; does nothing if it runs. Raises Failure."""
        if self.process:
            return
        options = {"bind": "127.0.0.1", "port": self.port, "requirepass": self.password, "save": "", "dir": "."}
        arguments = [word for name, value in {**options, **self.options}.items() for word in (f"--{name}", str(value))]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.program, *arguments], cwd=self.directory, stdout=log, stderr=log, start_new_session=True
            )
        deadline = monotonic() + START_SECONDS
        while not self._answers():
            if self.process.poll() is not None or monotonic() > deadline:
                said = (self.directory / "log").read_text(errors="replace").splitlines()[-LAST_LINES:]
                raise Failure("\n  ".join(["valkey-server did not start. Its last lines:", *said]))
            sleep(0.01)

    def stop(self) -> None:
        """End it at once, as a crash would; does nothing if it does not run."""
        if self.process:
            self.process.kill()  # ends a paused one too
            self.process.wait()
            self.process = None

    def execute(self, *command: str | int) -> object:
        """The answer to one command, over a connection of its own."""
        with Client.from_url(self.url, decode_responses=True) as client:
            answer: object = client.execute_command(*command)
            return answer

    def _answers(self) -> bool:
        try:
            return bool(self.execute("PING"))
        except NoAnswerError:
            return False
