"""What is done to PostgreSQL, Valkey and the control plane: each begins with its block and is mended when it ends."""

import json
import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from kubernetes import client

from k8s import up
from tests.e2e import database
from tests.e2e.cluster import wait_for
from tests.e2e.pods import in_network
from toolkit.process import CommandFailed, output, run

LOG = "e2e-harm"
DATA = "data"
# The service's own sessions: what else asks the database has other names.
SESSIONS = "pg_stat_activity WHERE application_name = 'shipshape'"
END_ALL = f"SELECT pg_terminate_backend(pid) FROM {SESSIONS}"  # noqa: S608
DETOUR = "detour"
ARGUMENTS = ".spec.template.spec.containers[0].args"
STATIC_PODS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
MANIFESTS = "/etc/kubernetes/manifests"
ASIDE = "/etc/kubernetes/aside"

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


def data(stack: up.Stack) -> list[str]:
    """kubectl, where PostgreSQL and Valkey are."""
    return [*stack.cluster.kubectl, "--namespace", DATA]


def valkey(stack: up.Stack, *command: str) -> str:
    """What Valkey answers to a command."""
    password = stack.platform.secret(DATA, "valkey", "password")
    ask = ["exec", "deployment/valkey", "--", "env", f"REDISCLI_AUTH={password}", "valkey-cli", *command]
    return output([*data(stack), *ask]).strip()


def restart(stack: up.Stack, workload: str) -> None:
    """Another pod in place of the one there is; returns when it is ready."""
    run([*data(stack), "rollout", "restart", workload], log=LOG)
    run([*data(stack), "rollout", "status", workload, "--timeout=120s"], log=LOG)


@contextmanager
def locked(stack: up.Stack, table: str) -> Iterator[None]:
    """Somebody holds a table for themselves: nobody else reads it or writes to it."""
    held = f"BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(600)"
    with _session(stack, held, "pg_sleep(600)"):
        yield


@contextmanager
def few_connections(stack: up.Stack, most: int) -> Iterator[None]:
    """PostgreSQL takes no more than so many, and was started anew for it."""
    arguments = json.loads(
        output([*data(stack), "get", "statefulset/postgresql", f"--output=jsonpath={{{ARGUMENTS}}}"])
    )

    def start(given: list[str]) -> None:
        path = "/spec/template/spec/containers/0/args"
        patch = json.dumps([{"op": "replace", "path": path, "value": given}])
        run([*data(stack), "patch", "statefulset/postgresql", "--type=json", "--patch", patch], log=LOG)
        run([*data(stack), "rollout", "status", "statefulset/postgresql", "--timeout=120s"], log=LOG)

    start([f"max_connections={most}" if each.startswith("max_connections=") else each for each in arguments])
    try:
        yield
    finally:
        start(arguments)


