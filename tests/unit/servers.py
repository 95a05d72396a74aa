"""Real servers for the tests, each of our own on a free port of 127.0.0.1, which a test may stop and start."""

import signal
from pathlib import Path

from delivery import servers
from delivery.servers import free_port

__all__ = ["PostgreSQL", "Valkey", "free_port"]

PASSWORD = "secret"


class PostgreSQL(servers.PostgreSQL):
    """A server of our own in a temporary directory, whose data need not outlive the machine."""

    def __init__(self, directory: Path) -> None:
        sockets = {"unix_socket_directories": f"'{directory}'"}
        super().__init__(directory, password=PASSWORD, options={"fsync": "off", **sockets})

    def stop(self, mode: str = "immediate") -> None:
        super().stop(mode)


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
