"""What Prometheus and VictoriaLogs say of a stretch of time."""

import json
import math
from dataclasses import dataclass
from datetime import datetime

from toolkit import prometheus
from toolkit.process import Failure
from toolkit.prometheus import Server

MOST_POINTS = 240


@dataclass(frozen=True)
class Window:
    """A stretch of time and how closely it is looked at, in seconds; it ends at a multiple of its step."""

    end: int
    seconds: int
    step: int
    scrape: int

    @classmethod
    def until(cls, now: float, seconds: int, scrape: int) -> "Window":
        """`scrape` is how often Prometheus looks at its targets."""
        step = scrape * max(1, math.ceil(seconds / MOST_POINTS / scrape))
        return cls(int(now // step * step), seconds, step, scrape)

    @property
    def start(self) -> int:
        return self.end - self.seconds

    @property
    def times(self) -> list[int]:
        return list(range(self.start, self.end + 1, self.step))

    @property
    def variables(self) -> dict[str, str]:
        """Grafana's, in the sense that Grafana gives them."""
        rate = max(4 * self.scrape, self.step + self.scrape)
        return {"__interval": f"{self.step}s", "__rate_interval": f"{rate}s", "__range": f"{self.seconds}s"}

    def share(self, time: float) -> float:
        """How far right a time is: 0 at the start, 1 at the end."""
        return (time - self.start) / (self.end - self.start)


@dataclass(frozen=True)
class Sample:
    labels: dict[str, str]
    value: float


@dataclass(frozen=True)
class Line:
    """A value, or none, for each of a window's times."""

    labels: dict[str, str]
    points: list[float | None]


@dataclass(frozen=True)
class Exemplar:
    time: float
    value: float
    trace: str


@dataclass(frozen=True)
class LogLine:
    time: float
    text: str
    fields: dict[str, str]


class Prometheus(prometheus.Prometheus):
    def now(self) -> float:
        try:
            return float(self.query("vector(time())")[0]["value"][1])
        except (LookupError, TypeError, ValueError):
            raise Failure(f"What answers at {self.url} is no Prometheus: it cannot tell the time.") from None

    def instant(self, expression: str, window: Window) -> list[Sample]:
        """What an expression is at the end of the window; what is no number is left out."""
        result = self.query(expression, time=str(window.end))
        samples = [Sample(each["metric"], float(each["value"][1])) for each in result]
        return [each for each in samples if math.isfinite(each.value)]

    def range(self, expression: str, window: Window) -> list[Line]:
        """What it was all the time."""
        asked = {"start": str(window.start), "end": str(window.end), "step": str(window.step)}
        found = []
        for each in self.get("/api/v1/query_range", query=expression, **asked)["result"]:
            known = {float(time): float(value) for time, value in each["values"]}
            points = [known.get(float(time)) for time in window.times]
            points = [None if point is None or not math.isfinite(point) else point for point in points]
            if any(point is not None for point in points):
                found.append(Line(each["metric"], points))
        return found

    def exemplars(self, expression: str, window: Window) -> list[Exemplar]:
        asked = {"start": str(window.start), "end": str(window.end)}
        return [
            Exemplar(float(each["timestamp"]), float(each["value"]), each["labels"].get("trace_id", ""))
            for series in self.get("/api/v1/query_exemplars", query=expression, **asked)
            for each in series["exemplars"]
        ]


class VictoriaLogs(Server):
    name = "VictoriaLogs"

    def parse(self, text: str) -> list[LogLine]:
        """One object a line: https://docs.victoriametrics.com/victorialogs/querying/#querying-logs"""
        entries = [json.loads(line) for line in text.split("\n") if line]
        return [
            LogLine(datetime.fromisoformat(entry["_time"]).timestamp(), entry.get("_msg", ""), entry)
            for entry in entries
        ]

    def lines(self, expression: str, window: Window, most: int) -> list[LogLine]:
        """The newest first."""
        asked = {"start": f"{window.start}000000000", "end": f"{window.end}000000000", "limit": str(most)}
        found: list[LogLine] = self.get("/select/logsql/query", query=expression, **asked)
        return sorted(found, key=lambda line: line.time, reverse=True)
