"""Which connections a release's network policies allow, as cyclonus works it out from the rendered manifests.

https://github.com/mattfenwick/cyclonus reads policies as Kubernetes defines them
(https://kubernetes.io/docs/concepts/services-networking/network-policies/) and says of a connection whether they let it
through. What it does not know: a pod's own node always reaches it, or no probe would.
"""

import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.chart.helm import template_of
from tests.judges.tools import Tools

# Every way in or out that somebody has a use for, and one that nobody has.
PORTS = [
    *(("TCP", port) for port in (22, 53, 80, 443, 4317, 4318, 5353, 5432, 6379, 6432, 8000, 8080, 8443, 9000, 9090)),
    *(("UDP", port) for port in (53, 5353)),
]
ALLOWED = re.compile(r"IS ALLOWED\? +\| +(TRUE|FALSE)")


@dataclass(frozen=True)
class Peer:
    """One end of a connection: a pod, or an address outside the cluster's network where it has no namespace."""

    name: str
    namespace: str = ""
    labels: dict[str, str] = field(default_factory=dict, hash=False)
    address: str = "10.244.1.9"

    def as_read(self) -> dict[str, Any]:
        """In cyclonus's words."""
        inside = {
            "Namespace": self.namespace,
            "NamespaceLabels": {"kubernetes.io/metadata.name": self.namespace},
            "PodLabels": self.labels,
        }
        return {"Internal": inside if self.namespace else None, "IP": self.address}


# Whom a pod of a release may meet. The namespaces are those that the environments' values speak of.
WORLD = [
    Peer("traefik", "ingress", {"app.kubernetes.io/name": "traefik"}),
    Peer("monitoring", "monitoring"),
    Peer("traces", "traces"),
    Peer("dns", "kube-system", {"k8s-app": "kube-dns"}),
    Peer("data", "data"),
    Peer("a stranger", "elsewhere"),
    Peer("10.20.0.5", address="10.20.0.5"),
    Peer("10.20.1.5", address="10.20.1.5"),
    Peer("a node", address="172.18.0.2"),
    Peer("cloud metadata", address="169.254.169.254"),
    Peer("the internet", address="203.0.113.7"),
]


def pods(manifests: Path, namespace: str) -> list[Peer]:
    """The pods that a release's objects make, and one of somebody else's in their namespace."""
    found = [Peer("a neighbour", namespace, {"app.kubernetes.io/name": "neighbour"})]
    for there in yaml.safe_load_all(manifests.read_text(encoding="utf-8")):
        if there["kind"] in ("CronJob", "Deployment", "Job", "Pod"):
            labels = (there if there["kind"] == "Pod" else template_of(there))["metadata"]["labels"]
            peer = Peer(labels["app.kubernetes.io/component"], namespace, labels)
            found += [peer] if peer.name not in [each.name for each in found] else []
    return found


def policies(manifests: Path) -> list[dict[str, Any]]:
    there = yaml.safe_load_all(manifests.read_text(encoding="utf-8"))
    return [each for each in there if each["kind"] == "NetworkPolicy"]


def possible(own: list[Peer]) -> Iterator[tuple[Peer, Peer, str, int]]:
    """Every connection with one end or both in the release; a neighbour counts as the world."""
    neighbour, *release = own
    for source in [*release, neighbour, *WORLD]:
        for destination in [*release, neighbour, *WORLD]:
            if source != destination and (source in release or destination in release):
                for protocol, port in PORTS:
                    yield source, destination, protocol, port


def allowed(programs: Tools, manifests: Path, namespace: str) -> list[str]:
    """The connections that get through, a line each: "traefik -> app 8000", where a port says nothing else than TCP.

    Raises ValueError where the analyser's answer is not one for each question.
    """
    connections = list(possible(pods(manifests, namespace)))
    asked = [
        {
            "Source": source.as_read(),
            "Destination": destination.as_read(),
            "Protocol": protocol,
            "ResolvedPort": port,
            # No policy of ours names a port by its name.
            "ResolvedPortName": "",
        }
        for source, destination, protocol, port in connections
    ]
    folder = Path(tempfile.mkdtemp(dir=programs.home))
    traffic = folder.with_suffix(".json")
    traffic.write_text(json.dumps(asked), encoding="utf-8")
    for number, policy in enumerate(policies(manifests)):
        # It reads no more than the first document of a file.
        (folder / f"{number}.yaml").write_text(yaml.safe_dump(policy), encoding="utf-8")
    question = ["analyze", "--mode=query-traffic", f"--policy-path={folder}", f"--traffic-path={traffic}"]
    done = programs.run("cyclonus", *question)
    answers = ALLOWED.findall(done.stdout)
    if done.returncode or len(answers) != len(connections):
        raise ValueError(f"{len(answers)} answers to {len(connections)} questions: {done.stderr[-2000:]}")
    lines: dict[str, list[str]] = {}
    for (source, destination, protocol, port), answer in zip(connections, answers, strict=True):
        if answer == "TRUE":
            ports = lines.setdefault(f"{source.name} -> {destination.name}", [])
            ports.append(str(port) if protocol == "TCP" else f"{port}/{protocol}")
    every = [str(port) if protocol == "TCP" else f"{port}/{protocol}" for protocol, port in PORTS]
    return [f"{line}: {'any' if ports == every else ' '.join(ports)}" for line, ports in lines.items()]
