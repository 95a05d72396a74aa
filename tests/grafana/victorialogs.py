"""A VictoriaLogs of our own on free ports of 127.0.0.1: the program of the local cluster's image."""

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx

from tests.rules import programs
from tests.unit.processes import until
from tests.unit.servers import free_port

Json = dict[str, Any]


class VictoriaLogs:
    """What is sent to it can be found as soon as `find` asks."""

    def __init__(self, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.syslog_port = free_port()
        self.log = (folder / "victorialogs.log").open("w")
        self.process = subprocess.Popen(
            [
                *programs.command("victoria-logs"),
                f"-storageDataPath={folder / 'data'}",
                f"-httpListenAddr={self.url.removeprefix('http://')}",
                f"-syslog.listenAddr.tcp=127.0.0.1:{self.syslog_port}",
                "-loggerLevel=WARN",
            ],
            stdout=self.log,
            stderr=self.log,
        )
        self.client = httpx.Client(base_url=self.url, timeout=30)
        until(self._answers)

    def _answers(self) -> bool:
        assert self.process.poll() is None, Path(self.log.name).read_text()
        try:
            return self.client.get("/health").status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        self.client.close()
        self.process.terminate()
        self.process.wait(timeout=30)
        self.log.close()

    def send(self, path: str, body: bytes, kind: str, **parameters: str) -> httpx.Response:
        answer = self.client.post(path, content=body, headers={"Content-Type": kind}, params=parameters)
        assert answer.is_success, answer.text
        return answer

    def find(self, query: str) -> list[Json]:
        """The entries that LogsQL finds (https://docs.victoriametrics.com/victorialogs/logsql/)."""
        self.client.get("/internal/force_flush").raise_for_status()
        answer = self.client.get("/select/logsql/query", params={"query": query})
        assert answer.status_code == 200, answer.text
        return [json.loads(line) for line in answer.text.split("\n") if line]
