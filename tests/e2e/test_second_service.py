"""A service that `make new` has made has the same proofs as the first one, beside which it runs."""

import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from k8s import up
from tests.e2e.load import Load, assert_lost_nothing, note, under
from tests.e2e.second_service import NAME, SecondService
from tests.e2e.subject import ITEMS
from tests.e2e.web import Loopback, trust_of
from toolkit.process import output, run

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(420)]


@pytest.fixture(scope="module")
def second(stack: up.Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecondService]:
    """Made, built, installed and tested, with an item to read."""
    service = SecondService(stack, tmp_path_factory.mktemp("second"))
    service.make()
    image = service.image("0.1.0")
    service.prepare()
    service.upgrade(image)
    yield service
    service.remove()


@pytest.fixture
def web(second: SecondService) -> Iterator[httpx.Client]:
    trust = trust_of(second.stack.service.authority.certificate)
    with httpx.Client(verify=trust, base_url=second.url, timeout=10, transport=Loopback(trust)) as client:
        yield client


@pytest.fixture
def item(second: SecondService, web: httpx.Client) -> str:
    """The path of an item."""
    return ITEMS.make(web, second.token())


def load(second: SecondService, path: str) -> Load:
    return Load(second.url + path, second.stack.service.authority.certificate, rate=100, expected=ITEMS.status)


def test_helm_test_passes(second: SecondService) -> None:
    second.test()


def test_it_answers_as_the_first_one_does(web: httpx.Client, item: str) -> None:
    assert web.get(item).json()["text"] == "Hello"
    refused = web.post(ITEMS.collection, json=ITEMS.body())
    assert (refused.status_code, refused.headers["content-type"]) == (401, "application/problem+json")
    assert web.get("/").json()["name"] == NAME


def test_an_upgrade_loses_nothing(
    second: SecondService, web: httpx.Client, item: str, report: Callable[..., None]
) -> None:
    image = second.image("0.2.0")
    with under(load(second, item)) as running:
        started = time.monotonic()
        second.upgrade(image)
        took = time.monotonic() - started
    report("second service: helm upgrade to a new image", running.result, seconds=took, note=note(running))
    assert_lost_nothing(running)
    assert {web.get("/").json()["version"] for _ in range(10)} == {"0.2.0"}


def test_a_drain_loses_nothing(second: SecondService, item: str, report: Callable[..., None]) -> None:
    cluster = second.stack.cluster
    worker = next(node for node in cluster.nodes if node != cluster.control_plane)
    with under(load(second, item)) as running:
        started = time.monotonic()
        try:
            drain = ["drain", worker, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=150s"]
            run([*cluster.kubectl, *drain], log="e2e-drain")
            assert not output([*second.kubectl, "get", "pods", f"--field-selector=spec.nodeName={worker}", "-o=name"])
        finally:
            output([*cluster.kubectl, "uncordon", worker])
        took = time.monotonic() - started
    report("second service: drain of a node", running.result, seconds=took, note=note(running))
    assert_lost_nothing(running)