@contextmanager
def crowded(stack: up.Stack, seconds: float) -> Iterator[None]:
    """Others have all connections for so long, but those that are kept for superusers: the service is one here."""
    kept = int(database.sql(stack, "SHOW superuser_reserved_connections"))
    clients = int(database.sql(stack, "SHOW max_connections")) - kept
    password = secrets.token_urlsafe(16)
    database.sql(stack, f"DROP ROLE IF EXISTS crowd; CREATE ROLE crowd LOGIN PASSWORD '{password}'")
    psql = "psql --host=127.0.0.1 --username=crowd --dbname=links --quiet"
    one = f"(until {psql} --command='SELECT pg_sleep({seconds})'; do sleep 0.2; done) &"
    inside = [*data(stack), "exec", "statefulset/postgresql", "--", "env", f"PGPASSWORD={password}", "sh", "-c"]
    holder = subprocess.Popen(
        [*inside, f"for each in $(seq {clients}); do {one} done; wait"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def nobody_else() -> bool:
        with suppress(CommandFailed):  # nobody else gets in, not even to end the others
            database.sql(stack, END_ALL)
        try:
            output([*inside, f"exec {psql} --command='SELECT 1'"])
        except CommandFailed as failure:
            return "connection slots" in str(failure) or "too many clients" in str(failure)
        return False

    wait_for("all connections in use", nobody_else, seconds=20, every=0.2)
    yield
    holder.wait(seconds + 60)
    database.sql(stack, "DROP ROLE crowd")


@contextmanager
def detour(stack: up.Stack, name: str, port: int, delay: float, reconnect: Callable[[], object]) -> Iterator[None]:
    """What is sent to a Service of the namespace and what it answers comes `delay` seconds later, on new connections:
    `reconnect` ends those there are, in both directions."""
    core = client.CoreV1Api()
    (server,) = core.list_namespaced_pod(DATA, label_selector=f"app.kubernetes.io/name={name}").items
    labels = {"app.kubernetes.io/name": DETOUR}
    environment = {"TO": server.status.pod_ip, "PORT": str(port), "DELAY": str(delay)}
    container = {
        "name": DETOUR,
        "image": f"{stack.image.repository}@{stack.image.digest}",
        "command": ["python3", "-c", PROXY],
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": DETOUR, "namespace": DATA, "labels": labels},
        "spec": {"containers": [container], "securityContext": security, "automountServiceAccountToken": False},
    }
    stack.cluster.apply(json.dumps(pod), LOG)
    try:
        run([*data(stack), "wait", f"pod/{DETOUR}", "--for=condition=Ready", "--timeout=60s"], log=LOG)
        lead(stack, name, DETOUR)
        reconnect()
        yield
    finally:
        lead(stack, name, name)
        reconnect()
        run([*data(stack), "delete", "pod", DETOUR, "--grace-period=1"], log=LOG)


def lead(stack: up.Stack, service: str, pods: str) -> None:
    """Have a Service lead to the pods of that name."""
    patch = json.dumps({"spec": {"selector": {"app.kubernetes.io/name": pods}}})
    run([*data(stack), "patch", "service", service, "--type=merge", "--patch", patch], log=LOG)


@contextmanager
def loss(pod: client.V1Pod, share: float) -> Iterator[None]:
    """That share of the packets that a pod is sent and sends is dropped."""

    def rules(action: str) -> None:
        for chain in ("INPUT", "OUTPUT"):
            in_network(pod, f"iptables --{action} {chain} -m statistic --mode random --probability {share} -j DROP")

    rules("insert")
    try:
        yield
    finally:
        rules("delete")


@contextmanager
def no_control_plane(stack: up.Stack) -> Iterator[None]:
    """API server, controllers and scheduler are gone; etcd, nodes and pods are as they were."""
    names = " ".join(f"{name}.yaml" for name in STATIC_PODS)

    def move(source: str, target: str) -> None:
        script = f"mkdir -p {target} && cd {source} && mv {names} {target}"
        run(["docker", "exec", stack.cluster.control_plane, "sh", "-c", script], log=LOG)

    def answers() -> bool:
        try:
            output([*stack.cluster.kubectl, "--request-timeout=2s", "get", "--raw", "/readyz"])
        except CommandFailed:
            return False
        return True

    move(MANIFESTS, ASIDE)
    try:
        wait_for("no API server", lambda: not answers(), seconds=60)
        yield
    finally:
        move(ASIDE, MANIFESTS)
        wait_for("the API server", answers, seconds=120)
        run([*stack.cluster.kubectl, "wait", "nodes", "--all", "--for=condition=Ready", "--timeout=120s"], log=LOG)


@contextmanager
def _session(stack: up.Stack, statements: str, mark: str) -> Iterator[None]:
    """Somebody's session on the service's database, which is at its last statement when the block begins."""
    psql = ["exec", "statefulset/postgresql", "--", "psql", "--username=links", "--command", statements]
    holder = subprocess.Popen([*data(stack), *psql], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    of_it = f"FROM pg_stat_activity WHERE query LIKE '%{mark}' AND pid <> pg_backend_pid()"
    try:
        wait_for("the lock", lambda: database.sql(stack, f"SELECT count(*) {of_it}").strip() == "1", seconds=20)
        yield
    finally:
        database.sql(stack, f"SELECT pg_terminate_backend(pid) {of_it}")
        holder.wait(30)
