"""Logs, traces and the nodes' own metrics end where people look for them."""

import json
import secrets
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from kubernetes import client

from k8s import up
from tests.e2e.cluster import wait_for
from tests.e2e.prometheus import value
from tests.e2e.subject import SUBJECT

pytestmark = pytest.mark.timeout(420)


def lines(stack: up.Stack, query: str) -> list[dict[str, str]]:
    """Log lines of the last minutes, by LogsQL (https://docs.victoriametrics.com/victorialogs/logsql/)."""
    window = {"query": query, "start": "now-10m", "limit": "100"}
    answer = httpx.get(f"{stack.service.facts()['victorialogs']}/select/logsql/query", params=window, timeout=20)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.split("\n") if line]


def test_a_request_is_found_in_the_logs_by_its_id_and_by_its_trace(
    stack: up.Stack, web: httpx.Client, page: str, report: Callable[..., None]
) -> None:
    identity, trace = secrets.token_hex(16), secrets.token_hex(16)
    headers = {"X-Request-ID": identity, "traceparent": f"00-{trace}-{secrets.token_hex(8)}-00"}
    assert web.get(page, headers=headers).status_code == SUBJECT.status
    answers = '{kubernetes.pod_namespace="links"} log.logger:="app.access"'
    query = f'{answers} http.request.id:="{identity}"'
    started = time.monotonic()
    wait_for("the line in VictoriaLogs", lambda: len(lines(stack, query)) == 1, seconds=60)
    (line,) = lines(stack, query)
    assert (line["url.path"], line["trace.id"]) == (page, trace)
    assert lines(stack, f'{answers} trace.id:="{trace}"') == [line]
    report("a request in the logs, by its id", seconds=time.monotonic() - started)


def test_lines_of_every_kind_are_kept_with_whose_they_are(stack: up.Stack) -> None:
    """PostgreSQL's are no JSON."""
    postgresql = '{kubernetes.pod_namespace="data", kubernetes.pod_labels.app.kubernetes.io/name="postgresql"}'
    wait_for("PostgreSQL's lines", lambda: bool(lines(stack, postgresql)), seconds=60)
    for line in lines(stack, postgresql):
        assert line["_msg"]
        assert line["kubernetes.pod_name"].startswith("postgresql-")


def test_the_search_page_is_there(stack: up.Stack) -> None:
    page = httpx.get(f"{stack.service.facts()['victorialogs']}/select/vmui/", timeout=20)
    assert page.status_code == 200
    assert "<title>" in page.text


def test_a_request_is_found_as_a_trace(
    stack: up.Stack, web: httpx.Client, page: str, report: Callable[..., None]
) -> None:
    """With the spans of the service, in the trace that the caller began."""
    trace = secrets.token_hex(16)
    parent = f"00-{trace}-{secrets.token_hex(8)}-01"
    assert web.post(SUBJECT.collection, json={}, headers={"traceparent": parent}).status_code == 401
    assert web.get("/unknown-as-yet", headers={"traceparent": parent}).status_code == 404

    def spans() -> list[str]:
        answer = httpx.get(f"{stack.service.facts()['jaeger']}/api/traces/{trace}", timeout=10)
        if answer.status_code == 404:
            return []
        found: list[dict[str, Any]] = answer.json()["data"]
        return [span["operationName"] for each in found for span in each["spans"]]

    started = time.monotonic()
    # Each process sends its spans when it likes: those of one request may be there before the other's.
    wait_for("the refused write in Jaeger", lambda: f"POST {SUBJECT.collection}" in spans(), seconds=60)
    wait_for("both requests in Jaeger", lambda: len([s for s in spans() if s.startswith(("GET ", "POST "))]) == 2)
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
