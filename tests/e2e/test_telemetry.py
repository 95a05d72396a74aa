"""Logs, traces and the nodes' own metrics end where people look for them."""

import secrets
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from kubernetes import client

from k8s import up
from tests.e2e.cluster import wait_for
from tests.e2e.test_monitoring import value

pytestmark = pytest.mark.timeout(420)


def lines(stack: up.Stack, query: str) -> list[str]:
    """Log lines of the last minutes, by LogQL (https://grafana.com/docs/loki/latest/reference/loki-http-api/)."""
    window = {"query": query, "start": f"{time.time() - 600:.0f}", "limit": "100"}
    answer = httpx.get(f"{stack.service.facts()['loki']}/loki/api/v1/query_range", params=window, timeout=20)
    assert answer.status_code == 200, answer.text
    return [line for stream in answer.json()["data"]["result"] for _, line in stream["values"]]


def test_a_request_is_found_in_the_logs_by_its_id(
    stack: up.Stack, web: httpx.Client, link: str, report: Callable[..., None]
) -> None:
    identity = secrets.token_hex(16)
    assert web.get(link, headers={"X-Request-ID": identity}).status_code == 307
    query = f'{{namespace="links", app="links"}} | json | http_request_id="{identity}"'
    started = time.monotonic()
    wait_for("the line in Loki", lambda: len(lines(stack, query)) == 1, seconds=60)
    assert f'"url.path":"{link}"' in lines(stack, query)[0]
    report("a request in the logs, by its id", seconds=time.monotonic() - started)


def test_a_request_is_found_as_a_trace(
    stack: up.Stack, web: httpx.Client, link: str, report: Callable[..., None]
) -> None:
    """With the spans of the service, in the trace that the caller began."""
    trace = secrets.token_hex(16)
    parent = f"00-{trace}-{secrets.token_hex(8)}-01"
    assert web.get(f"/api/v1/links{link}", headers={"traceparent": parent}).status_code == 401
    assert web.get("/unknown-as-yet", headers={"traceparent": parent}).status_code == 404

    def spans() -> list[str]:
        answer = httpx.get(f"{stack.service.facts()['jaeger']}/api/traces/{trace}", timeout=10)
        if answer.status_code == 404:
            return []
        found: list[dict[str, Any]] = answer.json()["data"]
        return [span["operationName"] for each in found for span in each["spans"]]

    started = time.monotonic()
    wait_for("the trace in Jaeger", lambda: "GET /{slug}" in spans(), seconds=60)
    assert len(spans()) >= 2
    report("a request as a trace, by its id", seconds=time.monotonic() - started)


def test_a_collector_of_logs_runs_on_every_node(core: client.CoreV1Api, apps: client.AppsV1Api) -> None:
    (collector,) = apps.list_namespaced_daemon_set("log-collector").items
    assert collector.status.number_ready == len(core.list_node().items)


def test_kubelets_and_the_ingress_are_scraped(stack: up.Stack, core: client.CoreV1Api) -> None:
    nodes = len(core.list_node().items)
    wait_for("the kubelets", lambda: value(stack, 'count(up{job="kubelet"} == 1)') == 3 * nodes, seconds=90)
    for query in (
        'up{job="traefik"}',
        'container_cpu_usage_seconds_total{namespace="links",container!=""}',
        'prober_probe_total{namespace="links"}',
        "traefik_tls_certs_not_after",
    ):
        assert value(stack, f"count({query})") > 0, query
