"""The container engine. Where none answers, on Debian as root, one is unpacked beside the system and started."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import cache as once
from pathlib import Path

from toolkit import apt, packages, versions
from toolkit.packages import Packages
from toolkit.paths import TOOLS, cache
from toolkit.process import Failure, output, run, succeeds
from toolkit.programs import link
from toolkit.progress import Progress

START_TIMEOUT = 60.0  # seconds
INTERFACES, ROUTES = Path("/sys/class/net"), Path("/proc/net/route")
CAP_SYS_RESOURCE = 24  # capability(7)


def answers() -> bool:
    return succeeds(["docker", "version", "--format", "{{.Server.Version}}"])


def has_sys_resource() -> bool:
    """Whether this process could give a container CAP_SYS_RESOURCE, without which runc refuses privileged ones."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            return bool(int(line.split()[1], 16) >> CAP_SYS_RESOURCE & 1)
    return True


def ensure(progress: Progress) -> None:
    """Return when an engine answers. Raises Failure with what to do where none can be started."""
    use_unpacked()
    if answers():
        return
    if os.environ.get("DOCKER_HOST"):
        raise Failure(f"No engine answers at DOCKER_HOST={os.environ['DOCKER_HOST']}: start it, or unset DOCKER_HOST.")
    if _systemd_has_docker():
        with progress.step("start the Docker engine"):
            run(["systemctl", "start", "docker"], log="engine")
            _wait(None)
        return
    if not apt.may_install():
        raise Failure("No Docker engine answers: start Docker, or run this as root on Debian to have one installed.")
    if not _folder().exists():
        with progress.step("install the Docker engine", 15):
            apt.install(["iptables", "runc"])
            packages.fetch(_packages(), _folder(), progress.say)
    use_unpacked()
    with progress.step("start the Docker engine", 5):
        _start()


def stop() -> bool:
    """Stop the engine if it is the one we started and nothing runs in it. Returns whether it was stopped."""
    pid = _own_pid()
    if pid is None or output(["docker", "ps", "--quiet"]).strip():
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + START_TIMEOUT
    while _own_pid() is not None and time.monotonic() < deadline:
        time.sleep(0.1)
    return True


@once
def buildx() -> list[str]:
    """The command that builds images."""
    if succeeds(["docker", "buildx", "version"]):
        return ["docker", "buildx"]
    if shutil.which("docker-buildx"):
        return ["docker-buildx"]
    raise Failure("Docker's buildx plugin is missing: install the package docker-buildx (or docker-buildx-plugin).")


@once
def push_options(compression: str = "") -> str:
    """How a build leaves for a registry. Only with containerd's image store, or with a builder in a container, can time
    stamps be rewritten, and so the same digest come out twice, and layers be compressed otherwise than with gzip."""
    if "io.containerd" in output(["docker", "info", "--format", "{{.DriverStatus}}"]) or _builds_in_container():
        options = "type=image,push=true,store=false,rewrite-timestamp=true"
        return f"{options},compression={compression},force-compression=true" if compression else options
    return "type=image,push=true"


def _builds_in_container() -> bool:
    """Whether the chosen builder is one of BuildKit's own, as pipelines make for several platforms."""
    return bool(re.search(r"(?m)^Driver:\s+docker-container$", output([*buildx(), "inspect"])))


def _packages() -> Packages:
    """Debian 12's engine is too old to build an image twice with the same digest; a newer one runs on it unpacked. Its
    runc does not (it wants a newer C library), so runc and iptables are the system's own."""
    return versions.load().packages["engine"]


def _folder() -> Path:
    return cache() / f"engine-{_packages().suite}"


def _pid_file() -> Path:
    return cache() / "dockerd.pid"


def _own_pid() -> int | None:
    """The process of the engine that we started, if it still runs."""
    file = _pid_file()
    if not file.exists():
        return None
    text = file.read_text().strip()
    if not text.isdigit():  # it is being written
        return None
    pid = int(text)
    command = Path(f"/proc/{pid}/cmdline")
    return pid if command.exists() and b"dockerd" in command.read_bytes() else None


def use_unpacked() -> None:
    """Put the unpacked client and its build plugin first on the PATH, if there are any."""
    if _folder().exists():
        link(_folder() / "usr/bin/docker", TOOLS / "docker")
        link(_folder() / "usr/libexec/docker/cli-plugins/docker-buildx", TOOLS / "docker-buildx")
        buildx.cache_clear()


def _systemd_has_docker() -> bool:
    return Path("/run/systemd/system").exists() and succeeds(["systemctl", "cat", "docker.service"])


def _start() -> None:
    folder = _folder()
    programs = f"{folder}/usr/sbin:{folder}/usr/bin:{os.environ['PATH']}"
    argv = [f"{folder}/usr/sbin/dockerd", "--feature", "containerd-snapshotter=true"]
    # Without a process for each port, which ends when it has run out of files, and which all traffic goes through.
    argv += ["--userland-proxy=false"]
    argv += ["--mtu", str(_host_mtu()), "--init-path", f"{folder}/usr/bin/tini-static"]
    if not has_sys_resource():
        argv += ["--add-runtime", f"clamped={_clamped_runc()}", "--default-runtime", "clamped"]
    log = cache() / "dockerd.log"
    _pid_file().unlink(missing_ok=True)
    note_pid = ["/bin/sh", "-c", 'echo $$ >"$0"; exec "$@"', str(_pid_file())]
    with log.open("ab") as out:
        # Its own session: it outlives this command, and Ctrl-C here does not reach it.
        subprocess.run(
            ["setsid", "--fork", *note_pid, *argv],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**os.environ, "PATH": programs},
        )
    _wait(log)


def _wait(log: Path | None) -> None:
    """Wait until the engine answers; `log` is that of the one we started."""
    deadline = time.monotonic() + START_TIMEOUT
    while not answers():
        if (log is not None and _has_ended()) or time.monotonic() > deadline:
            tail = "\n".join("  " + s for s in log.read_text().splitlines()[-8:]) if log else ""
            raise Failure(f"The Docker engine did not start.{f' Its last lines, from {log}:' if log else ''}\n{tail}")
        time.sleep(0.2)


def _has_ended() -> bool:
    """Whether the process we noted is no more. Its command line does not tell: while it changes, there is none."""
    try:
        pid = int(_pid_file().read_text())
    except (FileNotFoundError, ValueError):  # nothing noted yet
        return False
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return status.rpartition(")")[2].split()[0] == "Z"


def _host_mtu() -> int:
    """The largest packet of the host's own network: a bridge that sends larger ones loses them.

    Where we are in a container ourselves, the way out is no device.
    """
    ways_out = {route.split()[0] for route in ROUTES.read_text().splitlines() if route.split()[1] == "00000000"}
    own = [p for p in INTERFACES.iterdir() if (p / "device").exists() or p.name in ways_out]
    return min([*(int((p / "mtu").read_text()) for p in own), 1500])


def _clamped_runc() -> Path:
    """Install the wrapper that asks runc for no more than this host may give."""
    target = cache() / "runc-clamped"
    source = Path(__file__).with_name("runc_clamped.py").read_text()
    target.write_text(f"#!{os.path.realpath(sys.executable)} -IS\n{source}")
    target.chmod(0o755)
    return target
