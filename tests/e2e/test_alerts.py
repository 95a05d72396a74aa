"""Every alert of the chart: fired by a real cause, told to a receiver with links that lead somewhere, and resolved.

The windows and waits are those of alerts-values.yaml, seconds instead of minutes and hours; the expressions, the
routing and what silences what are as they are shipped. While an alert fires, its runbook's first commands are run.
"""

import base64
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

import pytest
import yaml

from k8s import up
from k8s.service import NAMESPACE, RELEASE
from offline.image_build import Built
from tests.e2e import causes, receiver
from tests.e2e.causes import World
from tests.e2e.cluster import wait_for
from tests.e2e.pods import PODS, signal
from tests.e2e.prometheus import query
from tests.rules import runbooks
from toolkit.paths import CHART, PLATFORM, ROOT
from toolkit.process import run

LINGERS_SECONDS = 330
# The last test's time has to do for what lingers, too.
pytestmark = pytest.mark.timeout(420 + LINGERS_SECONDS)
LOG = "e2e-alerts"
# Fires by itself whenever no test visits the service.
IDLE = "ServiceNoTraffic"
CRITICAL, WARNING = {"severity": "critical"}, {"severity": "warning"}


# Alerts whose cause is mended, and which are not over yet: since when, and their row of the report.
Lingering = dict[str, tuple[float, dict[str, object]]]


@dataclass
class Trouble:
    """Something that goes wrong, and the alerts that must say so. `lingers` names those that look minutes back: when
    these are over is seen after the last test. `worse` comes on top of it, once it is told. `often` is asked by `make
    test`, too, and not by the nightly run alone."""

    what: str
    happen: Callable[[World], AbstractContextManager[None]]
    alerts: dict[str, dict[str, str]]
    consequences: set[str] = field(default_factory=set)
    lingers: set[str] = field(default_factory=set)
    worse: "Trouble | None" = None
    often: bool = False

    @property
    def stages(self) -> list["Trouble"]:
        return [self, *(self.worse.stages if self.worse else [])]


@contextmanager
def too_little(world: World) -> Iterator[None]:
    """CPU, memory and pods that do not suffice, and a certificate that nobody has renewed."""
    with ExitStack() as stack:
        served = stack.enter_context(causes.certificate(world, "expiring.localhost", days=2))
        stack.enter_context(
            world.values(
                *served,
                "--set-string=resources.limits.cpu=200m",
                "--set=autoscaling.maxReplicas=4,autoscaling.targetCPUUtilizationPercentage=1",
                # What a pod uses of its limits without doing much.
                "--set-json=prometheusRule.alerts.ServiceMemoryNearLimit.ratio=0.1",
                "--set-json=prometheusRule.alerts.ServiceConnectionsNearLimit.ratio=0.0001",
            )
        )
        stack.enter_context(world.visited())
        yield


@contextmanager
def no_connections_left(world: World) -> Iterator[None]:
    few = {"SIZE": 1, "OVERFLOW": 0, "TIMEOUT_SECONDS": 1}
    options = [f"--set-string=config.APP_DATABASE_POOL_{name}={value}" for name, value in few.items()]
    with world.values(*options), causes.locked_table(world):
        yield


@contextmanager
def a_few_errors(world: World) -> Iterator[None]:
    """One request in twenty fails, and one pod of three is slow: twice what is allowed, and not eight times."""
    slow = {"error_ratio": 0.05, "delay_seconds": 0.8}
    with causes.faults(world, slow, {"error_ratio": 0.05}):
        yield


@contextmanager
def many_errors(world: World) -> Iterator[None]:
    """Ten times as many, from pods that are all slow, and one of them stands still again and again."""
    blocked = {"error_ratio": 0.5, "delay_seconds": 0.8, "block_seconds": 0.7}
    with causes.faults(world, blocked, {"error_ratio": 0.5, "delay_seconds": 0.8}):
        yield


