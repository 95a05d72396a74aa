"""One Prometheus for apps of each library, with the chart's rules for each: of some half of all answers are 500."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.chart.helm import render
from tests.grafana.prometheus import Json, Prometheus
from tests.libraries.environment import App, PushingApp
from tests.support.processes import until

# Seconds in place of minutes and hours.
RULES = {
    "enabled": True,
    "interval": "1s",
    "slo": {
        "minimumErrors": 1,
        "windows": [{"severity": "critical", "burnRate": 14.4, "long": "30s", "short": "15s", "for": "0s"}],
    },
    "alerts": {"ServiceRequestsUnjudged": {"for": "1s"}, "ServiceNoTraffic": {"enabled": True, "for": "1s"}},
}
CUSTOM = {
    "histogram": "api_latency_milliseconds",
    "status": "code",
    "route": "endpoint",
    "method": "verb",
    "unit": "milliseconds",
    "inFlight": "api_requests_running",
}


@dataclass(frozen=True)
class Subject:
    """A release: an app that counts by a library, the chart's profile for it, and what it is asked."""

    library: str
    profile: str = "own"
    asked: str = "bad"
    """Half of what it is asked fails (bad), or nothing does (good), or it is asked nothing (idle)."""

    @property
    def name(self) -> str:
        return f"{self.library}-{self.profile}-{self.asked}".replace("_", "-")

    @property
    def pod(self) -> str:
        return f"{self.name}-7c9d8f6b5d-x2k4q"

    @property
    def selector(self) -> str:
        return f'namespace="{self.name}",job="{self.name}"'

    @property
    def target(self) -> dict[str, str]:
        return {"namespace": self.name, "job": self.name, "pod": self.pod, "endpoint": "management"}

    @property
    def values(self) -> dict[str, Any]:
        metrics = {"profile": self.profile, **({"custom": CUSTOM} if self.profile == "custom" else {})}
        monitor = {"enabled": True}
        return {"metrics": metrics, "serviceMonitor": monitor, "prometheusRule": RULES, "nameOverride": self.name}


PROFILES = {
    "instrumentator": "instrumentator",
    "instrumentator_latency": "instrumentator",
    "opentelemetry": "otel",
    "opentelemetry_pushed": "otel",
    "starlette_exporter": "starlette_exporter",
    "custom": "custom",
}
MISTAKEN = [Subject(library) for library in ("instrumentator", "starlette_exporter", "opentelemetry", "process")]
FAILING = [Subject(library, profile) for library, profile in PROFILES.items()]
SERVING = [Subject(library, profile, "good") for library, profile in PROFILES.items()]
IDLE = [Subject(library, PROFILES[library], "idle") for library in ("instrumentator", "starlette_exporter")]
SUBJECTS = [*MISTAKEN, Subject("instrumentator_latency"), *FAILING, *SERVING, *IDLE]
ITEMS = {"bad": ("good", "broken", "absent", "raises"), "good": ("good", "good", "absent", "good"), "idle": ()}
ANSWERS = {"bad": [200, 500, 404, 500], "good": [200, 200, 404, 200], "idle": []}


@dataclass(frozen=True)
class Scene:
    """All of them, and the Prometheus that knows them."""

    server: Prometheus
    apps: dict[tuple[str, str], App] = field(default_factory=dict)

    def ask(self) -> None:
        """Of four answers two are no errors: one is good, and one is the client's own mistake."""
        for (_, asked), app in self.apps.items():
            assert app.ask(*ITEMS[asked]) == ANSWERS[asked]

    def eventually(self, condition: Callable[[], bool]) -> None:
        """Something comes to pass while they are asked: the windows are of seconds, and the machine may be busy."""

        def asked() -> bool:
            self.ask()
            return condition()

        until(asked, seconds=120)


def rendered(subject: Subject) -> tuple[list[Json], list[Json]]:
    """The groups of its rules, and the relabelings of its metrics."""
    objects = render(subject.values, release=subject.name, options=(f"--namespace={subject.name}",))
    (endpoint,) = objects.one("ServiceMonitor", subject.name)["spec"]["endpoints"]
    return objects.one("PrometheusRule", subject.name)["spec"]["groups"], endpoint.get("metricRelabelings", [])


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Once those that fail and can be judged have been found out."""
    with ExitStack() as stack:
        apps: dict[tuple[str, str], App] = {}
        collectors = tmp_path_factory.mktemp("collectors")
        for subject in SUBJECTS:
            key = (subject.library, subject.asked)
            if key not in apps:
                pushes = subject.library.endswith("_pushed")
                apps[key] = PushingApp(subject.library, collectors) if pushes else App(subject.library)
                stack.callback(apps[key].stop)
        jobs = [(apps[each.library, each.asked].scraped, each.target) for each in SUBJECTS]
        rules, relabelings = zip(*map(rendered, SUBJECTS), strict=True)
        groups = [group for found in rules for group in found]
        server = Prometheus(tmp_path_factory.mktemp("prometheus"), jobs, groups, list(relabelings), every="3s")
        stack.callback(server.stop)
        until(lambda: len(server.series("up == 1")) == len(jobs))
        found = Scene(server, apps)
        fired = 'count(ALERTS{alertname="ServiceAvailabilityBurn",alertstate="firing"})'
        found.eventually(lambda: server.values(fired) == [len(FAILING) + 1])
        yield found
