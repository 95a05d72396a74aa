"""An image, run as a pod of the chart runs it: any user, a read-only file system, no rights, a limit of memory."""

import contextlib
import json
import re
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from keel.contract.metric_profiles import OWN, PROFILES, MetricNames

USER = 10001  # as any other: a cluster may choose
MARGIN_SECONDS = 5  # what the chart gives a pod on top of its drain, before SIGKILL
LOG_LINES = 20  # of an image that does not start
LOG_MIB = 10  # as many are kept at least, and twice as many at most: an image may log without end
DOCKER_SECONDS = 300  # of a command of Docker's: `docker run` pulls the image where it is not there
SIZE = re.compile(r"([0-9.]+)([kKmMgGtT]?)i?[bB]?")


class ContractError(Exception):
    """The message is a sentence that says what to do."""


@dataclass(frozen=True)
class Pod:
    """How the chart would run the image."""

    image: str
    public: int = 8000
    management: int = 9000
    # The path that each probe asks for; "" where it asks in another way.
    startup: str = "/startupz"
    readiness: str = "/readyz"
    liveness: str = "/livez"
    metrics: str = "/metrics"
    metric_profile: str = OWN
    metric_names: MetricNames = PROFILES[OWN]
    environment: Mapping[str, str] = field(default_factory=dict)
    command: Sequence[str] = ()
    arguments: Sequence[str] = ()
    memory: str = "256Mi"
    tmp_size: str = "64Mi"
    drain_seconds: int = 25

    @property
    def one_port(self) -> bool:
        """Whether probes and metrics are where the pages are."""
        return self.public == self.management

    @property
    def grace_seconds(self) -> int:
        """How long a pod may take to end after SIGTERM."""
        return self.drain_seconds + MARGIN_SECONDS

    @property
    def variables(self) -> dict[str, str]:
        """The environment that the chart gives, and that of the values."""
        second = {} if self.one_port else {"APP_MANAGEMENT_PORT": str(self.management)}
        return {
            "APP_PORT": str(self.public),
            **second,
            "APP_DRAIN_DELAY_SECONDS": "2",
            "APP_DRAIN_TIMEOUT_SECONDS": str(self.drain_seconds),
            **self.environment,
        }


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: str


class Container:
    """A running one. Every request raises OSError or HTTPException where there is no answer."""

    def __init__(self, identity: str, network: Mapping[str, Any], pod: Pod) -> None:
        self.identity = identity
        self.pod = pod
        self._network = network
        self._own_address: bool | None = None

    def connect(self, port: int, seconds: float = 5) -> HTTPConnection:
        """A connection to one of its ports, not open yet, to be closed by the caller."""
        return HTTPConnection(*self._address(port), timeout=seconds)

    def _address(self, port: int) -> tuple[str, int]:
        """The container's own, where this host reaches it, as on Linux: at the published one Docker's proxy takes
        connections for a port that is closed already."""
        own = next((each["IPAddress"] for each in self._network["Networks"].values() if each["IPAddress"]), "")
        published = self._network["Ports"].get(f"{port}/tcp")
        if self._own_address is None:
            self._own_address = bool(own) and _leads_to_a_host(own, port)
        if self._own_address or not published:
            return own, port
        return "127.0.0.1", int(published[0]["HostPort"])

    def ask(self, port: int, path: str, method: str = "GET", **headers: str) -> Answer:
        """One request on a connection of its own."""
        connection = self.connect(port)
        try:
            connection.request(method, path, headers={"Connection": "close", **headers})
            found = connection.getresponse()
            names = {name.lower(): value for name, value in found.getheaders()}
            return Answer(found.status, names, found.read().decode("utf-8", "replace"))
        finally:
            connection.close()

    def try_to_ask(self, port: int, path: str, method: str = "GET", **headers: str) -> Answer:
        """Likewise; an answer with the status 0 where there is none."""
        try:
            return self.ask(port, path, method, **headers)
        except (OSError, HTTPException):
            return Answer(0, {}, "")

    def status(self, port: int, path: str) -> int:
        """The status of an answer; 0 where there is none."""
        return self.try_to_ask(port, path).status

    def state(self) -> dict[str, Any]:
        """As Docker tells it: Running, ExitCode, OOMKilled and more."""
        found: dict[str, Any] = json.loads(docker("container", "inspect", self.identity))[0]["State"]
        return found

    @property
    def running(self) -> bool:
        return bool(self.state()["Running"])

    def logs(self) -> str:
        done = _docker("logs", self.identity)
        return done.stdout + done.stderr

    def end_of_log(self, lines: int = LOG_LINES) -> str:
        return "\n".join(self.logs().splitlines()[-lines:])

    def platform(self) -> str:
        """What the image was built for, such as linux/arm64."""
        return docker("image", "inspect", "--format={{.Os}}/{{.Architecture}}", self.pod.image)

    def listens_on(self) -> list[int]:
        """The ports that its processes listen on; none where they run on another machine, as with Docker Desktop.

        The kernel's table (proc(5), /proc/PID/net/tcp) has addresses and ports in hexadecimal, and 0A for a listener.
        """
        ports = set()
        for table in ("tcp", "tcp6"):
            with contextlib.suppress(OSError):
                lines = Path(f"/proc/{self.state()['Pid']}/net/{table}").read_text().splitlines()[1:]
                ports |= {int(line.split()[1].rpartition(":")[2], 16) for line in lines if line.split()[3] == "0A"}
        return sorted(ports)

    def memory(self) -> int:
        """Bytes that it holds, without the files that the kernel could drop."""
        found = docker("stats", "--no-stream", "--format={{.MemUsage}}", self.identity)
        return in_bytes(found.partition("/")[0])

    def signal(self, name: str = "TERM") -> None:
        docker("kill", f"--signal={name}", self.identity)

    def end(self, seconds: float) -> int | None:
        """Its exit code, once it has ended by itself; None if it has not within so many seconds."""
        if not wait(lambda: not self.running, seconds):
            return None
        return int(self.state()["ExitCode"])


