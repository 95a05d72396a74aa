"""Images in the shape of public FastAPI projects (shapes/): with few values, and two lines for their metrics at most,
they get what the chart promises. All three at once, as each test waits for most of its time.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import httpx
import pytest
from kubernetes import client

from k8s import up
from k8s.service import GATEWAY_HOST
from offline.image_build import Built
from tests.e2e import database, shape_images
from tests.e2e.cluster import wait_for
from tests.e2e.load import Load, assert_lost_nothing, note
from tests.e2e.pods import kill
from tests.e2e.prometheus import query
from tests.e2e.release import ROLLOUT_SECONDS, apply
from tests.e2e.shape_images import FOLDER
from tests.e2e.web import Loopback, trust_of
from toolkit.paths import CHART
from toolkit.process import output, run

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(420)]
LOG = "e2e-shapes"
# Each, with a path of it that fails, and those that are not for users.
FAILING = {"workers": "/fail", "template": "/api/v1/utils/fail", "shell": "/fail"}
INTERNAL = {"workers": "/health", "template": "/api/v1/utils/health-check/", "shell": "/healthz"}
# Requests a second to each.
RATE = 30


@dataclass
class Shape:
    """The release of an image."""

    stack: up.Stack
    name: str
    images: dict[str, Built]

    @property
    def kubectl(self) -> list[str]:
        return [*self.stack.cluster.kubectl, "--namespace", self.name]

    def upgrade(self, version: str) -> None:
        """Install it, or upgrade it to a version of its image."""
        image = self.images[version]
        values = (FOLDER / self.name / "values.yaml", FOLDER / "trial.yaml")
        run(
            [
                *(*self.stack.cluster.helm, "upgrade", "--install", self.name, str(CHART), "--namespace", self.name),
                *(f"--values={file}" for file in values),
                f"--set=httpRoute.hostnames[0]={self.host('https-')}",
                f"--set=image.repository={image.repository},image.digest={image.digest}",
                *("--wait", f"--timeout={ROLLOUT_SECONDS}s"),
            ],
            log=f"{LOG}-{self.name}",
        )

    def host(self, prefix: str = "") -> str:
        """Of the Ingress; with a prefix, of the Gateway."""
        return f"{prefix}{self.name}.{GATEWAY_HOST}"

    def url(self, path: str, prefix: str = "") -> str:
        return f"https://{self.host(prefix)}:{self.stack.cluster.ports['https']}{path}"

    def load(self, path: str = "/", expected: int = 200) -> Load:
        authority = self.stack.service.authority.certificate
        return Load(self.url(path), authority, rate=RATE, expected=expected)

    def pods(self) -> list[client.V1Pod]:
        selector = "app.kubernetes.io/component=app"
        return list(client.CoreV1Api().list_namespaced_pod(self.name, label_selector=selector).items)


def at_once(shapes: list[Shape], do: Callable[[Shape], None]) -> None:
    with ThreadPoolExecutor(len(shapes)) as pool:
        list(pool.map(do, shapes))


@contextmanager
def with_database(stack: up.Stack, namespace: str) -> Iterator[None]:
    """A database of its own, named to a namespace by a Secret."""
    url = database.make(stack, namespace).replace("postgresql:", "postgresql+psycopg:")
    secret = {"metadata": {"name": "database", "namespace": namespace}, "stringData": {"url": url}}
    apply(stack, {"apiVersion": "v1", "kind": "Secret", **secret})
    yield
    database.drop(stack, namespace)


@pytest.fixture(scope="module")
def shapes(stack: up.Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Shape]]:
    """All of them, installed."""
    context = tmp_path_factory.mktemp("shapes")
    images = shape_images.build(stack.registry, context, versions=("1", "2"))
    made = [Shape(stack, name, images[name]) for name in FAILING]
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    for shape in made:
        apply(stack, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": shape.name, "labels": labels}})
    with with_database(stack, "shell"):
        at_once(made, lambda shape: shape.upgrade("1"))
        yield made
        run([*stack.cluster.kubectl, "delete", "namespace", *FAILING, "--wait"], log=LOG)


@pytest.fixture
def web(stack: up.Stack) -> Iterator[httpx.Client]:
    trust = trust_of(stack.service.authority.certificate)
    with httpx.Client(verify=trust, timeout=10, transport=Loopback(trust)) as found:
        yield found


def test_helm_test_passes(shapes: list[Shape]) -> None:
    """It reads the metrics, too, from inside the cluster."""
    at_once(
        shapes,
        lambda shape: run(
            [*shape.stack.cluster.helm, "test", shape.name, "--namespace", shape.name, "--timeout=90s"],
            log=f"{LOG}-{shape.name}",
        ),
    )


def spellings(path: str) -> list[str]:
    """Of a path, as somebody may write it who looks for a way past a rule."""
    bare = path.rstrip("/")
    encoded = f"{bare[:-1]}%{ord(bare[-1]):x}"
    return [bare, f"{bare}/", f"{bare}?a", f"{bare}/below", f"/{bare}", f"/.{bare}", f"/a/..{bare}", encoded]


@pytest.mark.parametrize("prefix", ["", "https-"], ids=["Ingress", "HTTPRoute"])
def test_what_is_for_the_cluster_is_refused_to_users(shapes: list[Shape], web: httpx.Client, prefix: str) -> None:
    for shape in shapes:
        page = shape.url("/", prefix)
        wait_for(page, lambda page=page: web.get(page).status_code == 200, seconds=30)  # type: ignore[misc]
        for path in (spelling for each in ("/metrics", INTERNAL[shape.name]) for spelling in spellings(each)):
            answer = web.get(shape.url("", prefix) + path)
            assert answer.status_code >= 500, f"{shape.name}: {path} of the {prefix or 'Ingress'}"
            assert answer.elapsed.total_seconds() < 2, path


@contextmanager
def nothing_lost(what: str, shapes: list[Shape], report: Callable[..., None]) -> Iterator[None]:
    """Each has a load meanwhile, that is under way before and goes on after it."""
    with ExitStack() as loads:
        running = [loads.enter_context(shape.load()) for shape in shapes]
        sent_by_all(running, 0)
        started = time.monotonic()
        yield
        took = time.monotonic() - started
        sent_by_all(running, max(each.sent for each in running))
    for shape, load in zip(shapes, running, strict=True):
        report(f"{shape.name}, an image of others: {what}", load.result, seconds=took, note=note(load))
    for load in running:
        assert_lost_nothing(load)


def sent_by_all(loads: list[Load], before: int) -> None:
    """Three seconds' worth more than before."""
    for each in loads:
        each.sent_at_least(before + int(3 * each.rate))


