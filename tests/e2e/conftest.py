"""One cluster for all end-to-end tests, made for them and removed after them.

`E2E_KEEP=1` leaves it for the next run, which then takes it as it is and brings up only what changed. With `-n 2`
(pytest-xdist) the lanes of lanes.py run side by side, on a cluster that the process above them brings up.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from kubernetes import client, config

from k8s import up
from k8s.__main__ import REGISTRY_PORT
from k8s.kind.cluster import NODE_PORTS, free_ports
from k8s.service import HOST
from offline.image_build import Built, build_image
from tests.e2e import lanes, machine
from tests.e2e.cluster import wait_for
from tests.e2e.delivery.variants import copy_source, crashing, next_version
from tests.e2e.load import Load, Result, Write
from tests.e2e.prometheus import query
from tests.e2e.reports import Record, Reports, Spent, busy_seconds
from tests.e2e.subject import SUBJECT
from tests.e2e.web import Loopback, trust_of
from toolkit.paths import BUILD, ROOT, TOOLS
from toolkit.process import Failure, output
from toolkit.programs import digest
from toolkit.progress import Progress

# Named by the checkout, so that two of them do not get in each other's way.
CLUSTER = f"shipshape-test-{digest(str(ROOT))[:4]}"
FOLDER = BUILD / CLUSTER
KUBECONFIG = FOLDER / "kubeconfig"
REPORTS = Reports()
TURNS = lanes.Turns(BUILD / "turns.lock")
STACK = pytest.StashKey[up.Stack]()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Above the lanes: bring the cluster up before they start."""
    if above_lanes(session.config) and not session.config.option.collectonly:
        try:
            session.config.stash[STACK] = bring_up()
        except Failure as failure:
            pytest.exit(str(failure), returncode=1)


def pytest_configure_node(node: Any) -> None:
    """A hook of pytest-xdist, called above for each lane: say what was brought up."""
    if stack := node.config.stash.get(STACK, None):
        node.workerinput |= {"ports": stack.cluster.ports, "image": asdict(stack.image)}


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> lanes.Lanes:
    """A hook of pytest-xdist, called above: share the tests out."""
    return lanes.Lanes(config, log)


def pytest_testnodedown(node: Any) -> None:
    """A hook of pytest-xdist, called above when a lane has ended."""
    REPORTS.add(getattr(node, "workeroutput", {}).get("reports", Reports().plain()))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if in_lane(session.config):
        TURNS.end()
        session.config.workeroutput["reports"] = REPORTS.plain()  # type: ignore[attr-defined]
    elif stack := session.config.stash.get(STACK, None):
        take_down(stack)


def above_lanes(config: pytest.Config) -> bool:
    return not in_lane(config) and config.getoption("dist", "no") != "no"


