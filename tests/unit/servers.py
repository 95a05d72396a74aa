"""Real servers for the tests, each of our own on a free port of 127.0.0.1, which a test may stop and start."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from time import monotonic, sleep

import pytest
from valkey import Valkey as Client
from valkey.exceptions import ConnectionError as NoAnswerError

START_SECONDS = 20


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


class PostgreSQL:
    """A server of our own in a temporary directory, run as an unprivileged user."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.bin = self._binaries()
        self.port = free_port()

    @staticmethod
    def _binaries() -> Path:
        places = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
        if found := shutil.which("initdb"):
            places.insert(0, Path(found).resolve().parent)
        if not places:
            pytest.fail("These tests need PostgreSQL's server: install it, as with apt-get install postgresql.")
        return places[0]

    def run(self, program: str, *arguments: str) -> None:
        command = [str(self.bin / program), *arguments]
        if os.geteuid() == 0:  # PostgreSQL refuses to be run by root
            command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.fail(f"{program} failed: {done.stderr or done.stdout}")

    def create(self) -> None:
        """Make the data directory, with a user `links` whose password is `secret`."""
        password = self.directory / "password"
        password.write_text("secret")
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            for path in (self.directory, password):
                os.chown(path, user.pw_uid, user.pw_gid)
        self.run(
            *("initdb", "--pgdata", str(self.directory / "data"), "--no-sync", "--auth=scram-sha-256"),
            *("--username=links", f"--pwfile={password}", "--encoding=UTF8", "--locale=C"),
        )

    def start(self) -> None:
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.directory,
            "fsync": "off",
        }
        given = " ".join(f"-c {name}={value}" for name, value in options.items())
        log = str(self.directory / "log")
        self.run("pg_ctl", "start", "-w", "-D", str(self.directory / "data"), "-l", log, "-o", given)

    def stop(self) -> None:
        self.run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", str(self.directory / "data"))

    def url(self, database: str) -> str:
        return f"postgresql://links:secret@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str) -> None:
        self.run("psql", "--quiet", "--set=ON_ERROR_STOP=1", self.url("postgres"), f"--command={statement}")


class Valkey:
    """A server that keeps nothing on disk and asks for a password."""

    def __init__(self, program: list[str], directory: Path, **options: object) -> None:
        """`options` are Valkey's own, with _ for -."""
        self.program = program
        self.directory = directory
        self.options = {name.replace("_", "-"): str(value) for name, value in options.items()}
        self.port = free_port()
        self.password = "secret"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"valkey://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, empty, and wait until it answers; does nothing if it runs."""
        if self._process:
            return
        options = {"bind": "127.0.0.1", "port": self.port, "requirepass": self.password, "save": "", "dir": "."}
        arguments = [word for name, value in (options | self.options).items() for word in (f"--{name}", str(value))]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen([*self.program, *arguments], cwd=self.directory, stdout=log, stderr=log)
        deadline = monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or monotonic() > deadline:
                pytest.fail(f"valkey-server did not start: {(self.directory / 'log').read_text()}")
            sleep(0.01)

    def stop(self) -> None:
        """End it at once, as a crash would; does nothing if it does not run."""
        if self._process:
            self._process.kill()  # ends a paused one too
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Let it accept connections (the kernel does) and answer nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def change_password(self, password: str) -> None:
        """From now on, for new connections."""
        self.execute("CONFIG", "SET", "requirepass", password)
        self.password = password

    def execute(self, *command: str | int) -> object:
        """The answer to one command, over a connection of its own."""
        with Client.from_url(self.url, decode_responses=True) as client:
            answer: object = client.execute_command(*command)
            return answer

    def reset(self) -> None:
        """Make it as good as new."""
        if self._process:
            self.resume()
            self.execute("FLUSHALL")
        self.start()

    def _signal(self, number: int) -> None:
        assert self._process
        self._process.send_signal(number)

    def _answers(self) -> bool:
        try:
            return bool(self.execute("PING"))
        except NoAnswerError:
            return False
