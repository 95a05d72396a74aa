"""What the tests put beside PostgreSQL and Valkey: a proxy that is late, a pooler, a crowd, an issuer of tokens."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from kubernetes import client

from k8s import up
from tests.e2e.pods import in_network
from toolkit.process import output, run

LOG = "e2e-harm"
DATA = "data"
FILES = "/run/files"
TMP = "/tmp"  # noqa: S108 - a pod's own
POOLER = "docker.io/edoburu/pgbouncer:v1.24.1-p1"
PROGRAMS = Path(__file__).with_name("placed")


def data(stack: up.Stack) -> list[str]:
    """kubectl, where PostgreSQL and Valkey are."""
    return [*stack.cluster.kubectl, "--namespace", DATA]


def lead(stack: up.Stack, service: str, pods: str) -> None:
    """Have a Service lead to the pods of that name."""
    patch = json.dumps({"spec": {"selector": {"app.kubernetes.io/name": pods}}})
    run([*data(stack), "patch", "service", service, "--type=merge", "--patch", patch], log=LOG)


@contextmanager
def proxy(stack: up.Stack, host: str, port: int, delay: float) -> Iterator[str]:
    """A proxy through which all takes `delay` seconds longer, each way; the name of its Service."""
    python = _python(stack, "proxy", {"TO": host, "PORT": str(port), "DELAY": str(delay)})
    with _placed(stack, "detour", port, python):
        yield "detour"


@contextmanager
def crowd(stack: up.Stack, most: int, end_others: str) -> Iterator[None]:
    """Somebody has all of the database's connections, of which there are `most`, those for superusers as well."""
    environment = {"URL": _database_url(stack, "postgresql"), "MOST": str(most), "END_OTHERS": end_others}
    with _placed(stack, "crowd", 8080, _python(stack, "crowd", environment)):
        yield


@dataclass(frozen=True)
class Pooler:
    url: str
    """Of the service's database, through it."""
    address: str
    """From which the database is asked."""


@contextmanager
def pooler(stack: up.Stack) -> Iterator[Pooler]:
    """PgBouncer in transaction mode, and otherwise as it is by default."""
    password = stack.platform.secret(DATA, "postgresql", "password")
    core = client.CoreV1Api()
    (server,) = core.list_namespaced_pod(DATA, label_selector="app.kubernetes.io/name=postgresql").items
    settings = f"""
[databases]
* = host={server.status.pod_ip}
[pgbouncer]
listen_addr = 0.0.0.0
listen_port = 5432
auth_file = {FILES}/users
auth_type = scram-sha-256
pool_mode = transaction
"""
    files = {"pgbouncer.ini": settings, "users": f'"links" "{password}"\n'}
    with _placed(stack, "pooler", 5432, {"image": POOLER, "command": ["pgbouncer", f"{FILES}/pgbouncer.ini"]}, files):
        address = core.read_namespaced_pod("pooler", DATA).status.pod_ip
        yield Pooler(_database_url(stack, "pooler"), address)


class Issuer:
    """Publishes a key set on port 8080, under whatever path; other keys and how late it answers can be set."""

    NAME = "issuer"
    URL = f"http://{NAME}.{DATA}.svc:8080/jwks.json"

    def __init__(self, stack: up.Stack) -> None:
        self.stack = stack

    def publish(self, keys: str) -> None:
        self._put("keys", keys)

    def late(self, seconds: float) -> None:
        self._put("delay", str(seconds))

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Its address is there, and nothing that is sent there is answered."""
        pod = client.CoreV1Api().read_namespaced_pod(self.NAME, DATA)
        rule = "INPUT --protocol tcp --dport 8080 --jump DROP"
        in_network(pod, f"iptables --insert {rule}")
        try:
            yield
        finally:
            in_network(pod, f"iptables --delete {rule}")

    @contextmanager
    def gone(self) -> Iterator[None]:
        """Its name leads to nobody: connections are refused."""
        lead(self.stack, self.NAME, "nobody")
        try:
            yield
        finally:
            lead(self.stack, self.NAME, self.NAME)

    def _put(self, name: str, text: str) -> None:
        write = f"import sys, pathlib; pathlib.Path('{TMP}/{name}').write_text(sys.stdin.read())"
        output([*data(self.stack), "exec", "--stdin", self.NAME, "--", "python3", "-c", write], stdin=text)


@contextmanager
def issuer(stack: up.Stack, keys: str) -> Iterator[Issuer]:
    with _placed(stack, Issuer.NAME, 8080, _python(stack, "issuer"), {"keys": keys}):
        yield Issuer(stack)


def _database_url(stack: up.Stack, server: str) -> str:
    password = stack.platform.secret(DATA, "postgresql", "password")
    return f"postgresql://links:{password}@{server}.{DATA}.svc:5432/links"


def _python(stack: up.Stack, program: str, environment: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    """A container that runs one of PROGRAMS, in the service's own image."""
    script = (PROGRAMS / f"{program}.py").read_text(encoding="utf-8")
    image = f"{stack.image.repository}@{stack.image.digest}"
    variables = [{"name": name, "value": value} for name, value in environment.items()]
    return {"image": image, "command": ["python3", "-c", script], "env": variables}


@contextmanager
def _placed(
    stack: up.Stack, name: str, port: int, container: Mapping[str, Any], files: Mapping[str, str] | None = None
) -> Iterator[None]:
    """A pod that is ready, a Service that leads to it, and its files under FILES; all are removed in the end."""
    labels = {"app.kubernetes.io/name": name}
    metadata = {"name": name, "namespace": DATA, "labels": labels}
    container = {
        **container,
        "name": name,
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "files", "mountPath": FILES}, {"name": "tmp", "mountPath": TMP}],
    }
    spec = {
        "containers": [container],
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "automountServiceAccountToken": False,
        "volumes": [{"name": "files", "secret": {"secretName": name}}, {"name": "tmp", "emptyDir": {}}],
    }
    manifests = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": dict(files or {})},
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"port": port}]},
        },
    ]
    stack.cluster.apply("\n---\n".join(map(json.dumps, manifests)), LOG)
    try:
        run([*data(stack), "wait", f"pod/{name}", "--for=condition=Ready", "--timeout=60s"], log=LOG)
        yield
    finally:
        run([*data(stack), "delete", f"secret/{name}", f"service/{name}", f"pod/{name}", "--grace-period=1"], log=LOG)
