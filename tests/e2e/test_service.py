"""What several replicas promise together, with a real ingress in front and real data services behind."""

import json
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address, ip_network

import httpx
import pytest
from kubernetes import client

from k8s import up
from k8s.service import HOST
from tests.e2e.cluster import wait_for
from tests.e2e.pods import STALE_SECONDS, pod_names
from tests.e2e.prometheus import value
from tests.e2e.subject import LINKS, SUBJECT
from tests.e2e.web import Loopback
from toolkit.process import run

pytestmark = pytest.mark.timeout(300)
POD_NETWORK = ip_network("10.244.0.0/16")


@pytest.fixture
def owner(web: httpx.Client, token: str) -> httpx.Client:
    """A client that may read and write links."""
    web.headers["Authorization"] = f"Bearer {token}"
    return web


@pytest.fixture
def visitor(stack: up.Stack) -> Iterator[Callable[[str], httpx.Response]]:
    """Asks for a path without a token, each time on a connection of its own, so that any replica may get it."""
    trust = ssl.create_default_context(cafile=stack.service.authority.certificate)
    with httpx.Client(transport=Loopback(trust), base_url=stack.service.url, timeout=10) as web:
        yield lambda path: web.get(path, headers={"Connection": "close"})


@pytest.fixture
def link(page: str) -> str:
    """The path of a fresh short link: what the subject reads are redirects."""
    assert SUBJECT is LINKS
    return page


def test_a_short_link_is_of_the_public_address(web: httpx.Client, token: str) -> None:
    made = LINKS.write(web, token).json()
    followed = web.get(LINKS.path(made))
    assert followed.headers["location"] == "https://example.com/"
    assert made["short_url"] == str(followed.url.copy_with(host=HOST))


def test_change_reaches_every_replica_in_time(
    owner: httpx.Client,
    visitor: Callable[[str], httpx.Response],
    core: client.CoreV1Api,
    link: str,
    report: Callable[..., None],
) -> None:
    replicas = len(pod_names(core))
    for _ in range(20 * replicas):  # so that each holds the old answer
        assert visitor(link).headers["location"] == "https://example.com/"
    changed = owner.patch(f"/api/v1/links{link}", json={"url": "https://example.com/new"})
    assert changed.status_code == 200, changed.text
    started, last_old, new = time.monotonic(), 0.0, 0
    while time.monotonic() - started < 2 * STALE_SECONDS:
        if visitor(link).headers["location"] == "https://example.com/new":
            new += 1
        else:
            last_old = time.monotonic() - started
    assert new > 0
    assert last_old <= STALE_SECONDS
    gone = owner.delete(f"/api/v1/links{link}")
    assert gone.status_code == 204
    wait_for(
        "every replica to say 404",
        lambda: all(visitor(link).status_code == 404 for _ in range(10 * replicas)),
        seconds=STALE_SECONDS + 10,
    )
    report("a change reaches every replica", note=f"last old answer after {last_old:.1f} s, allowed {STALE_SECONDS} s")


def test_clicks_are_counted_exactly(
    owner: httpx.Client, visitor: Callable[[str], httpx.Response], link: str, report: Callable[..., None]
) -> None:
    follows = 300
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: visitor(link).status_code, range(follows)))
    assert answers == [307] * follows

    def counted() -> int:
        clicks: int = owner.get(f"/api/v1/links{link}/clicks").json()["clicks"]
        return clicks

    wait_for(f"{follows} clicks", lambda: counted() == follows, seconds=30)
    report("clicks are counted exactly over all replicas", note=f"{follows} of {follows}")


def test_ingress_tells_who_asks(owner: httpx.Client, core: client.CoreV1Api, report: Callable[..., None]) -> None:
    """The client's address, not the ingress's own, and not one that the client made up."""
    request_id = f"address-{time.monotonic_ns()}"
    forged = {"X-Request-ID": request_id, "X-Forwarded-For": "203.0.113.7"}
    assert owner.get("/", headers=forged).status_code == 200

    def line() -> dict[str, str] | None:
        for pod in pod_names(core):
            log = core.read_namespaced_pod_log(pod, "links", container=None, tail_lines=500)
            for text in log.splitlines():
                if request_id in text:
                    found: dict[str, str] = json.loads(text)
                    return found
        return None

    address = ip_address(wait_for("the access line", line)["client.address"])
    assert address not in POD_NETWORK
    assert str(address) != "203.0.113.7"
    report("the client's address in the log is the client's", note=str(address))


def test_a_service_without_pods_is_unavailable_and_not_unknown(
    stack: up.Stack, web: httpx.Client, report: Callable[..., None]
) -> None:
    """Traefik forgets the route of a service without endpoints, and answers 404, where it is not told otherwise."""
    host = "nobody.localhost"
    metadata = {"name": "nobody", "namespace": "links"}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": metadata}
    selects_no_pod = {"spec": {"ports": [{"port": 80}], "selector": {"app.kubernetes.io/name": "nobody"}}}
    backend = {"service": {"name": "nobody", "port": {"number": 80}}}
    paths = {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}
    ingress = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata}
    rules = {"spec": {"rules": [{"host": host, "http": paths}]}}
    both = {"apiVersion": "v1", "kind": "List", "items": [service | selects_no_pod, ingress | rules]}
    stack.cluster.apply(json.dumps(both), "e2e-nobody")

    def status() -> int | None:
        answered = web.get("/", headers={"Host": host}).status_code
        return answered if answered != httpx.codes.NOT_FOUND else None

    try:
        assert wait_for("a route", status) == 503
        report("a service without pods: 503 from the ingress")
    finally:
        run([*stack.cluster.kubectl, "-n", "links", "delete", "service/nobody", "ingress/nobody"], log="e2e-nobody")


def test_no_replica_works_without_the_shared_limit(stack: up.Stack) -> None:
    wait_for(
        "shared rate limits",
        lambda: (
            value(stack, 'count(rate_limit_fallback{namespace="links"})') > 0
            and value(stack, 'sum(rate_limit_fallback{namespace="links"})') == 0
        ),
        seconds=90,
    )
