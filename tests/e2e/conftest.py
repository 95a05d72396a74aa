"""One cluster for all end-to-end tests, made for them and removed after them.

`E2E_KEEP=1` leaves it for the next run, which then takes it as it is and brings up only what changed.
"""

import io
import json
import os
import shutil
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from kubernetes import client, config
from rich.console import Console
from rich.table import Table

from k8s import up
from k8s.__main__ import REGISTRY_PORT
from k8s.kind.cluster import NODE_PORTS, free_ports
from k8s.kind.paths import BUILD, ROOT, TOOLS
from k8s.kind.process import output
from k8s.kind.programs import digest
from k8s.kind.progress import Progress
from k8s.service import HOST, Built, build_image
from tests.e2e.delivery.variants import crashing, next_version
from tests.e2e.load import Load, Result

# Named by the checkout, so that two of them do not get in each other's way.
CLUSTER = f"shipshape-test-{digest(str(ROOT))[:4]}"
REPORT = BUILD / "report" / "e2e.json"
RECORDS: list["Record"] = []
OBSERVED = BUILD / "report" / "observability.json"
ALERTS: list[dict[str, object]] = []
PANELS: list[dict[str, object]] = []
DELIVERY = BUILD / "report" / "delivery.json"
DELIVERED: list["Record"] = []
# When a test of the operations ran, in seconds since 1970.
OPERATIONS: list[tuple[str, float, float]] = []
TIMES = BUILD / "report" / "e2e-times.json"
SPENT: list["Spent"] = []
LONGEST = 12


@dataclass
class Record:
    """One scenario, as build/report/e2e.json and delivery.json have it."""

    name: str
    sent: int
    failed: int
    seconds: float
    passed: bool
    note: str = ""


@dataclass(frozen=True)
class Spent:
    """What a test, set-up included, took of the machine; build/report/e2e-times.json shows where the next cut is."""

    test: str
    seconds: float
    cores_busy: float  # of all; what is left of them the test has waited
    load: float  # the load average of the last minute, at its end


def busy_seconds() -> float:
    """CPU seconds that the machine has worked since its start, whoever for (proc_stat(5))."""
    user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


@pytest.fixture(scope="session")
def stack(pytestconfig: pytest.Config) -> Iterator[up.Stack]:
    """The running cluster with everything on it."""
    os.environ["PATH"] = f"{TOOLS}{os.pathsep}{os.environ['PATH']}"
    folder = BUILD / CLUSTER
    kubeconfig = folder / "kubeconfig"
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    started = time.monotonic()
    with up.alone(), capture.global_and_fixture_disabled(), Progress() as progress:
        progress.say("")
        stack = up.up(CLUSTER, _ports(folder), REGISTRY_PORT, progress, kubeconfig=kubeconfig)
    RECORDS.append(Record("bring up cluster, platform and service", 0, 0, _since(started), passed=True))
    os.environ["KUBECONFIG"] = str(kubeconfig)
    config.load_kube_config(str(kubeconfig), stack.cluster.context)
    yield stack
    if not os.environ.get("E2E_KEEP"):
        with capture.global_and_fixture_disabled(), Progress() as progress:
            stack.cluster.delete(progress)


@pytest.fixture
def web(stack: up.Stack) -> Iterator[httpx.Client]:
    """A client that trusts the demo authority alone, for paths of the service's public address."""
    port = stack.cluster.ports["https"]
    trust = trust_of(stack.service.authority.certificate)
    with httpx.Client(verify=trust, base_url=f"https://{HOST}:{port}", timeout=10, transport=Loopback(trust)) as found:
        yield found


class Loopback(httpx.HTTPTransport):
    """Connects to 127.0.0.1 whatever the name, and verifies the certificate for the name."""

    def __init__(self, trust: Any) -> None:
        super().__init__(verify=trust)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions["sni_hostname"] = request.url.host
        request.url = request.url.copy_with(host="127.0.0.1")
        return super().handle_request(request)


@pytest.fixture(scope="session")
def token(stack: up.Stack) -> str:
    """A token that may read and write links, from the command that build/up.json names."""
    return output(["sh", "-c", stack.service.facts()["token"]]).strip()


@pytest.fixture(scope="session")
def make_link(stack: up.Stack, token: str) -> Callable[[], str]:
    """Makes a short link, and gives its path."""
    trust = trust_of(stack.service.authority.certificate)

    def make() -> str:
        authorization = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=stack.service.url, timeout=10, transport=Loopback(trust)) as web:
            answer = web.post("/api/v1/links", json={"url": "https://example.com/"}, headers=authorization)
        assert answer.status_code == 201, answer.text
        return f"/{answer.json()['slug']}"

    return make


@pytest.fixture
def link(make_link: Callable[[], str]) -> str:
    """The path of a fresh short link."""
    return make_link()


