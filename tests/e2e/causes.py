"""What goes wrong on a cluster, for real: each begins when its block does and is mended when it ends."""

import base64
import datetime as dt
import json
import ssl
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import trustme
import yaml
from kubernetes import client

from charts.alerts import alerts
from k8s import up
from k8s.service import NAMESPACE, RELEASE
from offline.image_build import Built
from tests.e2e.cluster import wait_for
from tests.e2e.load import Load
from tests.e2e.pods import PODS, in_network
from tests.e2e.subject import SUBJECT
from tests.e2e.web import Loopback
from toolkit.paths import CHART
from toolkit.process import CommandFailed, output, run

LOG = "e2e-causes"
END_HOLDERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE query LIKE '%pg_sleep(60)' AND pid <> pg_backend_pid()"
)
VALUES = Path(__file__).with_name("alerts-values.yaml")
BACKGROUND = Path(__file__).with_name("background")


def prompt_values() -> str:
    """alerts-values.yaml, with every alert that it does not name on, and told after seconds."""
    found = yaml.safe_load(VALUES.read_text(encoding="utf-8"))
    named = found["prometheusRule"]["alerts"]
    found["prometheusRule"]["alerts"] = {
        alert.name: {"enabled": True, **({"for": "5s"} if "for" in alert.values else {}), **named.get(alert.name, {})}
        for alert in alerts(CHART)
    }
    return yaml.safe_dump(found)


@dataclass
class World:
    """The service's release with the values of alerts-values.yaml, and the means to harm it."""

    stack: up.Stack
    broken: Built
    page: str
    token: str

    @property
    def kubectl(self) -> list[str]:
        return [*self.stack.cluster.kubectl, "--namespace", NAMESPACE]

    def do(self, *arguments: str, stdin: str | None = None) -> None:
        run([*self.kubectl, *arguments], log=LOG, stdin=stdin)

    def pods(self) -> list[client.V1Pod]:
        """Those that are ready."""
        found = client.CoreV1Api().list_namespaced_pod(NAMESPACE, label_selector=PODS).items
        return [p for p in found if all(s.ready for s in p.status.container_statuses or []) and not _leaving(p)]

    def upgrade(self, *options: str, image: Built | None = None) -> None:
        """Back to the values of alerts-values.yaml, but for these options."""
        command = self.stack.service.upgrade_command(image or self.stack.image, "--values=-", *options)
        run(command, log=LOG, stdin=prompt_values())

    def settle(self) -> None:
        self.do("rollout", "status", f"deployment/{RELEASE}", "--timeout=120s")

    @contextmanager
    def visited(self) -> Iterator[None]:
        """Fifty visits a second; what becomes of them is not the question."""
        with Load(self.stack.service.url + self.page, self.stack.service.authority.certificate, rate=50):
            yield

    @contextmanager
    def values(self, *options: str) -> Iterator[None]:
        """The release with other values."""
        self.upgrade(*options)
        try:
            yield
        finally:
            self.upgrade()

    def fault(self, pod: client.V1Pod, fault: dict[str, float]) -> None:
        """Have a pod do wrong on demand, as the management port offers it (kit/keel/http/faults.py)."""
        self.do("replace", "--raw", _faults(pod), "--filename=-", stdin=json.dumps(fault))


def _leaving(pod: client.V1Pod) -> bool:
    return pod.metadata.deletion_timestamp is not None


def _faults(pod: client.V1Pod) -> str:
    return f"/api/v1/namespaces/{NAMESPACE}/pods/{pod.metadata.name}:9000/proxy/faults"


@contextmanager
def faults(world: World, *each: dict[str, float]) -> Iterator[None]:
    """Visitors meet these faults: of the first pod, of the second and so on; the last holds for all that are left."""
    pods = world.pods()
    with world.visited():
        for number, pod in enumerate(pods):
            world.fault(pod, each[min(number, len(each) - 1)])
        try:
            yield
        finally:
            for pod in pods:
                world.do("delete", "--raw", _faults(pod))


@contextmanager
def certificate(world: World, host: str, days: float) -> Iterator[list[str]]:
    """A certificate that ends in so many days, below zero for one that has ended. Gives the values that serve it."""
    now = dt.datetime.now(dt.UTC)
    begin, end = now - dt.timedelta(days=90), now + dt.timedelta(days=days)
    made = trustme.CA().issue_cert(host, common_name=host, not_before=begin, not_after=end)
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": host, "namespace": NAMESPACE},
        "stringData": {
            "tls.crt": made.cert_chain_pems[0].bytes().decode(),
            "tls.key": made.private_key_pem.bytes().decode(),
        },
    }
    world.stack.cluster.apply(json.dumps(secret), LOG)
    try:
        yield [
            f"--set=ingress.hosts[1].host={host}",
            f"--set=ingress.tls[1].secretName={host},ingress.tls[1].hosts[0]={host}",
        ]
    finally:
        world.do("delete", "secret", host)