@contextmanager
def nobody_there(world: World) -> Iterator[None]:
    """Neither Valkey nor the issuer of tokens answers, and the certificate has ended."""
    keys = "config.APP_JWKS_FILE=,config.APP_JWKS_URL=https://issuer.links.svc/jwks.json"
    with (
        causes.certificate(world, "expired.localhost", days=-1) as served,
        world.values(*served, "--set-string", keys),
        causes.stopped(world.stack, "data", "deployment/valkey"),
    ):
        yield


@contextmanager
def no_database(world: World) -> Iterator[None]:
    """Pods that are ready stay so without a database; those that begin now do not get ready."""
    with causes.stopped(world.stack, "data", "statefulset/postgresql"):
        world.do("delete", "pods", "--selector", PODS, "--wait=false")
        yield
    world.settle()


@contextmanager
def a_hung_pod(world: World) -> Iterator[None]:
    """Of three pods one hangs, and another is gone with no room for a new one."""
    gone, hung, *_ = world.pods()
    with causes.no_room(world, gone):
        signal(hung, "STOP")
        yield


@contextmanager
def no_metrics_and_no_migration(world: World) -> Iterator[None]:
    with causes.failing_migration(world), causes.no_metrics(world):
        yield


# Of work without a request. All were told of on a cluster, their ends not yet: tests/rules/causes.py has their cases.
BACKGROUND = {
    "ServiceWorkerDown",
    "ServiceWorkerTargetsMissing",
    "ServiceTasksFailed",
    "ServiceTasksLate",
    "ServiceTasksUnknown",
    "ServiceTaskQueueStalled",
    "ServiceWorkerIdle",
    "ServiceJobFailed",
    "ServiceJobNearDeadline",
    "ServiceCronJobMissed",
}
TROUBLES = [
    Trouble(
        "200 millicores at 50 requests a second, 4 pods at most, a certificate that ends in two days",
        too_little,
        {
            "ServiceCPUThrottled": {},
            "ServiceMemoryNearLimit": {},
            "ServiceConnectionsNearLimit": {},
            "ServiceAutoscalerAtLimit": {},
            "ServiceCertificateExpiring": {},
        },
        consequences={"ServiceLatencyBurn", "ServiceEventLoopBlocked", "ServiceReplicasShort"},
        lingers={"ServiceCPUThrottled"},
    ),
    Trouble(
        "one connection for each pod, and a locked table",
        no_connections_left,
        {"ServiceDatabasePoolExhausted": {}},
        consequences={"ServiceAvailabilityBurn", "ServiceLatencyBurn", "ServiceDatabaseUnavailable", "ServiceDown"},
        lingers={"ServiceDatabasePoolExhausted"},
    ),
    Trouble(
        "5 % errors, and one pod of three slow",
        a_few_errors,
        {"ServiceAvailabilityBurn": WARNING, "ServiceLatencyBurn": WARNING},
        worse=Trouble(
            "50 % errors, all pods slow, one with a blocked event loop",
            many_errors,
            {"ServiceAvailabilityBurn": CRITICAL, "ServiceLatencyBurn": CRITICAL, "ServiceEventLoopBlocked": {}},
        ),
        often=True,
    ),
    Trouble(
        "Valkey stopped, no issuer at the key set's address, an expired certificate",
        nobody_there,
        {"ServiceCacheDown": {}, "ServiceTokenKeysStale": {}, "ServiceCertificateExpired": {}},
        # A pod stands still now and then where the machine is slow, as others begin anew.
        consequences={"ServiceEventLoopBlocked"},
    ),
    Trouble(
        "the database stopped, and all pods begin anew",
        no_database,
        {"ServiceDatabaseUnavailable": {}, "ServiceDown": {}},
        consequences={"ServiceReplicasShort"},
        often=True,
    ),
    Trouble(
        "one pod hangs, another is gone and there is no room for it",
        a_hung_pod,
        {"ServiceTargetDown": {}, "ServiceReplicasShort": {}},
    ),
    Trouble(
        "metrics asked for where there are none, and a release whose migration fails",
        no_metrics_and_no_migration,
        {"ServiceTargetsMissing": {}, "ServiceMigrationFailed": {}},
        consequences={"ServiceTargetDown"},
    ),
    Trouble(
        "metrics that say nothing of requests",
        causes.no_word_of_requests,
        {"ServiceRequestsUnjudged": {}},
    ),
    Trouble(
        "a release that crashes at its start",
        causes.broken_rollout,
        {"ServiceCrashLoop": {}, "ServiceRolloutStuck": {}},
        consequences={"ServiceTargetDown", "ServiceReplicasShort"},
    ),
]


