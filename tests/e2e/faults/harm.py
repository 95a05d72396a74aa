"""What is done to PostgreSQL, Valkey and the control plane: each begins with its block and is mended when it ends."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kubernetes import client

from k8s import up
from tests.e2e import database
from tests.e2e.cluster import wait_for
from tests.e2e.faults import servers
from tests.e2e.faults.servers import DATA, LOG, data, lead
from tests.e2e.pods import in_network
from toolkit.process import CommandFailed, output, run

# The service's own sessions: what else asks the database has other names.
SESSIONS = "pg_stat_activity WHERE application_name = 'shipshape'"
END_ALL = f"SELECT pg_terminate_backend(pid) FROM {SESSIONS}"  # noqa: S608
ARGUMENTS = ".spec.template.spec.containers[0].args"
STATIC_PODS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
MANIFESTS = "/etc/kubernetes/manifests"
ASIDE = "/etc/kubernetes/aside"


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
def detour(stack: up.Stack, name: str, port: int, delay: float, reconnect: Callable[[], object]) -> Iterator[None]:
    """What is sent to a Service of the namespace and what it answers comes `delay` seconds later, on new connections:
    `reconnect` ends those there are, in both directions."""
    core = client.CoreV1Api()
    (server,) = core.list_namespaced_pod(DATA, label_selector=f"app.kubernetes.io/name={name}").items
    with servers.proxy(stack, server.status.pod_ip, port, delay) as proxy:
        try:
            lead(stack, name, proxy)
            reconnect()
            yield
        finally:
            lead(stack, name, name)
            reconnect()


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
