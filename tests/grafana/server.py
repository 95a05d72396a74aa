"""A server of our own in a folder, from its start until it is stopped."""

import subprocess
from pathlib import Path

import httpx

from tests.support.processes import until


class Server:
    """Runs a command, and is there once `health`, a path of `url`, answers 200. Its output goes to a file."""

    def __init__(self, argv: list[str], log: Path, url: str, health: str) -> None:
        self.url = url
        self.log = log.open("w")
        self.process = subprocess.Popen(argv, stdout=self.log, stderr=self.log)
        self.client = httpx.Client(base_url=url, timeout=30)
        until(lambda: self._answers(health))

    def _answers(self, path: str) -> bool:
        assert self.process.poll() is None, Path(self.log.name).read_text()
        try:
            return self.client.get(path).status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        self.client.close()
        self.process.terminate()
        self.process.wait(timeout=30)
        self.log.close()