@pytest.fixture
def load(stack: up.Stack, link: str) -> Callable[..., Load]:
    """Makes a load on the redirect of a link, through the ingress at 127.0.0.1."""

    def make(rate: float = 100.0) -> Load:
        return Load(stack.service.url + link, stack.service.authority.certificate, rate=rate)

    return make


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Iterator[Callable[..., None]]:
    """Puts a scenario into the report, with the time the test took so far; a test that fails is in there as well."""
    started = time.monotonic()
    own: list[Record] = []

    def put(name: str, result: Result | None = None, *, seconds: float | None = None, note: str = "") -> None:
        sent, failed = (result.sent, result.failed) if result else (0, 0)
        took = seconds if seconds is not None else _since(started)
        own.append(Record(name, sent, failed, round(took, 1), passed=failed == 0, note=note))

    yield put
    RECORDS.extend(_judged(request.node, own, started))


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
    DELIVERED.extend(_judged(request.node, own, started))


def _judged(node: Any, own: list[Record], started: float) -> list[Record]:
    """What a test has put, all of it failed if the test was; a test that came to nothing is there as well."""
    failed = getattr(node, "failed", False)
    own = own or [Record(node.name, 0, 0, _since(started), passed=False)]
    return [Record(**{**asdict(record), "passed": record.passed and not failed}) for record in own]


# While the cluster is as it was brought up.
FIRST = "test_up.py::test_second_run_replaces_nothing"
# After what they look back at; then what brings many resource definitions, which keep the API server busy; at the very
# end what stops nodes.
LAST = [
    "test_quiet",
    "test_dashboards",
    "test_alerts",
    "test_overload",
    "test_outages",
    "test_admission",
    "test_recovery",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return next((n for n, name in enumerate(LAST) if f"{name}.py" in item.nodeid), -1)

    items.sort(key=lambda item: (not item.nodeid.endswith(FIRST), place(item)))


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    started, busy = time.monotonic(), busy_seconds()
    yield
    took, busy = time.monotonic() - started, busy_seconds() - busy
    SPENT.append(Spent(item.nodeid.partition("e2e/")[2], round(took, 1), round(busy / took, 2), os.getloadavg()[0]))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome: Any = yield
    if call.when == "call":
        item.failed = outcome.get_result().failed  # type: ignore[attr-defined]
        if "test_zero_downtime.py" in item.nodeid or "test_autoscaling.py" in item.nodeid:
            OPERATIONS.append((item.name, call.start, call.stop))


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
    return ALERTS


@pytest.fixture(scope="session")
def panels() -> list[dict[str, object]]:
    """The panels there."""
    return PANELS


def copy_source(context: Path) -> None:
    """What the service's image is built from."""
    for name in ("app", "requirements", "Dockerfile", ".dockerignore"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, context / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, context / name)


VARIANTS: dict[str, Callable[[Path], None]] = {"next": next_version, "broken": crashing}


def _ports(folder: Path) -> dict[str, int]:
    """Free ports; those of the last run where its cluster was left."""
    made = folder / "created.yaml"
    if made.exists():
        mappings = yaml.safe_load(made.read_text())["nodes"][0]["extraPortMappings"]
        inside = {m["containerPort"]: m["hostPort"] for m in mappings}
        return {name: inside[port] for name, port in NODE_PORTS.items()}
    return free_ports()


def trust_of(authority: Path) -> Any:
    return ssl.create_default_context(cafile=authority)


def _since(started: float) -> float:
    return round(time.monotonic() - started, 1)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write the reports, and show them as tables."""
    for title, records, file in (("End to end", RECORDS, REPORT), ("Delivery", DELIVERED, DELIVERY)):
        if records:
            file.parent.mkdir(parents=True, exist_ok=True)
            rows = [{("pass" if k == "passed" else k): v for k, v in asdict(r).items()} for r in records]
            file.write_text(json.dumps(rows, indent=2) + "\n")
            terminalreporter.write_line(_table(title, records))
    if SPENT:
        TIMES.parent.mkdir(parents=True, exist_ok=True)
        TIMES.write_text(json.dumps([asdict(spent) for spent in SPENT], indent=2) + "\n")
        terminalreporter.write_line(_longest())
    if ALERTS or PANELS:
        OBSERVED.write_text(json.dumps({"alerts": ALERTS, "panels": PANELS}, indent=2) + "\n")


def _longest() -> str:
    all_of_it = sum(spent.seconds for spent in SPENT)
    busy = sum(spent.seconds * spent.cores_busy for spent in SPENT)
    cores = os.cpu_count() or 1
    table = Table(
        title=f"{all_of_it:.0f} s, {busy / all_of_it:.2f} of {cores} cores busy; the longest:", title_justify="left"
    )
    for column in ("test", "seconds", "cores busy"):
        table.add_column(column, justify="left" if column == "test" else "right", no_wrap=True)
    for spent in sorted(SPENT, key=lambda each: -each.seconds)[:LONGEST]:
        table.add_row(spent.test, f"{spent.seconds:.1f}", f"{spent.cores_busy:.2f}")
    return _text(table)


def _table(title: str, records: list[Record]) -> str:
    table = Table(title=title, title_justify="left")
    for column in ("scenario", "sent", "failed", "seconds", "", "note"):
        table.add_column(column, justify="right" if column in {"sent", "failed", "seconds"} else "left")
    for r in records:
        table.add_row(
            r.name,
            str(r.sent or ""),
            str(r.failed) if r.sent else "",
            f"{r.seconds:.1f}",
            "ok" if r.passed else "FAILED",
            r.note,
        )
    return _text(table)


def _text(table: Table) -> str:
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()