@contextmanager
def stopped(stack: up.Stack, namespace: str, workload: str) -> Iterator[None]:
    """A server that is not there."""
    kubectl = [*stack.cluster.kubectl, "--namespace", namespace]
    replicas = output([*kubectl, "get", workload, "--output=jsonpath={.spec.replicas}"])
    run([*kubectl, "scale", workload, "--replicas=0"], log=LOG)
    try:
        yield
    finally:
        run([*kubectl, "scale", workload, f"--replicas={replicas}"], log=LOG)
        run([*kubectl, "rollout", "status", workload, "--timeout=120s"], log=LOG)


@contextmanager
def cut_off(pod: client.V1Pod, port: int) -> Iterator[None]:
    """Whatever a pod sends to a port is dropped, in the pod's own network, also on connections that are open."""

    def rule(action: str) -> None:
        in_network(pod, f"iptables --{action} OUTPUT -p tcp --dport {port} -j DROP")

    rule("insert")
    try:
        yield
    finally:
        rule("delete")


@contextmanager
def key_set(stack: up.Stack, text: str | None) -> Iterator[None]:
    """Another key set in the Secret that the pods mount, or none; seen by all pods when the block begins."""
    kubectl = [*stack.cluster.kubectl, "--namespace", NAMESPACE]
    before = output([*kubectl, "get", "secret", "links-secrets", "--output=jsonpath={.data['jwks\\.json']}"])

    def put(encoded: str | None) -> None:
        patch = json.dumps({"data": {"jwks.json": encoded}})
        run([*kubectl, "patch", "secret", "links-secrets", "--type=merge", "--patch", patch], log=LOG)
        # A kubelet brings what a pod mounts up to date at once when the pod changes, and else once a minute.
        looked = f"shipshape.test/looked={time.time()}"
        run([*kubectl, "annotate", "pods", "--selector", PODS, "--overwrite", looked], log=LOG)
        wanted = base64.b64decode(encoded).decode() if encoded else ""
        wait_for("the key set in every pod", lambda: _mounted(kubectl, "jwks.json") == {wanted}, every=0.2)

    put(None if text is None else base64.b64encode(text.encode()).decode())
    try:
        yield
    finally:
        put(before)


def _mounted(kubectl: list[str], name: str) -> set[str]:
    """What the pods' nodes have mounted for them under this name; empty where there is nothing."""
    found = json.loads(output([*kubectl, "get", "pods", "--selector", PODS, "--output=json"]))["items"]
    contents = set()
    for pod in found:
        file = f"/var/lib/kubelet/pods/{pod['metadata']['uid']}/volumes/*/*/{name}"
        look = ["docker", "exec", pod["spec"]["nodeName"], "sh", "-c", f"cat {file} 2>/dev/null || true"]
        contents.add(output(look))
    return contents


class Failover:
    """A second database server beside the first, and a name that leads to one of them."""

    NAME = "postgresql-next"
    COPY = """
        export PGPASSWORD=$(cat /run/secrets/postgresql/password)
        pg_dump --host=postgresql.data.svc --username=links --no-owner --file=/tmp/links.sql links
        psql --quiet --set=ON_ERROR_STOP=1 --host=/var/run/postgresql --username=links --file=/tmp/links.sql links
    """

    def __init__(self, stack: up.Stack, room: str = "") -> None:
        """`room` is the size of the second's disk, which then is in memory, such as 300Mi."""
        self.stack = stack
        self.kubectl = [*stack.cluster.kubectl, "--namespace", "data"]
        self.disk = {"medium": "Memory", "sizeLimit": room} if room else {}

    def start(self) -> None:
        """Start the second, empty."""
        first = json.loads(output([*self.kubectl, "get", "statefulset", "postgresql", "--output=json"]))
        spec = first["spec"]["template"]["spec"]
        spec["volumes"].append({"name": "data", "emptyDir": self.disk})
        metadata = {"name": self.NAME, "labels": {"app.kubernetes.io/name": self.NAME}}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, "namespace": "data"}, "spec": spec}
        self.stack.cluster.apply(json.dumps(pod), LOG)
        run([*self.kubectl, "wait", f"pod/{self.NAME}", "--for=condition=Ready", "--timeout=60s"], log=LOG)

    def demote(self) -> None:
        """Have the first take no more writes; its connections stay open."""
        self.sql("statefulset/postgresql", "ALTER SYSTEM SET default_transaction_read_only = on")
        self.sql("statefulset/postgresql", "SELECT pg_reload_conf()")

    def promote(self) -> None:
        """Give the second all data, and the name."""
        run([*self.kubectl, "exec", self.NAME, "--", "sh", "-euc", self.COPY], log=LOG)
        self._lead_to(self.NAME)

    @contextmanager
    def no_space(self) -> Iterator[None]:
        """Something else has filled the second's disk."""
        filling = "/var/lib/postgresql/data/filling"
        inside = [*self.kubectl, "exec", self.NAME, "--", "sh", "-c"]
        output([*inside, f"dd if=/dev/zero of={filling} bs=1M 2>/dev/null || true"])
        try:
            yield
        finally:
            output([*inside, f"rm {filling}"])

    def end(self) -> None:
        """As before. What was written to the second is gone."""
        self.sql("statefulset/postgresql", "ALTER SYSTEM RESET default_transaction_read_only")
        self.sql("statefulset/postgresql", "SELECT pg_reload_conf()")
        self._lead_to("postgresql")
        run([*self.kubectl, "delete", "pod", self.NAME, "--ignore-not-found", "--grace-period=10"], log=LOG)

    def sql(self, server: str, statement: str) -> str:
        psql = ["psql", "--host=/var/run/postgresql", "--username=links", "--no-align", "--tuples-only"]
        return output([*self.kubectl, "exec", server, "--", *psql, "--command", statement, "links"]).strip()

    def _lead_to(self, name: str) -> None:
        patch = json.dumps({"spec": {"selector": {"app.kubernetes.io/name": name}}})
        run([*self.kubectl, "patch", "service", "postgresql", "--type=merge", "--patch", patch], log=LOG)