def docker(*arguments: str) -> str:
    """What a command of Docker's says.

    Raises:
        ContractError: with what it said of its failure.
    """
    done = _docker(*arguments)
    if done.returncode:
        raise ContractError(f"docker {arguments[0]} failed: {done.stderr.strip()[-800:]}")
    return done.stdout.strip()


def _docker(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = ["docker", *arguments]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=DOCKER_SECONDS
        )
    except subprocess.TimeoutExpired:
        hint = " Pull the image first, if it is large." if arguments[0] == "run" else ""
        raise ContractError(f"docker {arguments[0]} took longer than {DOCKER_SECONDS} s.{hint}") from None


@contextlib.contextmanager
def run(pod: Pod) -> Iterator[Container]:
    """Run an image while inside, and remove it.

    Raises:
        ContractError: there is no Docker, no such image for this machine, or it cannot be started.
    """
    if shutil.which("docker") is None:
        raise ContractError("This needs Docker: there is no docker on the PATH.")
    name = f"contract-{secrets.token_hex(4)}"
    options = ["--detach", f"--name={name}", f"--user={USER}:{USER}", "--read-only"]
    options += [f"--tmpfs=/tmp:mode=1777,size={in_bytes(pod.tmp_size)}", f"--memory={in_bytes(pod.memory)}"]
    options += ["--cap-drop=ALL", "--security-opt=no-new-privileges", "--pids-limit=512"]
    options += ["--log-driver=local", f"--log-opt=max-size={LOG_MIB}m", "--log-opt=max-file=2"]
    options += [f"--publish=127.0.0.1::{port}" for port in sorted({pod.public, pod.management})]
    options += [f"--env={key}={value}" for key, value in pod.variables.items()]
    options += [f"--entrypoint={pod.command[0]}"] if pod.command else []
    try:
        docker("run", *options, pod.image, *pod.command[1:], *pod.arguments)
        yield Container(name, json.loads(docker("container", "inspect", name))[0]["NetworkSettings"], pod)
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", name], capture_output=True, check=False, timeout=60)


def _leads_to_a_host(address: str, port: int) -> bool:
    """Whether somebody is there, if only to refuse."""
    try:
        socket.create_connection((address, port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True


def wait(condition: Callable[[], bool], seconds: float) -> bool:
    """Look again and again; whether it came to pass in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return condition()


def in_bytes(text: str) -> int:
    """A size as Docker and Kubernetes write it, such as 74.1MiB, 512Mi or 512m. Raises ValueError."""
    units = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
    found = SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"'{text}' is no size: write it as 256Mi.")
    return int(float(found[1]) * units[found[2].lower()])
