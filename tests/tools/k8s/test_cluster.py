import io
import json
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from k8s.kind import cluster as cluster_module
from k8s.kind import host
from k8s.kind.cluster import CERTS_D, NODE_PORTS, Cluster, free_ports
from toolkit.process import CommandFailed, Failure
from toolkit.progress import Progress

StandIn = Callable[[str, str], None]
Calls = Callable[[], list[str]]
NODES = ["test-worker2", "test-control-plane", "test-worker"]
BEFORE, STARTED, AFTER = "2026-01-01T10:00:00.000000Z", "2026-01-01T10:00:00.123456789Z", "2026-01-01T10:00:01.000000Z"


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    cluster = Cluster("test", free_ports(), "kindest/node:1", kubeconfig=tmp_path / "kubeconfig")
    cluster.folder.mkdir(parents=True)
    return cluster


# The configuration.


def test_ports_are_published_on_loopback_alone(cluster: Cluster) -> None:
    control_plane, *workers = cluster.config()["nodes"]
    published = control_plane["extraPortMappings"]
    assert {p["listenAddress"] for p in published} == {"127.0.0.1"}
    assert {p["containerPort"]: p["hostPort"] for p in published} == {
        inside: cluster.ports[name] for name, inside in NODE_PORTS.items()
    }
    assert not any("extraPortMappings" in w for w in workers)
    assert cluster.config()["networking"]["apiServerAddress"] == "127.0.0.1"


def test_every_node_has_the_image_and_the_mirrors(cluster: Cluster) -> None:
    nodes = cluster.config()["nodes"]
    assert [n["role"] for n in nodes] == ["control-plane", "worker", "worker"]
    for node in nodes:
        assert node["image"] == "kindest/node:1"
        assert node["extraMounts"] == [
            {"hostPath": str(cluster.folder / "certs.d"), "containerPath": CERTS_D, "readOnly": True}
        ]
    assert CERTS_D in cluster.config()["containerdConfigPatches"][0]


@pytest.mark.parametrize("old", [True, False])
def test_kubelet_is_told_to_put_up_with_cgroup_v1_where_there_is_no_other(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, old: bool
) -> None:
    monkeypatch.setattr(host, "cgroup_v1", lambda: old)
    assert kubelet(cluster).get("failCgroupV1") is (False if old else None)


def test_a_changed_secret_reaches_pods_in_seconds(cluster: Cluster) -> None:
    assert kubelet(cluster)["syncFrequency"] == "10s"


def test_a_silent_node_is_missed_in_time(cluster: Cluster) -> None:
    """It says several times in that time that it lives, and is looked at."""
    patches = map(yaml.safe_load, cluster.config()["kubeadmConfigPatches"])
    (controllers,) = [p["controllerManager"]["extraArgs"] for p in patches if p["kind"] == "ClusterConfiguration"]
    assert {"name": "node-monitor-grace-period", "value": "15s"} in controllers
    assert {"name": "node-monitor-period", "value": "2s"} in controllers
    assert kubelet(cluster)["nodeLeaseDurationSeconds"] == 15


def kubelet(cluster: Cluster) -> dict[str, Any]:
    patches = map(yaml.safe_load, cluster.config()["kubeadmConfigPatches"])
    return next(patch for patch in patches if patch["kind"] == "KubeletConfiguration")


@pytest.mark.parametrize("may", [True, False])
def test_containerd_leaves_scores_alone_where_it_may_not_lower_them(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, may: bool
) -> None:
    monkeypatch.setattr(host, "may_lower_oom_score", lambda: may)
    [patch] = cluster.config()["containerdConfigPatches"]
    assert ("restrict_oom_score_adj = true" in patch) is not may


# What is there.


def mounts(source: Path | str | None) -> str:
    others = [{"Source": "/lib/modules", "Destination": "/lib/modules"}]
    return json.dumps([*others, {"Source": str(source), "Destination": CERTS_D}] if source else others)


@pytest.fixture
def found(stand_in: StandIn, cluster: Cluster) -> Callable[..., None]:
    """Puts an engine with nodes in place, ours unless another source of their mirrors is given."""

    def put(source: Path | str | None = cluster.folder / "certs.d", **states: str) -> None:
        lines = "; ".join(f"echo {n}" for n in NODES)
        inspected = [node(n, states.get(n.removeprefix("test-").replace("-", "_"), "running")) for n in sorted(NODES)]
        body = f"""case "$*" in
          "ps --all --filter label=io.x-k8s.kind.cluster=test "*) {lines} ;;
          *"{{{{json .Mounts}}}}") echo '{mounts(source)}' ;;
          "container inspect test-control-plane test-worker test-worker2") echo '{json.dumps(inspected)}' ;;
          "start "*|"unpause "*|"update "*) : ;;
          *) exit 1 ;;
        esac"""
        stand_in("docker", body)
        stand_in("kind", "")
        stand_in("kubectl", f"echo '{api_says(AFTER)}'")

    return put