@pytest.fixture(scope="module")
def world(stack: up.Stack, images: Callable[[str], Built], token: str, make_page: Callable[[], str]) -> Iterator[World]:
    """The release with alerts that fire in seconds, an Alertmanager that tells at once, and somebody to be told."""
    found = World(stack, images("broken"), make_page(), token)
    with receiver.installed(stack), prompt_alertmanager(stack):
        found.upgrade()
        yield found
        run(stack.service.upgrade_command(stack.image), log=LOG)


@contextmanager
def prompt_alertmanager(stack: up.Stack) -> Iterator[None]:
    """The platform's routing, with seconds between two messages."""
    as_shipped = (PLATFORM / "monitoring" / "alertmanager-config.yaml").read_text()
    prompt = yaml.safe_load(as_shipped)
    prompt["route"] |= {"group_wait": "1s", "group_interval": "3s"}
    _configure(stack, yaml.safe_dump(prompt))
    try:
        yield
    finally:
        _configure(stack, as_shipped)


@pytest.fixture(scope="module")
def lingering(world: World) -> Iterator[Lingering]:
    """What the tests put here is seen to be over after the last of them: nobody waits for it before."""
    found: Lingering = {}
    yield found
    for name, (began, own) in found.items():
        wait_told(name, "resolved", began, seconds=LINGERS_SECONDS)
        own["resolved"] = True


@pytest.fixture
def calm(world: World, lingering: Lingering) -> None:
    """Nothing is wrong but what only looks as if it were, for minutes."""
    others = "|".join([IDLE, *lingering])
    selector = f'ALERTS{{namespace="{NAMESPACE}",job="{RELEASE}",alertname!~"{others}"}}'
    wait_for("no alert, nor one that is about to fire", lambda: not query(world.stack, selector), seconds=330, every=1)


def test_every_alert_has_its_trouble() -> None:
    rules = yaml.safe_load((CHART / "values.yaml").read_text())["prometheusRule"]["alerts"]
    told = {name for trouble in TROUBLES for stage in trouble.stages for name in stage.alerts}
    assert told | {IDLE} | BACKGROUND == rules.keys()


@pytest.mark.usefixtures("calm")
@pytest.mark.parametrize(
    "trouble",
    [pytest.param(each, id=each.what, marks=[] if each.often else pytest.mark.nightly) for each in TROUBLES],
)
def test_trouble_is_told_and_its_end_too(
    trouble: Trouble, world: World, lingering: Lingering, observed: list[dict[str, object]]
) -> None:
    began = time.time()
    expected = {IDLE} | lingering.keys()
    rows: list[tuple[str, dict[str, str], dict[str, object]]] = []
    with ExitStack() as harm:
        for stage in trouble.stages:
            grew = time.time()
            expected |= stage.alerts.keys() | stage.consequences
            own = [(name, labels, row(name, stage.what)) for name, labels in stage.alerts.items()]
            rows += own
            observed.extend(each for _, _, each in own)
            harm.enter_context(stage.happen(world))
            for name, labels, told_of in own:
                told = wait_told(name, "firing", began, labels)
                told_of |= {"fired": True, "seconds_to_fire": round(told.received - grew, 1)}
                assert_leads_somewhere(told)
                assert_runbook_commands_work(name, world)
    # Of one that was silenced Alertmanager may tell the end, beside the end of what has silenced it.
    fired = {each.name for each in told_since(began) if each.status == "firing" and begun(each, began)}
    assert fired <= expected
    for name, labels, told_of in rows:
        if name in trouble.lingers:
            lingering[name] = (began, told_of)
        else:
            wait_told(name, "resolved", began, labels)
            told_of["resolved"] = True


