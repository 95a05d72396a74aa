"""The kind cluster: one control plane and two workers, reached through ports of 127.0.0.1 only."""

import json
import shutil
import time
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from k8s import components
from k8s.kind import host
from offline.registry import INTERNAL
from toolkit import containers, project
from toolkit.containers import Container
from toolkit.paths import BUILD, shown
from toolkit.ports import free_port, is_taken
from toolkit.process import Failure, output, run
from toolkit.progress import Progress

CERTS_D = "/etc/containerd/certs.d"  # where containerd looks for a registry's mirrors
LEASES = "kube-node-lease"  # the namespace in which each node says every few seconds that it lives
# CPU shares of the control plane's container, where a worker has Docker's 1,024. The way in is there
# (docs/decisions/0004-ports.md): where the pods starve it, nobody is answered, not even refused.
WAY_IN_SHARES = 8192
# How long a node may say nothing before its pods get no more requests: 50 seconds by default.
SILENT_SECONDS = 15
# Of each there is one: nobody to elect a leader from, and to write down every two seconds that it still leads.
ALONE = {"name": "leader-elect", "value": "false"}
CONTROL_PLANE: dict[str, Any] = {
    "kind": "ClusterConfiguration",
    # Half the memory for a few millicores more.
    "apiServer": {"extraEnvs": [{"name": "GOGC", "value": "50"}]},
    # A list replaces kind's, so what kind says is said again.
    "controllerManager": {
        "extraArgs": [
            {"name": "enable-hostpath-provisioner", "value": "true"},
            ALONE,
            {"name": "node-monitor-grace-period", "value": f"{SILENT_SECONDS}s"},
            {"name": "node-monitor-period", "value": "2s"},
        ]
    },
    "scheduler": {"extraArgs": [ALONE]},
}
HOLDS_PORTS = {"running", "paused"}
START_TIMEOUT = 180.0  # seconds
# What the nodes publish, and on which of their ports.
NODE_PORTS = {name: port.node for name, port in components.ports().items()}


