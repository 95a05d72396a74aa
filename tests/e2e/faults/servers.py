"""What the tests put beside PostgreSQL and Valkey: a proxy that is late, a pooler, a crowd, an issuer of tokens."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
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

# Sends on what comes, after a while. One connection of the client is one to the server.
PROXY = """
import asyncio, os

HOST, PORT, DELAY = os.environ["TO"], int(os.environ["PORT"]), float(os.environ["DELAY"])

async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            await asyncio.sleep(DELAY)
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()

async def serve(reader, writer):
    try:
        far_reader, far_writer = await asyncio.open_connection(HOST, PORT)
    except OSError:
        return writer.close()
    await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))

async def main():
    async with await asyncio.start_server(serve, "0.0.0.0", PORT) as server:
        await server.serve_forever()

asyncio.run(main())
"""

# Answers each GET with what is in a file, after a while that is in another.
ISSUER = """
import http.server, pathlib, time

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(float(pathlib.Path("/tmp/delay").read_text()))
        body = pathlib.Path("/tmp/keys").read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "application/jwk-set+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

pathlib.Path("/tmp/delay").write_text("0")
pathlib.Path("/tmp/keys").write_text(pathlib.Path("FILES/keys").read_text())
http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
""".replace("FILES", FILES)

# Takes all connections that the database has, also of those who have them, and listens when it has them.
CROWD = """
import asyncio, asyncpg, os

URL, MOST, END_OTHERS = os.environ["URL"], int(os.environ["MOST"]), os.environ["END_OTHERS"]

async def connect():
    while True:
        try:
            return await asyncpg.connect(URL, timeout=5)
        except (OSError, asyncpg.PostgresError):
            await asyncio.sleep(0.1)

async def main():
    first = await connect()
    others = asyncio.gather(*(connect() for _ in range(MOST - 1)))
    while not others.done():
        await first.execute(END_OTHERS)
        await asyncio.sleep(0.1)
    async with await asyncio.start_server(lambda *_: None, "0.0.0.0", 8080) as server:
        await server.serve_forever()

asyncio.run(main())
"""


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
    python = _python(stack, PROXY, {"TO": host, "PORT": str(port), "DELAY": str(delay)})
    with _placed(stack, "detour", port, python):
        yield "detour"


@contextmanager
def crowd(stack: up.Stack, most: int, end_others: str) -> Iterator[None]:
    """Somebody has all of the database's connections, of which there are `most`, those for superusers as well."""
    environment = {"URL": _database_url(stack, "postgresql"), "MOST": str(most), "END_OTHERS": end_others}
    with _placed(stack, "crowd", 8080, _python(stack, CROWD, environment)):
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
        write = f"import sys, pathlib; pathlib.Path('/tmp/{name}').write_text(sys.stdin.read())"
        output([*data(self.stack), "exec", "--stdin", self.NAME, "--", "python3", "-c", write], stdin=text)


@contextmanager
def issuer(stack: up.Stack, keys: str) -> Iterator[Issuer]:
    with _placed(stack, Issuer.NAME, 8080, _python(stack, ISSUER), {"keys": keys}):
        yield Issuer(stack)


def _database_url(stack: up.Stack, server: str) -> str:
    password = stack.platform.secret(DATA, "postgresql", "password")
    return f"postgresql://links:{password}@{server}.{DATA}.svc:5432/links"


def _python(stack: up.Stack, script: str, environment: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    """A container that runs it, in the service's own image."""
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