@pytest.mark.nightly
def test_a_service_without_visitors_says_so(world: World, observed: list[dict[str, object]]) -> None:
    began = time.time()
    own = row(IDLE, "nobody visits")
    observed.append(own)
    # It may have begun long before, while other troubles had no visitors either.
    told = wait_for(f"{IDLE} firing", lambda: last_told(IDLE, "firing"), seconds=330, every=1)
    own |= {"fired": True, "seconds_to_fire": max(0.0, round(told.received - began, 1))}
    assert_leads_somewhere(told)
    assert_runbook_commands_work(IDLE, world)
    with world.visited():
        wait_for(f"{IDLE} resolved", lambda: last_told(IDLE, "resolved"), seconds=150, every=1)
    own["resolved"] = True


def row(name: str, cause: str) -> dict[str, object]:
    return {"name": name, "cause": cause, "fired": False, "resolved": False, "seconds_to_fire": None}


def told_since(began: float) -> list[receiver.Alert]:
    """What the receiver was told of this release since then."""
    own = {"namespace": NAMESPACE, "job": RELEASE}.items()
    return [each for each in receiver.alerts() if each.received >= began and own <= each.labels.items()]


def last_told(name: str, status: str) -> receiver.Alert | None:
    """The last that was told of an alert, if it is this."""
    of_it = [each for each in told_since(0) if each.name == name]
    return of_it[-1] if of_it and of_it[-1].status == status else None


def wait_told(
    name: str, status: str, began: float, labels: dict[str, str] | None = None, *, seconds: float = 150
) -> receiver.Alert:
    wanted = (labels or {}).items()

    def look() -> receiver.Alert | None:
        found = (each for each in told_since(began) if (each.name, each.status) == (name, status))
        return next((each for each in found if wanted <= each.labels.items() and begun(each, began)), None)

    return wait_for(f"{name} {status} {labels or ''}", look, seconds=seconds, every=1)


def begun(alert: receiver.Alert, since: float) -> bool:
    """Whether it is of this time. A message names all alerts of the service, those from before too."""
    return datetime.fromisoformat(alert.starts_at).timestamp() >= since


def assert_leads_somewhere(alert: receiver.Alert) -> None:
    """Its words have numbers, and its links lead to a page and a dashboard that there are."""
    assert (ROOT / urlsplit(alert.annotations["runbook_url"]).path.lstrip("/")).is_file()
    dashboard = urlsplit(alert.annotations["dashboard_url"]).path.split("/d/")[-1].strip("/")
    assert dashboard in {json.loads(file.read_text())["uid"] for file in (CHART / "dashboards").glob("*.json")}
    assert re.search(r"\d", alert.annotations["description"]), alert.annotations
    assert "<no value>" not in "".join(alert.annotations.values())


def assert_runbook_commands_work(name: str, world: World) -> None:
    variables = {
        "NAMESPACE": NAMESPACE,
        "RELEASE": RELEASE,
        "PROMETHEUS": world.stack.service.facts()["prometheus"],
    }
    for command in runbooks.read(name).commands:
        done = command.execute(variables)
        assert done.returncode == 0, f"{command.line}: {done.stderr}"
        assert not command.unseen(done.stdout), f"{command.line} does not print {command.unseen(done.stdout)!r}"


def _configure(stack: up.Stack, text: str) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "alertmanager-config", "namespace": "monitoring"},
        "data": {"alertmanager.yaml": base64.b64encode(text.encode()).decode()},
    }
    stack.cluster.apply(json.dumps(secret), LOG)