@dataclass
class Cluster:
    """A cluster by name. `ports` are the host's, by the keys of NODE_PORTS."""

    name: str
    ports: dict[str, int]
    node_image: str
    kubeconfig: Path | None = None  # None: the user's own, as kind does
    folder: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder = BUILD / self.name

    @property
    def context(self) -> str:
        return f"kind-{self.name}"

    @property
    def control_plane(self) -> str:
        return f"{self.name}-control-plane"

    @cached_property
    def kubectl(self) -> list[str]:
        config = ["--kubeconfig", str(self.kubeconfig)] if self.kubeconfig else []
        return ["kubectl", *config, "--context", self.context]

    @cached_property
    def helm(self) -> list[str]:
        config = ["--kubeconfig", str(self.kubeconfig)] if self.kubeconfig else []
        return ["helm", *config, "--kube-context", self.context]

    @property
    def nodes(self) -> list[str]:
        """The node containers, running or not; the control plane first."""
        label = f"label=io.x-k8s.kind.cluster={self.name}"
        names = output(["docker", "ps", "--all", "--filter", label, "--format", "{{.Names}}"]).split()
        return sorted(names, key=lambda n: (n != self.control_plane, n))

    def apply(self, manifests: str, log: str) -> None:
        """Bring objects to what the manifests say, whoever changed them; what is so already stays untouched."""
        options = ["--server-side", "--force-conflicts", f"--field-manager={project.NAME}", "--filename=-"]
        run([*self.kubectl, "apply", *options], log=log, stdin=manifests)

    def check(self) -> None:
        """Raise Failure, with nothing touched, where this cluster cannot be made or is not what it should be."""
        nodes = self.nodes
        if nodes:
            self._check_ours(nodes[0])
            if self.finished:
                self._check_same()
        else:
            self._check_ports()

    def ensure(self, progress: Progress) -> None:
        """Make the cluster, start its nodes again, or find it as it is. Never touches one that is not ours."""
        self.check()
        nodes = self.nodes
        if nodes:
            if self.finished:
                self.mend(progress)
                return
            with progress.step(f"remove the unfinished cluster {self.name}"):
                self._delete()
        self._check_ports()
        with progress.step(f"create the cluster {self.name}", 75):
            self._create()

    def mend(self, progress: Progress) -> bool:
        """Start nodes that are stopped, and again those whose ports lead nowhere; wait until all nodes answer. Returns
        whether there was something to mend. What the nodes have written stays."""
        nodes = self.containers()
        if nodes[0].state not in HOLDS_PORTS:
            self._check_ports()
        mended = containers.mend(nodes, progress, log=f"cluster-{self.name}")
        self.wait_ready(progress)
        return bool(mended)

    def wait_ready(self, progress: Progress) -> None:
        """Wait until all nodes are ready. kind waits for the control plane's alone.

        Raises:
            Failure: they do not get ready; names those.
        """
        if not self._unready():
            return
        with progress.step(f"wait for the nodes of {self.name}", 30):
            deadline = time.monotonic() + START_TIMEOUT
            while unready := self._unready():
                if time.monotonic() > deadline:
                    raise Failure(
                        f"The cluster {self.name} is there, but not all of its nodes are ready: {', '.join(unready)}. "
                        f"`docker exec {unready[0]} journalctl --unit=kubelet` says why. To make the cluster anew, "
                        "without its data: `make down`, `make up`."
                    )
                time.sleep(1)

    def containers(self) -> list[Container]:
        """The containers of the nodes, running or not; the control plane's first. Raises Failure where they are not
        ours."""
        nodes = self.nodes
        if nodes:
            self._check_ours(nodes[0])
        return containers.look(nodes)

    @property
    def finished(self) -> bool:
        """Whether it was made to the end."""
        return self._finished_file.exists()

    def delete(self, progress: Progress) -> bool:
        """Remove the cluster if it is there and ours. Returns whether it was there."""
        nodes = self.nodes
        if not nodes:
            return False
        self._check_ours(nodes[0])
        with progress.step(f"remove the cluster {self.name}", 10):
            self._delete()
            shutil.rmtree(self.folder, ignore_errors=True)  # its authority and keys too
        return True

    def config(self) -> dict[str, Any]:
        """kind's configuration (https://kind.sigs.k8s.io/docs/user/configuration/)."""
        mirrors = {"hostPath": str(self.folder / "certs.d"), "containerPath": CERTS_D, "readOnly": True}
        published = [
            {"containerPort": inside, "hostPort": self.ports[name], "listenAddress": "127.0.0.1"}
            for name, inside in NODE_PORTS.items()
        ]
        kubelet: dict[str, Any] = {
            "kind": "KubeletConfiguration",
            # A changed Secret or ConfigMap reaches the pods in seconds, not in a minute.
            "syncFrequency": "10s",
            # It says that it lives four times in this.
            "nodeLeaseDurationSeconds": SILENT_SECONDS,
        }
        if host.cgroup_v1():
            kubelet["failCgroupV1"] = False
        # A plugin's section is replaced only where it is named in the version of the base configuration.
        containerd = f'[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "{CERTS_D}"\n'
        if not host.may_lower_oom_score():
            containerd += '[plugins."io.containerd.grpc.v1.cri"]\n  restrict_oom_score_adj = true\n'
        roles: list[dict[str, Any]] = [
            {"role": "control-plane", "extraPortMappings": published},
            {"role": "worker"},
            {"role": "worker"},
        ]
        return {
            "kind": "Cluster",
            "apiVersion": "kind.x-k8s.io/v1alpha4",
            "networking": {"apiServerAddress": "127.0.0.1"},
            "containerdConfigPatches": [containerd],
            "kubeadmConfigPatches": [yaml.safe_dump(patch) for patch in (kubelet, CONTROL_PLANE)],
            "nodes": [{**role, "image": self.node_image, "extraMounts": [mirrors]} for role in roles],
        }

    @property
    def _finished_file(self) -> Path:
        return self.folder / "created.yaml"

    @property
    def _config_file(self) -> Path:
        return self.folder / "kind.yaml"

    def _create(self) -> None:
        mirrors = self.folder / "certs.d" / "_default"
        mirrors.mkdir(parents=True, exist_ok=True)
        # Every image is asked for at the local registry first, and upstream where that does not have it.
        (mirrors / "hosts.toml").write_text(f'[host."{INTERNAL}"]\n  capabilities = ["pull", "resolve"]\n')
        text = yaml.safe_dump(self.config(), sort_keys=False)
        self._config_file.write_text(text)
        config = ["--kubeconfig", str(self.kubeconfig)] if self.kubeconfig else []
        argv = ["kind", "create", "cluster", "--name", self.name, "--config", str(self._config_file), *config]
        # Not until its nodes are ready: what runs on them can be told to the API server meanwhile.
        run([*argv, "--retain"], log=f"cluster-{self.name}")
        shares = ["docker", "update", f"--cpu-shares={WAY_IN_SHARES}", self.control_plane]
        run(shares, log=f"cluster-{self.name}")
        self._finished_file.write_text(text)

    def _delete(self) -> None:
        self._finished_file.unlink(missing_ok=True)
        config = ["--kubeconfig", str(self.kubeconfig)] if self.kubeconfig else []
        run(["kind", "delete", "cluster", "--name", self.name, *config], log=f"cluster-{self.name}")

    def _check_ours(self, node: str) -> None:
        """Ours has its registry mirrors from a folder that only we make."""
        mounts = json.loads(output(["docker", "inspect", node, "--format", "{{json .Mounts}}"]))
        source = next((m["Source"] for m in mounts if m["Destination"] == CERTS_D), None)
        if source is None:
            raise Failure(
                f"There is a kind cluster named {self.name} that was not made by this project: remove it "
                f"(kind delete cluster --name {self.name}) or choose another name (CLUSTER=...)."
            )
        if Path(source) != self.folder / "certs.d":
            raise Failure(
                f"The cluster {self.name} belongs to the checkout of {Path(source).parents[2]}: "
                f"run `make down` there, or choose another name here (CLUSTER=...)."
            )

    def _check_same(self) -> None:
        if yaml.safe_load(self._finished_file.read_text()) != self.config():
            raise Failure(
                f"The cluster {self.name} was made with other ports, settings or another node image, and a "
                f"cluster's cannot be changed: run `make down` first. ({shown(self._finished_file)} says what it has.)"
            )

    def _check_ports(self) -> None:
        taken = [name for name, port in self.ports.items() if is_taken(port)]
        if taken:
            lines = [f"port {self.ports[n]} of 127.0.0.1 is taken: free it, or set {n.upper()}_PORT." for n in taken]
            raise Failure("The cluster cannot publish its ports: " + "\n".join(lines))

    def _unready(self) -> list[str]:
        """The nodes that the API server does not call ready, or has not heard of since they were started: what it says
        of a node that has ended stays what it was for most of a minute."""
        get = [*self.kubectl, "get", "nodes,leases", "--namespace", LEASES, "--output=json", "--request-timeout=5s"]
        try:
            items = json.loads(output(get))["items"]
        except Failure:
            return self.nodes
        ready = {i["metadata"]["name"] for i in items if i["kind"] == "Node" and _is_ready(i)}
        renewed = {i["metadata"]["name"]: i["spec"]["renewTime"] for i in items if i["kind"] == "Lease"}
        heard = {name: datetime.fromisoformat(when) for name, when in renewed.items()}
        return [c.name for c in self.containers() if not (c.name in ready & heard.keys() and heard[c.name] > c.started)]


def _is_ready(node: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", []))


def free_ports() -> dict[str, int]:
    """Ports of 127.0.0.1 that are free now, for a cluster beside others."""
    return {name: free_port() for name in NODE_PORTS}