def in_lane(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def bring_up() -> up.Stack:
    os.environ["PATH"] = f"{TOOLS}{os.pathsep}{os.environ['PATH']}"
    started = time.monotonic()
    with up.alone(), Progress() as progress:
        progress.say("")
        stack = up.up(CLUSTER, _ports(), REGISTRY_PORT, progress, kubeconfig=KUBECONFIG)
    # kind's nodes start again with the engine: what a killed run has left would take half a machine from the next.
    output(["docker", "update", "--restart=no", *stack.cluster.nodes])
    took = _since(started)
    REPORTS.scenarios.append(Record("bring up cluster, platform and service", 0, 0, took, passed=True))
    return stack


def take_down(stack: up.Stack) -> None:
    if not os.environ.get("E2E_KEEP"):
        with Progress() as progress:
            stack.cluster.delete(progress)


@pytest.fixture(scope="session")
def stack(pytestconfig: pytest.Config) -> Iterator[up.Stack]:
    """The running cluster with everything on it."""
    if in_lane(pytestconfig):
        above = pytestconfig.workerinput  # type: ignore[attr-defined]
        found = up.present(CLUSTER, above["ports"], REGISTRY_PORT, Built(**above["image"]), kubeconfig=KUBECONFIG)
        yield connected(found)
        return
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        found = bring_up()
    yield connected(found)
    with capture.global_and_fixture_disabled():
        take_down(found)


def connected(stack: up.Stack) -> up.Stack:
    """With the means of this process to speak to it."""
    os.environ["KUBECONFIG"] = str(KUBECONFIG)
    config.load_kube_config(str(KUBECONFIG), stack.cluster.context)
    return stack


@pytest.fixture
def web(stack: up.Stack) -> Iterator[httpx.Client]:
    """A client that trusts the demo authority alone, for paths of the service's public address."""
    port = stack.cluster.ports["https"]
    trust = trust_of(stack.service.authority.certificate)
    with httpx.Client(verify=trust, base_url=f"https://{HOST}:{port}", timeout=10, transport=Loopback(trust)) as found:
        yield found


@pytest.fixture(scope="session")
def token(stack: up.Stack) -> str:
    """A token that may read and write links, from the command that build/up.json names."""
    return output(["sh", "-c", stack.service.facts()["token"]]).strip()


@pytest.fixture(scope="session")
def make_page(stack: up.Stack, token: str) -> Callable[[], str]:
    """Makes something that anybody may read, and gives its path."""
    trust = trust_of(stack.service.authority.certificate)

    def make() -> str:
        with httpx.Client(base_url=stack.service.url, timeout=10, transport=Loopback(trust)) as web:
            return SUBJECT.make(web, token)

    return make


@pytest.fixture
def page(make_page: Callable[[], str]) -> str:
    """The path of something fresh that anybody may read."""
    return make_page()


@pytest.fixture
def load(stack: up.Stack, page: str) -> Callable[..., Load]:
    """Makes a load on a read, through the ingress at 127.0.0.1."""

    def make(rate: float = 100.0) -> Load:
        return Load(stack.service.url + page, stack.service.authority.certificate, rate=rate)

    return make


@pytest.fixture
def traffic(stack: up.Stack, page: str, token: str) -> Callable[..., Load]:
    """Makes a load of reads and, every 20th request, a write: fewer than what a subject may write in a minute."""

    def make(rate: float) -> Load:
        write = Write(stack.service.url + SUBJECT.collection, token, every=20)
        return Load(stack.service.url + page, stack.service.authority.certificate, rate=rate, write=write)

    return make


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Iterator[Callable[..., None]]:
    """Puts a scenario into the report, with the time the test took so far; a test that fails is in there as well."""
    started = time.monotonic()
    own: list[Record] = []

    def put(
        name: str, result: Result | None = None, *, seconds: float | None = None, note: str = "", allowed: int = 0
    ) -> None:
        sent, failed = (result.sent, result.failed) if result else (0, 0)
        took = seconds if seconds is not None else _since(started)
        own.append(Record(name, sent, failed, round(took, 1), passed=failed <= allowed, note=note))

    yield put
    REPORTS.scenarios.extend(_judged(request.node, own, started))


@pytest.fixture
def delivered(request: pytest.FixtureRequest) -> Iterator[Callable[..., None]]:
    """The same for build/report/delivery.json, where requests may have failed that a bad version itself answered: the
    test looks that there are no others."""
    started = time.monotonic()
    own: list[Record] = []

    def put(name: str, result: Result | None = None, *, seconds: float | None = None, note: str = "") -> None:
        sent, failed = (result.sent, result.failed) if result else (0, 0)
        took = seconds if seconds is not None else _since(started)
        own.append(Record(name, sent, failed, round(took, 1), passed=True, note=note))

    yield put
    REPORTS.delivered.extend(_judged(request.node, own, started))


def _judged(node: Any, own: list[Record], started: float) -> list[Record]:
    """What a test has put, all of it failed if the test was; a test that came to nothing is there as well."""
    failed = getattr(node, "failed", False)
    own = own or [Record(node.name, 0, 0, _since(started), passed=False)]
    return [Record(**{**asdict(record), "passed": record.passed and not failed}) for record in own]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lanes.place)


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    TURNS.take(alone=lanes.alone(item))
    machine.slowness()  # it is remembered
    started, busy = time.monotonic(), busy_seconds()
    yield
    took, busy = time.monotonic() - started, busy_seconds() - busy
    REPORTS.times.append(Spent(item.name, item.path.stem, round(took, 1), round(busy / took, 2), os.getloadavg()[0]))
    TURNS.give()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome: Any = yield
    if call.when == "call":
        item.failed = outcome.get_result().failed  # type: ignore[attr-defined]


@pytest.fixture
def quiet(stack: up.Stack) -> Iterator[None]:
    """No alert fires while the test runs, whatever it does: with the chart's own windows and waits, by what Prometheus
    remembers."""
    began = time.time()
    yield
    ended = time.time()
    rules = 'count(job:slo_errors:ratio_rate5m{namespace="links",job="links"})'
    wait_for("the release's rules in Prometheus", lambda: bool(query(stack, rules)))
    firing = 'ALERTS{namespace="links",job="links",alertstate="firing"}'
    found = query(stack, f"max_over_time({firing}[{ended - began:.0f}s] @ {ended:.0f})")
    assert [each["metric"]["alertname"] for each in found] == []  # type: ignore[index]


@pytest.fixture(scope="session")
def apps(stack: up.Stack) -> client.AppsV1Api:
    return client.AppsV1Api()


@pytest.fixture(scope="session")
def core(stack: up.Stack) -> client.CoreV1Api:
    return client.CoreV1Api()


@pytest.fixture(scope="session")
def images(stack: up.Stack, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Built]:
    """Builds a variant of the service's image: `next` has another version, `broken` does not start."""
    made: dict[str, Built] = {}

    def build(variant: str) -> Built:
        if variant not in made:
            context = tmp_path_factory.mktemp(variant)
            copy_source(context)
            VARIANTS[variant](context)
            made[variant] = build_image(stack.registry, context, tag=variant)
        return made[variant]

    return build


@pytest.fixture(scope="session")
def foreign(stack: up.Stack) -> Built:
    """An image that is not ours and keeps the chart's contract."""
    return build_image(stack.registry, ROOT / "tests" / "e2e" / "foreign", name="foreign")


@pytest.fixture(scope="session")
def observed() -> list[dict[str, object]]:
    """The alerts of build/report/observability.json."""
    return REPORTS.alerts


@pytest.fixture(scope="session")
def panels() -> list[dict[str, object]]:
    """The panels there."""
    return REPORTS.panels


VARIANTS: dict[str, Callable[[Path], None]] = {"next": next_version, "broken": crashing}


def _ports() -> dict[str, int]:
    """Free ports; those of the last run where its cluster was left."""
    made = FOLDER / "created.yaml"
    if made.exists():
        mappings = yaml.safe_load(made.read_text())["nodes"][0]["extraPortMappings"]
        inside = {m["containerPort"]: m["hostPort"] for m in mappings}
        return {name: inside[port] for name, port in NODE_PORTS.items()}
    return free_ports()


def _since(started: float) -> float:
    return round(time.monotonic() - started, 1)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write the reports, and show them as tables."""
    terminalreporter.write_line(REPORTS.write())
