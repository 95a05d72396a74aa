"""A service that the suite starts itself, on a real PostgreSQL and a real Valkey, with limits that are soon reached."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from app.main import SERVICE
from dev.servers import PostgreSQL, Valkey
from keel.security import dev_token
from tests.attack.target import Target
from tests.attack.wire import Address
from tests.support.processes import ROOT, App, until
from toolkit import valkey_programs
from toolkit.process import Failure

NAME = "links.example.com"
ISSUER, AUDIENCE = "https://issuer.example.com", "links"
LIMITS = {
    "APP_RATE_LIMIT_ADDRESS_PER_MINUTE": "400",
    "APP_RATE_LIMIT_TOKEN_PER_MINUTE": "400",
    "APP_HEAD_TIMEOUT_SECONDS": "2",
    "APP_REQUEST_TIMEOUT_SECONDS": "5",
    "APP_KEEP_ALIVE_SECONDS": "5",
}
HELD_SECONDS = 30.0  # longer than any of these, on a busy machine


@dataclass
class Own(Target):
    """A target of which everything is known: its log and metrics, and what it was started with."""

    app: App = field(kw_only=True)
    database: PostgreSQL = field(kw_only=True)
    cache: Valkey = field(kw_only=True)
    directory: Path = field(kw_only=True)
    variables: dict[str, str] = field(kw_only=True)

    def line_of(self, request_id: str) -> str:
        """The lines of the log that have this id, as they were written; empty if none comes."""

        def found() -> list[str]:
            return [line for line in list(self.app.lines) if request_id in line]

        with contextlib.suppress(AssertionError):
            until(lambda: bool(found()), seconds=10)
        return "".join(found())

    def metrics(self) -> str:
        self.app.get("/metrics")
        return self.app.body.decode()

    def series(self) -> set[str]:
        """Names and labels of all metrics."""
        return {line.rpartition(" ")[0] for line in self.metrics().splitlines() if not line.startswith("#")}

    def command(self, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """`python -m app` with these variables and no others, until it ends."""
        return command(self.directory, *arguments, **variables)


@contextlib.contextmanager
def started() -> Iterator[Own]:
    """The service, and what it stands on. Raises Failure where a program is missing."""
    program = valkey_programs.obtain()
    if program is None:
        raise Failure("valkey-server is missing: install it, as with apt-get install valkey-server.")
    with contextlib.ExitStack() as stack:
        directory, data, cached = (
            Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"attack-{name}-")))
            for name in ("app", "postgresql", "valkey")
        )
        database = PostgreSQL(data, password="not-told-postgresql", options={"fsync": "off"})
        database.create()
        database.start()
        stack.callback(database.stop)
        database.execute("CREATE DATABASE links")
        cache = Valkey(program, cached, password="not-told-valkey")
        cache.start()
        stack.callback(cache.stop)
        key = dev_token.obtain_key(directory / "issuer.json")
        (directory / "jwks.json").write_text(dev_token.public_jwks(key), encoding="utf-8")
        variables = {
            "APP_DATABASE_URL": database.url("links"),
            "APP_VALKEY_URL": cache.url,
            "APP_JWKS_FILE": str(directory / "jwks.json"),
            "APP_JWT_ISSUER": ISSUER,
            "APP_JWT_AUDIENCE": AUDIENCE,
            "APP_PUBLIC_URL": f"https://{NAME}",
            # None of those that we come from: what they say of others is not to be believed.
            "APP_TRUSTED_PROXIES": "192.0.2.1",
        }
        migrated = command(directory, "migrate", **variables)
        if migrated.returncode:
            raise Failure(f"The database cannot be migrated: {migrated.stderr}")
        app = App(SERVICE, directory, **variables, **LIMITS)
        stack.callback(ended, app)
        yield Own(
            Address(int(app.public.rpartition(":")[2]), NAME),
            key,
            ISSUER,
            AUDIENCE,
            held_seconds=HELD_SECONDS,
            sources=True,
            app=app,
            database=database,
            cache=cache,
            directory=directory,
            variables=variables,
        )


def ended(app: App) -> None:
    """End a process, in whatever state it is."""
    app.process.kill()
    app.end()


def command(directory: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """`python -m app` in a directory, until it ends; one that serves is ended after a while."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(directory)}
    environment |= {"APP_PORT": "0", "APP_MANAGEMENT_PORT": "0"}
    argv = [sys.executable, "-m", "app", *arguments]
    return subprocess.run(
        argv, cwd=directory, env=environment | variables, capture_output=True, text=True, check=False, timeout=60
    )
