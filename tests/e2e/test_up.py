"""Bringing up again changes nothing; what is there is left alone."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from kubernetes import client

from k8s import up
from k8s.__main__ import REGISTRY_PORT
from k8s.service import NAMESPACE
from tests.e2e.cluster import wait_for
from tests.e2e.pods import FEWEST, deployment_is_settled
from toolkit.progress import Progress

IDLE_CORES = 1.0


def generations() -> dict[str, Any]:
    """What every workload of the cluster was last changed to, and every pod, by name."""
    apps, core = client.AppsV1Api(), client.CoreV1Api()
    found: dict[str, Any] = {}
    for listing in (
        apps.list_deployment_for_all_namespaces,
        apps.list_stateful_set_for_all_namespaces,
        apps.list_daemon_set_for_all_namespaces,
    ):
        found |= {f"{w.metadata.namespace}/{w.metadata.name}": w.metadata.generation for w in listing().items}
    pods = core.list_pod_for_all_namespaces().items
    jobs = {p.metadata.name for p in pods if any(o.kind == "Job" for o in p.metadata.owner_references or [])}
    found |= {p.metadata.name: p.metadata.uid for p in pods if p.metadata.name not in jobs}
    return found


def ready(apps: client.AppsV1Api) -> int:
    return apps.read_namespaced_deployment("links", NAMESPACE).status.ready_replicas or 0


@pytest.mark.timeout(300)
def test_second_run_replaces_nothing(
    stack: up.Stack, apps: client.AppsV1Api, core: client.CoreV1Api, report: Callable[..., None]
) -> None:
    # A release begins with one pod, and the autoscaler makes three of it.
    at_rest = partial(deployment_is_settled, apps, core)
    wait_for("the first pods", lambda: at_rest() and ready(apps) == FEWEST, seconds=120)
    before, started = generations(), time.monotonic()
    with up.alone(), Progress() as progress:
        up.up(
            stack.cluster.name,
            stack.cluster.ports,
            REGISTRY_PORT,
            progress,
            kubeconfig=stack.cluster.kubeconfig,
        )
        built = [name for name, _ in progress.finished if name.startswith(("create", "build docker", "fetch"))]
    assert built == []
    assert generations() == before
    report("bringing up again changes nothing", seconds=time.monotonic() - started)


def test_idle_cluster_leaves_more_than_a_core(stack: up.Stack, report: Callable[..., None]) -> None:
    metrics = client.CustomObjectsApi().list_cluster_custom_object("metrics.k8s.io", "v1beta1", "nodes")
    used = {n["metadata"]["name"]: cores(n["usage"]["cpu"]) for n in metrics["items"]}
    assert set(used) == set(stack.cluster.nodes)
    report("idle, everything together", note=f"{sum(used.values()) * 1000:.0f} millicores")
    assert sum(used.values()) < IDLE_CORES


def cores(quantity: str) -> float:
    """A quantity of CPU as Kubernetes writes it (156781234n, 157m, 1), in cores."""
    scale = {"n": 1e-9, "u": 1e-6, "m": 1e-3}.get(quantity[-1])
    return float(quantity[:-1]) * scale if scale else float(quantity)
