"""What has ended comes back by `make up`: the same data, at the same public address."""

import json
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address

import httpx
import pytest

from k8s import up
from k8s.__main__ import REGISTRY_PORT
from offline.registry import NETWORK
from tests.e2e.cluster import wait_for
from tests.e2e.subject import SUBJECT
from toolkit.process import output
from toolkit.progress import Progress

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(600)]
# As an engine that loses its way to a published port: its process for the port is killed, its rule deleted.
FORWARD_NO_MORE = """
for pid in $(pgrep -x docker-proxy); do
  tr '\\0' ' ' < /proc/$pid/cmdline | grep -q -e '-host-port {port} ' && kill $pid
done
iptables -t nat -S DOCKER | grep -e '--dport {port} ' | sed 's/^-A/-D/' | while read -r rule; do
  iptables -t nat $rule
done
"""


@pytest.fixture
def placeholders(stack: up.Stack) -> Iterator[Callable[[list[str]], None]]:
    """Starts containers on the nodes' network, which get the lowest addresses that are free, until they have these."""
    started: list[str] = []

    def take(wanted: list[str]) -> None:
        command = ["docker", "run", "--detach", "--rm", "--network", NETWORK, "--entrypoint", "sleep"]
        while not set(wanted) <= set(addresses(started)):
            assert len(started) < 8, f"{wanted} are not given to any of {addresses(started)}"
            started.append(output([*command, stack.cluster.node_image, "900"]).strip())

    yield take
    if started:
        output(["docker", "rm", "--force", *started])


def test_a_port_that_leads_nowhere_and_a_stopped_worker(
    stack: up.Stack, web: httpx.Client, make_page: Callable[[], str], report: Callable[..., None]
) -> None:
    port, worker = stack.cluster.ports["https"], stack.cluster.nodes[1]
    page, before = make_page(), measured(stack)
    on_the_host(stack, FORWARD_NO_MORE.format(port=port))
    output(["docker", "kill", worker])
    with pytest.raises(httpx.TransportError):
        web.get(page, timeout=2)
    assert troubles(stack) == [
        f"Nothing forwards port {port} of 127.0.0.1 to the container {stack.cluster.control_plane} any more.",
        f"The container {worker} is stopped.",
    ]
    started = time.monotonic()
    with Progress() as progress:
        stack.cluster.ensure(progress)  # all that `make up` does about it
    stack.platform.wait()
    stack.service.wait_served()
    report("a port that leads nowhere and a stopped worker, mended", seconds=time.monotonic() - started)
    assert_nothing_is_lost(stack, web, page, before)
    assert web.get(make_page()).status_code == SUBJECT.status


def test_nodes_get_other_addresses(
    stack: up.Stack,
    web: httpx.Client,
    make_page: Callable[[], str],
    placeholders: Callable[[list[str]], None],
    report: Callable[..., None],
) -> None:
    """As when the engine was restarted: everything is stopped, and the control plane gets the address of another."""
    nodes = stack.cluster.nodes
    page, before = make_page(), measured(stack)
    old = addresses(nodes)
    output(["docker", "stop", *nodes])
    assert troubles(stack) == [f"The container {n} is stopped." for n in nodes]
    lowest, second, _ = sorted(old, key=IPv4Address)
    placeholders([lowest, second] if second == old[0] else [lowest])
    started, cluster = time.monotonic(), stack.cluster
    with up.alone(), Progress() as progress:
        up.up(cluster.name, cluster.ports, REGISTRY_PORT, progress, kubeconfig=cluster.kubeconfig)
    report("all nodes stopped, and started with other addresses", seconds=time.monotonic() - started)
    assert addresses(nodes)[0] in old[1:]
    assert_nothing_is_lost(stack, web, page, before)
    assert web.get(make_page()).status_code == SUBJECT.status
    measured(stack)


def assert_nothing_is_lost(stack: up.Stack, web: httpx.Client, page: str, before: float) -> None:
    assert troubles(stack) == []
    assert web.get(page).status_code == SUBJECT.status
    assert_nodes_lead_to_one_another(stack)
    url = f"{stack.service.facts()['prometheus']}/api/v1/query"
    then = httpx.get(url, params={"query": "up", "time": before}).json()["data"]["result"]
    assert {r["metric"]["job"] for r in then} >= {"kubelet", "links", "traefik"}


def assert_nodes_lead_to_one_another(stack: up.Stack) -> None:
    """Each node leads packets for another's pods to that node's address of now."""
    nodes = stack.cluster.nodes
    items = json.loads(output([*stack.cluster.kubectl, "get", "nodes", "-o", "json"]))["items"]
    pods = {i["metadata"]["name"]: i["spec"]["podCIDR"].removesuffix("0/24") + "9" for i in items}
    here = dict(zip(nodes, addresses(nodes), strict=True))
    for node in nodes:
        for other in set(nodes) - {node}:
            route = output(["docker", "exec", node, "ip", "route", "get", pods[other]])
            assert f"via {here[other]} " in route, f"{node} to {other}: {route}"


def measured(stack: up.Stack) -> float:
    """Wait until Prometheus, on the control plane's node, reaches kubelets and pods on every node; the time then."""
    url = f"{stack.service.facts()['prometheus']}/api/v1/targets"

    def all_are_up() -> bool:
        targets = httpx.get(url, params={"state": "active"}).json()["data"]["activeTargets"]
        nodes = {t["labels"]["node"] for t in targets if t["labels"]["job"] == "kubelet"}
        jobs = {t["labels"]["job"] for t in targets}
        return nodes == set(stack.cluster.nodes) and "links" in jobs and all(t["health"] == "up" for t in targets)

    wait_for("all nodes and pods are measured", all_are_up, seconds=90)
    return time.time()


def troubles(stack: up.Stack) -> list[str]:
    """What `make doctor` says of what runs."""
    return [finding.what for finding in up.troubles(stack.cluster.name)]


def addresses(containers: list[str]) -> list[str]:
    """Of containers on the nodes' network."""
    if not containers:
        return []
    network = f"{{{{(index .NetworkSettings.Networks {json.dumps(NETWORK)}).IPAddress}}}}"
    return output(["docker", "inspect", "--format", network, *containers]).split()


def on_the_host(stack: up.Stack, script: str) -> None:
    """Run a script as root of the host: in its network, and among its processes."""
    command = ["docker", "run", "--rm", "--privileged", "--network=host", "--pid=host", "--entrypoint=sh"]
    output([*command, stack.cluster.node_image, "-c", script])
