"""A Prometheus of our own on a free port of 127.0.0.1, and what it answers."""

import json
import math
import re
from pathlib import Path
from typing import Any

import yaml

from grafana.queries import Query
from tests.grafana.server import Server
from tests.rules import programs
from tests.support.servers import free_port

Json = dict[str, Any]

SNAKE = re.compile("([A-Z])")


class Prometheus(Server):
    """Scrapes every second if not told otherwise, and evaluates rules. `jobs` are targets' addresses with their labels.

    `relabelings` of their metrics, one list for each job, are as the operator's objects have them.
    """

    def __init__(
        self,
        folder: Path,
        jobs: list[tuple[str, dict[str, str]]],
        rules: list[Json],
        relabelings: list[list[Json]] | None = None,
        every: str = "1s",
    ) -> None:
        address = f"127.0.0.1:{free_port()}"
        (folder / "rules.yml").write_text(json.dumps({"groups": rules}), encoding="utf-8")
        config = {
            "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "scrape_configs": [
                {
                    "job_name": f"target-{number}",
                    "honor_labels": "namespace" not in labels,
                    "static_configs": [{"targets": [address], "labels": labels}],
                    "metric_relabel_configs": [
                        {SNAKE.sub(r"_\1", key).lower(): each[key] for key in each} for each in own
                    ],
                }
                for number, ((address, labels), own) in enumerate(
                    zip(jobs, relabelings or [[]] * len(jobs), strict=True)
                )
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
        argv = [
            *programs.command("prometheus"),
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={address}",
            "--enable-feature=exemplar-storage",
            "--log.level=warn",
        ]
        super().__init__(argv, folder / "prometheus.log", f"http://{address}", "/-/ready")

    def get(self, path: str, **parameters: str) -> Any:
        """The data of an answer. Fails with what Prometheus has against the question."""
        answer = self.client.get(f"/api/v1/{path}", params=parameters).json()
        assert answer["status"] == "success", (parameters, answer.get("error"))
        return answer["data"]

    def tree(self, expression: str) -> Json:
        """How Prometheus understands an expression."""
        parsed: Json = self.get("parse_query", query=expression)
        return parsed

    def series(self, expression: str, **parameters: str) -> list[Json]:
        """What an expression is now: series with `metric` and `value`."""
        found: list[Json] = self.get("query", query=expression, **parameters)["result"]
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
