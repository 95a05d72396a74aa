"""What anybody outside reaches: the service over verified TLS, and nothing else."""

import ssl
from collections.abc import Callable

import httpx
import pytest
from kubernetes import client

from k8s import up
from k8s.certificates import ensure_authority
from k8s.service import HOST
from tests.e2e.subject import SUBJECT
from tests.e2e.web import Loopback


def test_written_and_read_over_verified_tls(web: httpx.Client, token: str, report: Callable[..., None]) -> None:
    assert web.get(SUBJECT.make(web, token)).status_code == SUBJECT.status
    report("written and read over verified TLS")


@pytest.mark.parametrize("who", ["the public authorities", "another authority of the same name"])
def test_certificate_is_not_taken_on_another_authority_s_word(
    stack: up.Stack, who: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = ensure_authority(tmp_path_factory.mktemp("other")).certificate if "another" in who else None
    trust = ssl.create_default_context(cafile=other)
    with (
        httpx.Client(transport=Loopback(trust), timeout=10) as web,
        pytest.raises(httpx.ConnectError, match="certificate verify failed"),
    ):
        web.get(f"{stack.service.url}/")


def test_certificate_is_for_this_name_only(stack: up.Stack) -> None:
    trust = ssl.create_default_context(cafile=stack.service.authority.certificate)
    with (
        httpx.Client(transport=Loopback(trust), timeout=10) as web,
        pytest.raises(httpx.ConnectError, match="certificate verify failed"),
    ):
        web.get(stack.service.url.replace(HOST, "elsewhere.example"))


@pytest.mark.parametrize("size", [500_000, 5_000_000])
def test_a_body_over_the_limit_is_told(web: httpx.Client, size: int) -> None:
    """Behind Traefik 3.7.15 one to five of fifteen were 502: the service reset the connection while the body came."""
    answers = [web.post(SUBJECT.collection, content=b"x" * size).status_code for _ in range(15)]
    assert answers == [413] * 15


def test_plain_http_is_redirected(stack: up.Stack, page: str) -> None:
    with httpx.Client(transport=Loopback(True), timeout=10) as web:
        answer = web.get(f"http://{HOST}:{stack.cluster.ports['http']}{page}")
    assert answer.status_code == 301
    assert answer.headers["location"] == stack.service.url + page


@pytest.mark.parametrize("path", ["/metrics", "/startupz", "/livez", "/readyz"])
def test_management_port_is_not_routed(web: httpx.Client, path: str, report: Callable[..., None]) -> None:
    answer = web.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert "http_requests_in_flight" not in answer.text
    report(f"{path} is not reachable from outside")


def test_public_service_has_no_management_port(stack: up.Stack, core: object) -> None:
    services = client.CoreV1Api().list_namespaced_service("links").items
    public = next(s for s in services if s.metadata.name == "links")
    assert [p.name for p in public.spec.ports] == ["http"]
    ingress = client.NetworkingV1Api().read_namespaced_ingress("links", "links")
    backends = [p.backend.service for r in ingress.spec.rules for p in r.http.paths]
    assert {(b.name, b.port.name) for b in backends} == {("links", "http")}