def node(name: str, state: str) -> dict[str, object]:
    """What `docker inspect` says of one without ports."""
    network: dict[str, object] = {"Ports": {}, "Networks": {}}
    return {"Name": f"/{name}", "State": {"Status": state, "StartedAt": STARTED}, "NetworkSettings": network}


def api_says(heard: str, *, of: Sequence[str] = NODES, ready: str = "True") -> str:
    """What kubectl says of nodes and their leases."""
    conditions = [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": ready}]
    nodes = [{"kind": "Node", "metadata": {"name": n}, "status": {"conditions": conditions}} for n in NODES]
    leases = [{"kind": "Lease", "metadata": {"name": n}, "spec": {"renewTime": heard}} for n in of]
    return json.dumps({"items": nodes + leases})


@pytest.fixture
def none_there(stand_in: StandIn) -> None:
    stand_in("docker", "")
    stand_in("kind", "")


def finished(cluster: Cluster, **change: Any) -> None:
    """As after a cluster was made, with these settings."""
    (cluster.folder / "created.yaml").write_text(yaml.safe_dump(cluster.config() | change))


def changes(calls: list[str]) -> list[str]:
    """What was asked for beside looking."""
    changing = ("kind", *(f"docker {word}" for word in ("start", "unpause", "restart", "rm", "stop", "update")))
    return [c for c in calls if c.startswith(tuple(f"{words} " for words in changing))]


@pytest.mark.usefixtures("none_there")
def test_where_there_is_none_one_is_made(cluster: Cluster, calls: Calls, progress: Progress) -> None:
    cluster.ensure(progress)
    [command, favoured] = changes(calls())
    assert command.startswith(f"kind create cluster --name test --config {cluster.folder}/kind.yaml")
    assert favoured == "docker update --cpu-shares=8192 test-control-plane", "the way in is not starved by the workers"
    assert f"--kubeconfig {cluster.kubeconfig}" in command
    assert yaml.safe_load((cluster.folder / "kind.yaml").read_text()) == cluster.config()
    hosts = (cluster.folder / "certs.d/_default/hosts.toml").read_text()
    assert '[host."http://shipshape-registry:5000"]' in hosts
    assert (cluster.folder / "created.yaml").exists()


@pytest.mark.usefixtures("none_there")
@pytest.mark.parametrize("name", NODE_PORTS)
def test_a_port_that_is_taken_is_said_before_anything_is_made(
    cluster: Cluster, calls: Calls, progress: Progress, name: str
) -> None:
    with (
        socket.create_server(("127.0.0.1", cluster.ports[name])),
        pytest.raises(Failure, match=rf"port {cluster.ports[name]} .* taken.*{name.upper()}_PORT"),
    ):
        cluster.ensure(progress)
    assert changes(calls()) == []


@pytest.mark.usefixtures("found")
def test_one_that_could_not_be_made_is_made_again(
    cluster: Cluster, stand_in: StandIn, calls: Calls, progress: Progress, found: Callable[..., None]
) -> None:
    stand_in("docker", "")
    stand_in("kind", "echo could not init node; exit 1")
    with pytest.raises(CommandFailed, match=r"(?s)could not init node.*cluster-test\.log"):
        cluster.ensure(progress)
    assert not (cluster.folder / "created.yaml").exists()
    found()
    cluster.ensure(progress)
    _, delete, create, _ = changes(calls())
    assert delete.startswith("kind delete cluster --name test")
    assert create.startswith("kind create cluster --name test")


def test_ours_is_taken_as_it_is(
    cluster: Cluster, calls: Calls, progress: Progress, said: io.StringIO, found: Callable[..., None]
) -> None:
    found()
    finished(cluster)
    cluster.ensure(progress)
    assert changes(calls()) == []
    assert said.getvalue() == ""


def test_nodes_that_were_stopped_are_started(
    cluster: Cluster, calls: Calls, progress: Progress, said: io.StringIO, found: Callable[..., None]
) -> None:
    found(control_plane="exited", worker="exited", worker2="paused")
    finished(cluster)
    cluster.ensure(progress)
    starts = ["docker start test-control-plane", "docker start test-worker", "docker unpause test-worker2"]
    assert changes(calls()) == starts
    assert "start test-worker2 again (The container test-worker2 is paused)" in said.getvalue()


@pytest.mark.parametrize(
    "at_first",
    [
        f"echo '{api_says(BEFORE)}'",  # what the API server says of a node that has just ended is that it is ready
        f"echo '{api_says(AFTER, of=NODES[1:])}'",
        f"echo '{api_says(AFTER, ready='Unknown')}'",
        "echo refused >&2; exit 1",
    ],
)
@pytest.mark.parametrize("worker", ["exited", "running"])
def test_nodes_that_have_just_started_are_waited_for(
    cluster: Cluster,
    stand_in: StandIn,
    calls: Calls,
    progress: Progress,
    found: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    worker: str,
    at_first: str,
) -> None:
    """Whether it was `make up` that started them, or the engine with itself."""
    found(worker=worker)
    finished(cluster)
    monkeypatch.setattr(cluster_module, "time", SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: None))
    asked = tmp_path / "asked"
    stand_in("kubectl", f"if test -e {asked}; then echo '{api_says(AFTER)}'; else : > {asked}; {at_first}; fi")
    cluster.ensure(progress)
    assert len([c for c in calls() if c.startswith("kubectl ")]) == 2


