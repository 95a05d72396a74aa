"""One Prometheus for an app of each library, with the chart's rules for each: half of all their answers are 500."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.chart.helm import render
from tests.grafana.prometheus import Prometheus
from tests.libraries.environment import App
from tests.rules.rendered import Rule
from tests.unit.processes import until

LIBRARIES = ("instrumentator", "instrumentator_latency", "starlette_exporter", "opentelemetry", "process")
# Seconds in place of minutes and hours.
RULES = {
    "enabled": True,
    "interval": "1s",
    "slo": {
        "minimumErrors": 1,
        "windows": [{"severity": "critical", "burnRate": 14.4, "long": "20s", "short": "10s", "for": "0s"}],
    },
    "alerts": {"ServiceRequestsUnjudged": {"for": "1s"}, "ServiceNoTraffic": {"enabled": True, "for": "1s"}},
}


def release(library: str) -> str:
    return library.replace("_", "-")


def pod(library: str) -> str:
    return f"{release(library)}-7c9d8f6b5d-x2k4q"


def rules(name: str) -> list[Rule]:
    """Those of a release in a namespace of its own name."""
    values = {"prometheusRule": RULES, "nameOverride": name}
    found: list[Rule] = render(values, release=name, options=(f"--namespace={name}",)).one("PrometheusRule", name)[
        "spec"
    ]["groups"]
    return found


@pytest.fixture(scope="session")
def apps() -> Iterator[dict[str, App]]:
    with ExitStack() as stack:
        found = {}
        for library in LIBRARIES:
            found[library] = App(library)
            stack.callback(found[library].stop)
        yield found


@pytest.fixture(scope="session")
def prometheus(apps: dict[str, App], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    jobs = [
        (app.address, {"namespace": release(name), "job": release(name), "pod": pod(name), "endpoint": "management"})
        for name, app in apps.items()
    ]
    groups = [group for name in apps for group in rules(release(name))]
    server = Prometheus(tmp_path_factory.mktemp("prometheus"), jobs, groups)
    until(lambda: len(server.series("up == 1")) == len(jobs))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def failing(apps: dict[str, App], prometheus: Prometheus) -> Prometheus:
    """Once half of all answers have been 500 for a while: the one that is judged is found out."""

    def asked() -> bool:
        for app in apps.values():
            answers = app.ask("good", "broken", "absent", "raises")
            assert answers == [200, 500, 404, 500]
        return bool(prometheus.series('ALERTS{alertname="ServiceAvailabilityBurn",alertstate="firing"}'))

    until(asked, seconds=60)
    return prometheus
