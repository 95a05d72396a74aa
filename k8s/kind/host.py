"""What this host is, what it lacks, and the command that mends it."""

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from offline import engine
from offline.sources import Source
from toolkit import apt, ports
from toolkit.paths import TOOLS, cache
from toolkit.process import Failure, output
from toolkit.programs import Programs, link
from toolkit.progress import Progress
from toolkit.versions import Tool, Versions

GIB = 2**30
# Go keeps 9 GiB of compiled packages and 4 of sources, the images are 3, the engine takes 10 for three nodes.
DISK_TO_BUILD, DISK_TO_PULL = 28, 12  # GiB
MEMORY = 6  # GiB; the cluster takes about 3
INOTIFY = {
    "max_user_instances": 512,
    "max_user_watches": 524288,
}  # each node's kubelet and containerd take some
GO = (1, 26)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what is there, or what is missing and the command that mends it."""

    ok: bool
    what: str
    fix: str = ""


def cgroup_v1() -> bool:
    """Whether this Linux host has only the first version of control groups, which kubelet refuses unless told."""
    return sys.platform == "linux" and not Path("/sys/fs/cgroup/cgroup.controllers").exists()


def may_lower_oom_score() -> bool:
    return sys.platform != "linux" or engine.has_sys_resource()


def examine(versions: Versions, source: Source, published: Iterable[int] = ()) -> list[Finding]:
    """Everything `make up` needs, in the order in which one would mend it."""
    findings = [_system(), _go(), _engine(source), *_inotify(), _disk(source), _memory()]
    if source is Source.PULL:
        findings += [_tool(tool) for tool in versions.tools.values()]
    taken = [port for port in published if ports.is_taken(port)]
    findings += [Finding(False, f"Port {p} of 127.0.0.1 is taken.", f"ss -ltnp 'sport = :{p}'") for p in taken]
    return findings


def mend(progress: Progress) -> None:
    """What can be mended without asking, as root: the limits of inotify."""
    for name, least in INOTIFY.items():
        file = Path("/proc/sys/fs/inotify") / name
        if file.exists() and int(file.read_text()) < least and os.geteuid() == 0:
            progress.say(f"  set fs.inotify.{name} to {least} (was {file.read_text().strip()})")
            file.write_text(str(least))


def require(findings: list[Finding]) -> None:
    """Raise Failure with a sentence for each finding that is not all right."""
    missing = [f for f in findings if not f.ok]
    if missing:
        lines = [f"- {f.what}{f' Mend it with: {f.fix}' if f.fix else ''}" for f in missing]
        raise Failure("This host is not ready:\n" + "\n".join(lines))


def provide_tools(versions: Versions, programs: Programs) -> None:
    """Put kind, kubectl and helm in the wanted versions first on the PATH: the host's own, or those that were built."""
    for tool in versions.tools.values():
        own = _found(tool)
        if own is None:
            path = programs.path(tool.name)
            if not path.exists():
                raise Failure(f"{tool.name} {tool.version} was not built: this is a mistake in images.lock.yaml.")
            link(path, TOOLS / tool.name)
        else:
            (TOOLS / tool.name).unlink(missing_ok=True)


def missing_tools(versions: Versions) -> list[str]:
    return [t.name for t in versions.tools.values() if _found(t) is None]


def _found(tool: Tool) -> str | None:
    """The version of a tool of the host's own that will do. One that we linked does not count."""
    elsewhere = os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if Path(p) != TOOLS)
    path = shutil.which(tool.name, path=elsewhere)
    if path is None:
        return None
    arguments = {
        "kind": ["version", "-q"],
        "kubectl": ["version", "--client"],
        "helm": ["version", "--short"],
    }[tool.name]
    try:
        said = output([path, *arguments])
    except Failure:
        return None
    version = re.search(r"v?(\d+\.\d+(\.\d+)?)", said)
    found = f"v{version.group(1)}" if version else ""
    return found if re.match(tool.match, found) else None