def test_nodes_that_do_not_come_back_are_a_sentence(
    cluster: Cluster,
    stand_in: StandIn,
    progress: Progress,
    found: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found(worker="exited")
    finished(cluster)
    clock = iter(range(0, 1000, 60))
    monkeypatch.setattr(cluster_module, "time", SimpleNamespace(monotonic=lambda: next(clock), sleep=lambda _: None))
    stand_in("kubectl", "exit 1")
    with pytest.raises(Failure, match=r"ready: test-control-plane, .*exec test-control-plane journalctl.*make down"):
        cluster.ensure(progress)


def test_nodes_that_were_stopped_need_their_ports(
    cluster: Cluster, calls: Calls, progress: Progress, found: Callable[..., None]
) -> None:
    found(control_plane="exited")
    finished(cluster)
    with socket.create_server(("127.0.0.1", cluster.ports["https"])), pytest.raises(Failure, match="HTTPS_PORT"):
        cluster.ensure(progress)
    assert changes(calls()) == []


def test_a_worker_that_was_stopped_needs_none(
    cluster: Cluster, calls: Calls, progress: Progress, found: Callable[..., None]
) -> None:
    """The control plane's node runs, and holds them."""
    found(worker="exited")
    finished(cluster)
    with socket.create_server(("127.0.0.1", cluster.ports["https"])):
        cluster.ensure(progress)
    assert changes(calls()) == ["docker start test-worker"]


@pytest.fixture(params=["ensure", "delete"])
def act(request: pytest.FixtureRequest, cluster: Cluster, progress: Progress) -> Callable[[], object]:
    """Whatever is done with a cluster that is there."""
    return lambda: getattr(cluster, request.param)(progress)


def test_one_that_is_not_ours_is_refused_untouched(
    act: Callable[[], object], calls: Calls, found: Callable[..., None]
) -> None:
    found(source=None)
    with pytest.raises(Failure, match=r"kind cluster named test.*not made by this project.*CLUSTER="):
        act()
    assert changes(calls()) == []


@pytest.mark.parametrize("checkout", ["/home/me/shipshape", "/home/me/build/shipshape"])
def test_one_of_another_checkout_names_it(
    act: Callable[[], object], calls: Calls, found: Callable[..., None], checkout: str
) -> None:
    found(source=f"{checkout}/build/test/certs.d")
    with pytest.raises(Failure, match=rf"{checkout}\W.*make down"):
        act()
    assert changes(calls()) == []


@pytest.mark.parametrize("setting", ["ports", "node image"])
def test_another_setting_is_refused(
    cluster: Cluster, calls: Calls, progress: Progress, found: Callable[..., None], setting: str
) -> None:
    found()
    finished(cluster)
    ports = cluster.ports | {"http": cluster.ports["http"] + 1} if setting == "ports" else cluster.ports
    image = "kindest/node:v1.35.0" if setting == "node image" else cluster.node_image
    with pytest.raises(Failure, match=r"other ports, settings or another node image.*make down"):
        Cluster("test", ports, image, kubeconfig=cluster.kubeconfig).ensure(progress)
    assert changes(calls()) == []


def test_ours_is_deleted(cluster: Cluster, calls: Calls, progress: Progress, found: Callable[..., None]) -> None:
    found()
    finished(cluster)
    assert cluster.delete(progress)
    [command] = changes(calls())
    assert command == f"kind delete cluster --name test --kubeconfig {cluster.kubeconfig}"
    assert not (cluster.folder / "created.yaml").exists()


@pytest.mark.usefixtures("none_there")
def test_there_may_be_none_to_delete(cluster: Cluster, calls: Calls, progress: Progress) -> None:
    assert not cluster.delete(progress)
    assert changes(calls()) == []


def test_the_control_plane_comes_first(cluster: Cluster, found: Callable[..., None]) -> None:
    found()
    assert cluster.nodes == ["test-control-plane", "test-worker", "test-worker2"]


def test_commands_name_the_cluster(tmp_path: Path) -> None:
    """Never whatever the user's context happens to be."""
    own = Cluster("own", {}, "", kubeconfig=tmp_path / "k")
    assert own.kubectl == ["kubectl", "--kubeconfig", str(tmp_path / "k"), "--context", "kind-own"]
    assert own.helm == ["helm", "--kubeconfig", str(tmp_path / "k"), "--kube-context", "kind-own"]
    assert Cluster("own", {}, "").kubectl == ["kubectl", "--context", "kind-own"]
