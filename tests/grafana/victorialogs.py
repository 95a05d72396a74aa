"""A VictoriaLogs of our own on free ports of 127.0.0.1: the program of the local cluster's image."""

import json
from pathlib import Path
from typing import Any

import httpx

from tests.grafana.server import Server
from tests.rules import programs
from tests.support.servers import free_port

Json = dict[str, Any]


class VictoriaLogs(Server):
    """What is sent to it can be found as soon as `find` asks."""

    def __init__(self, folder: Path) -> None:
        address = f"127.0.0.1:{free_port()}"
        self.syslog_port = free_port()
        argv = [
            *programs.command("victoria-logs"),
            f"-storageDataPath={folder / 'data'}",
            f"-httpListenAddr={address}",
            f"-syslog.listenAddr.tcp=127.0.0.1:{self.syslog_port}",
            "-loggerLevel=WARN",
        ]
        super().__init__(argv, folder / "victorialogs.log", f"http://{address}", "/health")

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
