"""A Prometheus of our own on a free port of 127.0.0.1, and what it answers."""

import json
import math
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx
import yaml

from grafana.queries import Query
from tests.rules import programs
from tests.unit.processes import until
from tests.unit.servers import free_port

Json = dict[str, Any]


class Prometheus:
    """Scrapes every second, and evaluates rules. `jobs` are targets' addresses with the labels that they get."""

    def __init__(self, folder: Path, jobs: list[tuple[str, dict[str, str]]], rules: list[Json]) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        (folder / "rules.yml").write_text(json.dumps({"groups": rules}), encoding="utf-8")
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "scrape_configs": [
                {
                    "job_name": f"target-{number}",
                    "honor_labels": "namespace" not in labels,
                    "static_configs": [{"targets": [address], "labels": labels}],
                }
                for number, (address, labels) in enumerate(jobs)
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
        self.log = (folder / "prometheus.log").open("w")
        self.process = subprocess.Popen(
            [
                *programs.command("prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
                "--enable-feature=exemplar-storage",
                "--log.level=warn",
            ],
            stdout=self.log,
            stderr=self.log,
        )
        self.client = httpx.Client(base_url=self.url, timeout=30)
        until(self._answers)

    def _answers(self) -> bool:
        assert self.process.poll() is None, Path(self.log.name).read_text()
        try:
            return self.client.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)
        self.log.close()

    def get(self, path: str, **parameters: str) -> Any:
        """The data of an answer. Fails with what Prometheus has against the question."""
        answer = self.client.get(f"/api/v1/{path}", params=parameters).json()
        assert answer["status"] == "success", (parameters, answer.get("error"))
        return answer["data"]

    def tree(self, expression: str) -> Json:
        """How Prometheus understands an expression."""
        parsed: Json = self.get("parse_query", query=expression)
        return parsed

    def series(self, expression: str) -> list[Json]:
        """What an expression is now: series with `metric` and `value`."""
        found: list[Json] = self.get("query", query=expression)["result"]
        return found

    def values(self, expression: str) -> list[float]:
        return [float(each["value"][1]) for each in self.series(expression)]


# Below zero a budget is overdrawn, and a pod has been killed.
SIGNED = {"Error budget left", "Error budgets left", "Drain: time left"}


def wrong(values: list[float], query: Query) -> str:
    """What is wrong with the values that a query has, by its unit; nothing if nothing is."""
    if any(map(math.isnan, values)):
        return "not a number"
    if any(map(math.isinf, values)):
        return "infinite"
    if query.unit == "percentunit" and any(value > 1 for value in values):
        return f"more than all: {max(values)}"
    if query.panel not in SIGNED and any(value < 0 for value in values):
        return f"less than nothing: {min(values)}"
    return ""
