"""Real servers for the tests, each of our own on a free port of 127.0.0.1, which a test may stop and start."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from dev import servers
from toolkit.ports import free_port

__all__ = ["PgBouncer", "PostgreSQL", "Valkey", "ValkeyNode", "free_port"]

PASSWORD = "secret"
SLOTS = 16384  # of a cluster of Valkey's


class PostgreSQL(servers.PostgreSQL):
    """A server of our own in a temporary directory, whose data need not outlive the machine."""

    def __init__(self, directory: Path) -> None:
        sockets = {"unix_socket_directories": f"'{directory}'"}
        super().__init__(directory, password=PASSWORD, options={"fsync": "off", **sockets})

    def stop(self, mode: str = "immediate") -> None:
        super().stop(mode)


class PgBouncer:
    """A pooler in transaction mode with two connections to a database's server. `options` are its own."""

    def __init__(self, program: list[str], directory: Path, server: PostgreSQL, **options: object) -> None:
        self.program = program
        self.directory = directory
        self.server = server
        self.port = free_port()
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "any",
            "pool_mode": "transaction",
            "default_pool_size": 2,
            "logfile": self.directory / "log",
            **self.options,
        }
        to = f"host=127.0.0.1 port={self.server.port} user=links password={self.server.password}"
        lines = ["[databases]", f"* = {to}", "[pgbouncer]", *(f"{name} = {value}" for name, value in settings.items())]
        (self.directory / "pgbouncer.ini").write_text("\n".join(lines) + "\n")
        # It refuses to be run by root, and a test's own folder is root's.
        user = ["--user=nobody"] if os.geteuid() == 0 else []
        (self.directory / "log").touch()
        (self.directory / "log").chmod(0o666)
        argv = [*self.program, "--quiet", *user, str(self.directory / "pgbouncer.ini")]
        self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while not self._listens():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PgBouncer did not start: {(self.directory / 'log').read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(20)

    def url(self, database: str) -> str:
        return f"postgresql://links@127.0.0.1:{self.port}/{database}"

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


class Valkey(servers.Valkey):
    """A server that a test may pause, and whose password it may change."""

    def __init__(self, program: list[str], directory: Path, **options: object) -> None:
        """`options` are Valkey's own, with _ for -."""
        super().__init__(
            program,
            directory,
            password=PASSWORD,
            options={name.replace("_", "-"): value for name, value in options.items()},
        )

    def pause(self) -> None:
        """Let it accept connections (the kernel does) and answer nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def change_password(self, password: str) -> None:
        """From now on, for new connections."""
        self.execute("CONFIG", "SET", "requirepass", password)
        self.password = password

    def reset(self) -> None:
        """Make it as good as new."""
        if self.process:
            self.resume()
            self.execute("FLUSHALL")
        self.start()

    def _signal(self, number: int) -> None:
        assert self.process
        self.process.send_signal(number)


class ValkeyNode(Valkey):
    """A server in cluster mode that has some of the hash slots; one that has all is a cluster by itself."""

    def __init__(self, program: list[str], directory: Path, slots: range = range(SLOTS)) -> None:
        super().__init__(program, directory, cluster_enabled="yes", cluster_port=free_port())
        self.slots = slots

    def start(self) -> None:
        """Start it; if it has all slots, wait until it takes writes. What it knew of its cluster it knows again."""
        if self.process:
            return
        super().start()
        if self.says("cluster_slots_assigned") == "0":
            self.execute("CLUSTER", "ADDSLOTSRANGE", self.slots[0], self.slots[-1])
        if len(self.slots) == SLOTS:
            self.await_shards(1)

    def join(self, other: "ValkeyNode") -> None:
        """Make one cluster of two nodes, which between them have all slots."""
        self.execute("CLUSTER", "MEET", "127.0.0.1", other.port, str(other.options["cluster-port"]))
        for node in (self, other):
            node.await_shards(2)

    def await_shards(self, count: int) -> None:
        deadline = time.monotonic() + 60
        while self.says("cluster_state") != "ok" or self.says("cluster_size") != str(count):
            if time.monotonic() > deadline:
                raise RuntimeError(f"The cluster did not come up: {self.execute('CLUSTER INFO')}")
            time.sleep(0.02)

    def says(self, field: str) -> object:
        """A field of the answer to CLUSTER INFO."""
        answer = self.execute("CLUSTER INFO")
        assert isinstance(answer, dict)
        return answer[field]
