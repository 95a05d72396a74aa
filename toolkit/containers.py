"""Containers that must run, and the ports of 127.0.0.1 that they publish: what is wrong with them, and what mends it.

Between such a port and its container stands the engine: a process of its own for each port, or a rule of the firewall.
Either can be gone while the container is healthy, and only a restart of the container brings it back.
"""

import json
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from toolkit import ports
from toolkit.process import output, run
from toolkit.progress import Progress

PATIENCE = 2.0  # seconds for an answer


@dataclass(frozen=True)
class Published:
    """A port of 127.0.0.1 and where it should lead to."""

    port: int
    address: str
    inside: int

    def is_dead(self) -> bool:
        """Whether the way to the container is broken. A container in which nothing serves the port is none of that."""
        if not ports.is_taken(self.port):
            return _server_may_be_at(self.address, self.inside)
        # Looked at twice: a port that is only slow must not have its container restarted.
        return (
            not _answers("127.0.0.1", self.port, PATIENCE)
            and _answers(self.address, self.inside, PATIENCE)
            and not _answers("127.0.0.1", self.port, 2 * PATIENCE)
        )


@dataclass(frozen=True)
class Container:
    """A container as it is now. `state` is the engine's word for it: running, paused, exited..."""

    name: str
    state: str
    started: datetime
    published: tuple[Published, ...] = ()

    def trouble(self) -> str:
        """What is wrong, in a sentence; nothing where nothing is."""
        if self.state != "running":
            return f"The container {self.name} is {'paused' if self.state == 'paused' else 'stopped'}."
        dead = [str(p.port) for p in self.published if p.is_dead()]
        if not dead:
            return ""
        ports = f"port{'s' if len(dead) > 1 else ''} {', '.join(dead)} of 127.0.0.1"
        return f"Nothing forwards {ports} to the container {self.name} any more."

    def restart(self, log: str) -> None:
        """Make it run, and its ports lead to it. What it has written stays."""
        if self.state == "running":
            run(["docker", "restart", self.name], log=log)
        else:
            run(["docker", "unpause" if self.state == "paused" else "start", self.name], log=log)


def look(names: Sequence[str]) -> list[Container]:
    """These containers, in this order."""
    if not names:
        return []
    return [_read(c) for c in json.loads(output(["docker", "container", "inspect", *names]))]


def mend(containers: Sequence[Container], progress: Progress, log: str) -> list[Container]:
    """Restart those that have a trouble, and return them."""
    mended = []
    for container in containers:
        if trouble := container.trouble():
            with progress.step(f"start {container.name} again", 20) as step:
                step.detail = trouble.rstrip(".")
                container.restart(log)
            mended.append(container)
    return mended


def _read(found: dict) -> Container:  # type: ignore[type-arg]
    """From what `docker inspect` says."""
    network = found["NetworkSettings"]
    address = next((n["IPAddress"] for n in network["Networks"].values() if n["IPAddress"]), "")
    published = tuple(
        Published(int(binding["HostPort"]), address, int(inside.partition("/")[0]))
        for inside, bindings in network["Ports"].items()
        for binding in bindings or []
        if binding["HostIp"] == "127.0.0.1"
    )
    state = found["State"]
    started = datetime.fromisoformat(state["StartedAt"])
    return Container(found["Name"].removeprefix("/"), state["Status"], started, published)


def _server_may_be_at(address: str, port: int) -> bool:
    """Whether a container's own port takes connections, as far as this host can tell."""
    if sys.platform != "linux":
        return True  # containers run in a machine of their own, which forwards every port whatever serves it
    try:
        socket.create_connection((address, port), PATIENCE).close()
    except ConnectionRefusedError:
        return False
    except OSError:
        return True  # no way there from here, as with an engine without root: every port has its own process
    return True


def _answers(address: str, port: int, patience: float) -> bool:
    """Whether a server sends anything at all: a proxy without one, or the engine itself, only takes the connection."""
    try:
        with socket.create_connection((address, port), patience) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")  # one that speaks TLS refuses this, which is an answer
            return connection.recv(1) != b""
    except OSError:
        return False