def test_an_upgrade_loses_nothing(shapes: list[Shape], web: httpx.Client, report: Callable[..., None]) -> None:
    with nothing_lost("helm upgrade to a new image", shapes, report):
        at_once(shapes, lambda shape: shape.upgrade("2"))
    assert [web.get(shape.url("/")).json()["version"] for shape in shapes] == ["2"] * len(shapes)


def test_a_drain_loses_nothing(shapes: list[Shape], report: Callable[..., None]) -> None:
    cluster = shapes[0].stack.cluster
    worker = next(node for node in cluster.nodes if node != cluster.control_plane)
    with nothing_lost("drain of a node", shapes, report):
        try:
            drain = ["drain", worker, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=150s"]
            run([*cluster.kubectl, *drain], log=LOG)
            for shape in shapes:
                run([*shape.kubectl, "rollout", "status", "deployment", "--timeout=90s"], log=LOG)
        finally:
            output([*cluster.kubectl, "uncordon", worker])


def test_a_killed_pod_loses_nothing(shapes: list[Shape], report: Callable[..., None]) -> None:
    """All processes of a pod of each."""

    def back(shape: Shape, pod: client.V1Pod) -> bool:
        (before,) = pod.status.container_statuses
        (found,) = [each for each in shape.pods() if each.metadata.uid == pod.metadata.uid]
        (now,) = found.status.container_statuses
        return bool(now.restart_count > before.restart_count and now.ready)

    pods = [(shape, shape.pods()[0]) for shape in shapes]
    with nothing_lost("SIGKILL of a pod's processes", shapes, report):
        for _, pod in pods:
            kill(pod)
        for shape, pod in pods:
            wait_for(f"a restarted pod of {shape.name}", partial(back, shape, pod), seconds=90)


def test_errors_spend_the_budget_and_fire_the_alert(
    stack: up.Stack, shapes: list[Shape], report: Callable[..., None]
) -> None:
    names = "|".join(FAILING)
    left = f'job:slo_error_budget_remaining:ratio{{namespace=~"{names}",slo="availability"}}'
    alerts = f'ALERTS{{namespace=~"{names}",alertname="ServiceAvailabilityBurn",alertstate="firing"}}'

    def of_each(promql: str) -> list[object]:
        return sorted(each["metric"]["namespace"] for each in query(stack, promql))  # type: ignore[index]

    everyone = sorted(FAILING)
    # No request has failed so far, of some thousands.
    wait_for("the whole budget of each", lambda: of_each(f"{left} == 1") == everyone, seconds=30)
    assert of_each(alerts) == []
    started = time.monotonic()
    with ExitStack() as loads:
        for shape in shapes:
            loads.enter_context(shape.load(FAILING[shape.name], expected=500))
        wait_for("an alert of each", lambda: of_each(alerts) == everyone, seconds=120)
        took = time.monotonic() - started
    assert of_each(f"{left} < 1") == everyone
    report("errors of three images of others: budget spent, alert fired", seconds=took)