def _system() -> Finding:
    if sys.platform not in {"linux", "darwin"}:
        return Finding(False, f"{platform.system()} is not supported.", "use Linux, macOS, or Linux under WSL 2")
    return Finding(True, f"{platform.system()} {platform.release()}, Python {platform.python_version()}")


def _go() -> Finding:
    fix = "install Go from https://go.dev/dl/"
    if not shutil.which("go"):
        return Finding(False, "Go is missing: it builds programs and fetches upstream manifests.", fix)
    said = output(["go", "env", "GOVERSION"], env={"GOTOOLCHAIN": "local"}).strip()
    numbers = tuple(int(n) for n in re.findall(r"\d+", said)[:2])
    if numbers < GO:
        return Finding(False, f"Go is {said}, but {'.'.join(map(str, GO))} or newer is needed.", fix)
    if output(["go", "env", "GOSUMDB"], env={"GOTOOLCHAIN": "local"}).strip() == "off":
        return Finding(
            False,
            "Go's checksum database is switched off, so nothing verifies what is built.",
            "go env -u GOSUMDB",
        )
    return Finding(True, f"Go {said.removeprefix('go')}")


def _engine(source: Source) -> Finding:
    if engine.answers():
        version = output(["docker", "version", "--format", "{{.Server.Version}}"]).strip()
        if source is Source.BUILD and not (apt.may_install() or shutil.which("mmdebstrap")):
            return Finding(
                False,
                "No image registry answers, and images can be built only on Debian as root.",
                "sudo make up",
            )
        return Finding(True, f"Docker engine {version}")
    if os.environ.get("DOCKER_HOST"):
        what = f"No engine answers at DOCKER_HOST={os.environ['DOCKER_HOST']}."
        return Finding(False, what, "start it, or unset DOCKER_HOST")
    if apt.may_install():
        return Finding(True, "No Docker engine answers; one can be started, or installed from Debian's packages")
    return Finding(False, "No Docker engine answers.", "start Docker, or run as root on Debian")


def _inotify() -> list[Finding]:
    low = []
    for name, least in INOTIFY.items():
        file = Path("/proc/sys/fs/inotify") / name
        if file.exists() and int(file.read_text()) < least and os.geteuid() != 0:
            what = f"fs.inotify.{name} is {file.read_text().strip()}, too few for three nodes."
            low.append(Finding(False, what, f"sudo sysctl -w fs.inotify.{name}={least}"))
    return low


def _disk(source: Source) -> Finding:
    need = DISK_TO_BUILD if source is Source.BUILD else DISK_TO_PULL
    if (cache() / "registry").exists() and (cache() / "programs").exists():
        need = DISK_TO_PULL  # what takes the room is there already
    for place in (cache(), Path("/var/lib/docker")):
        if place.exists():
            free = shutil.disk_usage(place).free / GIB
            if free < need:
                return Finding(False, f"{place} has {free:.1f} GiB free, but {need} are needed.", f"df -h {place}")
    return Finding(True, f"at least {need} GiB free on the disk")


def _memory() -> Finding:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return Finding(True, "memory unknown")
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
    if total < MEMORY:
        return Finding(False, f"This host has {total:.1f} GiB of memory, but the cluster needs {MEMORY}.")
    return Finding(True, f"{total:.0f} GiB of memory, {os.cpu_count()} cores")


def _tool(tool: Tool) -> Finding:
    version = _found(tool)
    if version:
        return Finding(True, f"{tool.name} {version}")
    module = {"kind": "sigs.k8s.io/kind", "helm": "helm.sh/helm/v4/cmd/helm"}.get(tool.name)
    fix = f"go install {module}@{tool.version}" if module else "see https://kubernetes.io/docs/tasks/tools/"
    return Finding(False, f"{tool.name} {tool.match}x is missing.", fix)
