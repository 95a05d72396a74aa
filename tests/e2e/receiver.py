"""Where the alerts of a test go: a webhook in the cluster (webhook.py), which keeps what Alertmanager posts to it.

Alertmanager reaches it at URL; the tests ask it through the API server, so that it needs no port of the host.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubernetes import client

from k8s import up
from offline.image_build import Built
from tests.e2e.cluster import wait_for
from toolkit.process import run

NAME, NAMESPACE, PORT = "alert-receiver", "monitoring", 8080
URL = f"http://{NAME}.{NAMESPACE}.svc:{PORT}/"
PROGRAM = Path(__file__).parent / "webhook.py"
LABELS = {"app.kubernetes.io/name": NAME}
LOG = "e2e-receiver"


@dataclass(frozen=True)
class Alert:
    """One alert of one notification. `received` is in seconds since 1970."""

    name: str
    status: str
    """firing or resolved."""
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: str
    received: float


@contextmanager
def installed(stack: up.Stack) -> Iterator[None]:
    """The receiver, ready and empty, while the block runs."""
    install(stack)
    try:
        yield
    finally:
        remove(stack)


def install(stack: up.Stack) -> None:
    """From the service's own image, which has Python."""
    for manifest in manifests(stack.image):
        stack.cluster.apply(json.dumps(manifest), LOG)
    rollout = ["-n", NAMESPACE, "rollout", "status", f"deployment/{NAME}", "--timeout=90s"]
    run([*stack.cluster.kubectl, *rollout], log=LOG)
    wait_for("the receiver of alerts to answer", lambda: clear() == [])


def remove(stack: up.Stack) -> None:
    """Also if it is not there."""
    kinds = ",".join(sorted({manifest["kind"].lower() for manifest in manifests(stack.image)}))
    run([*stack.cluster.kubectl, "-n", NAMESPACE, "delete", kinds, NAME, "--ignore-not-found"], log=LOG)


def notifications() -> Any:
    """All that were received, the oldest first: `received`, and `notification` as Alertmanager posts it."""
    return _ask(client.CoreV1Api().connect_get_namespaced_service_proxy)


def clear() -> Any:
    """Forget them; None while the receiver cannot be reached."""
    try:
        return _ask(client.CoreV1Api().connect_delete_namespaced_service_proxy)
    except client.ApiException:
        return None


def alerts(received: Any = None) -> list[Alert]:
    """Of all notifications, the oldest first; one that fires on is there with each notification of its group."""
    return [
        Alert(
            name=alert["labels"]["alertname"],
            status=alert["status"],
            labels=alert["labels"],
            annotations=alert["annotations"],
            starts_at=alert["startsAt"],
            received=each["received"],
        )
        for each in (notifications() if received is None else received)
        for alert in each["notification"]["alerts"]
    ]


def _ask(call: Any) -> Any:
    # Without the client's own decoding, which makes a string of Python's out of any JSON.
    return json.loads(call(f"{NAME}:{PORT}", NAMESPACE, _preload_content=False, _request_timeout=10).data)


def manifests(image: Built) -> list[dict[str, Any]]:
    metadata = {"name": NAME, "namespace": NAMESPACE, "labels": LABELS}
    container = {
        "name": "receiver",
        "image": f"{image.repository}@{image.digest}",
        "command": ["python3", "/program/webhook.py", "0.0.0.0", str(PORT)],  # noqa: S104  # in a pod
        "ports": [{"name": "http", "containerPort": PORT}],
        "readinessProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 2},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "program", "mountPath": "/program", "readOnly": True}],
    }
    pod = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 5,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "program", "configMap": {"name": NAME}}],
    }
    deployment = {
        "replicas": 1,
        "strategy": {"type": "Recreate"},  # two would share the alerts between them
        "selector": {"matchLabels": LABELS},
        "template": {"metadata": {"labels": LABELS}, "spec": pod},
    }
    service = {"selector": LABELS, "ports": [{"name": "http", "port": PORT, "targetPort": "http"}]}
    program = {PROGRAM.name: PROGRAM.read_text()}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": program},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": deployment},
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service},
    ]