@contextmanager
def locked_table(world: World) -> Iterator[None]:
    """Somebody holds the table, and people go on writing to it."""
    held = f"BEGIN; LOCK TABLE {SUBJECT.table} IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(60)"
    psql = ["exec", "statefulset/postgresql", "--", "psql", "--username=links", "--command", held]
    holder = subprocess.Popen(
        [*world.stack.cluster.kubectl, "--namespace", "data", *psql],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def ask(_: int) -> None:
        with suppress(httpx.HTTPError):
            SUBJECT.write(web, world.token)

    trust = ssl.create_default_context(cafile=world.stack.service.authority.certificate)
    try:
        with (
            httpx.Client(transport=Loopback(trust), base_url=world.stack.service.url, timeout=20) as web,
            ThreadPoolExecutor(30) as people,
        ):
            list(people.map(ask, range(120)))
        yield
    finally:
        ended = ["exec", "statefulset/postgresql", "--", "psql", "--username=links", "--command", END_HOLDERS]
        output([*world.stack.cluster.kubectl, "--namespace", "data", *ended])
        holder.wait(30)


@contextmanager
def no_room(world: World, pod: client.V1Pod) -> Iterator[None]:
    """The workers take no more pods, and one pod is gone."""
    workers = [node for node in world.stack.cluster.nodes if node != world.stack.cluster.control_plane]
    try:
        for worker in workers:
            world.do("cordon", worker)
        world.do("delete", "pod", pod.metadata.name, "--wait=false")
        yield
    finally:
        for worker in workers:
            world.do("uncordon", worker)
        world.settle()


@contextmanager
def no_metrics(world: World) -> Iterator[None]:
    """Prometheus asks for metrics where there are none."""
    path = "/spec/endpoints/0/path"
    patch = ["patch", "servicemonitor", RELEASE, "--type=json", "--patch"]
    world.do(*patch, json.dumps([{"op": "replace", "path": path, "value": "/nothing"}]))
    try:
        yield
    finally:
        world.do(*patch, json.dumps([{"op": "replace", "path": path, "value": "/metrics"}]))


@contextmanager
def no_word_of_requests(world: World) -> Iterator[None]:
    """The metrics of requests are dropped on the way to Prometheus, as if the image had none."""
    drop = [{"action": "drop", "sourceLabels": ["__name__"], "regex": "http_request.+"}]
    with world.values(f"--set-json=serviceMonitor.metricRelabelings={json.dumps(drop)}"):
        yield


@contextmanager
def broken_rollout(world: World) -> Iterator[None]:
    """A release that crashes as soon as it is to serve, and that nobody takes back."""
    with suppress(CommandFailed):
        world.upgrade("--set=progressDeadlineSeconds=20", "--timeout=25s", image=world.broken)
    try:
        yield
    finally:
        world.upgrade()
        world.settle()


@contextmanager
def failing_migration(world: World) -> Iterator[None]:
    """A release that never gets as far as its pods."""
    wrong = "config.APP_DATABASE_URL=postgresql://nobody:wrong@postgresql.data.svc:5432/none"
    quick = ["--set=migrations.backoffLimit=0", "--set-string=config.APP_MIGRATE_WAIT_SECONDS=1"]
    with suppress(CommandFailed):
        world.upgrade("--set-string", wrong, *quick)
    try:
        yield
    finally:
        world.upgrade()
        wait_for("all pods", lambda: len(world.pods()) >= 3, seconds=60)


def background_options() -> list[str]:
    """The release with workers and cron jobs, none of which do well."""
    script = f"--set-file=extraObjects[0].data.worker\\.py={BACKGROUND / 'worker.py'}"
    return [f"--values={BACKGROUND / 'values.yaml'}", script]


@contextmanager
def failing_background(world: World) -> Iterator[None]:
    """Nothing that is to happen without a request happens. One worker does not get ready, so Helm must not wait."""
    world.upgrade(*background_options(), "--wait=hookOnly")
    try:
        yield
    finally:
        world.upgrade()
        world.settle()


@contextmanager
def late_tasks(world: World) -> Iterator[None]:
    """After that, tasks are done again, and some of them late."""
    world.upgrade(*background_options(), "--set=workers.busy.args={busy}", "--wait=hookOnly")
    yield
