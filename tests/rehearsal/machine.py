"""A fresh Debian 12 in a container, which has an engine of its own and leaves nothing behind."""

import secrets
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from offline import bootstrap, sources
from toolkit import apt
from toolkit.process import Failure, output, run, succeeds
from toolkit.progress import Progress

SUITE = "bookworm"
PULLED = "docker.io/library/debian:bookworm-slim"
LABEL = "shipshape=rehearsal"
LOG = "rehearsal"
HOURS = 3
# The engine cannot have its layers on those of another one; and there is more room outside of them.
VOLUMES = ("/var/lib/docker", "/root")
# With the second version of control groups, the engine inside can make groups only below a group without processes:
# https://docs.kernel.org/admin-guide/cgroup-v2.html#no-internal-process-constraint
# With both versions mounted, runc makes a group of the second version for each container only where it finds that one
# mounted, too. Without, the nodes inside share one, and the kubelets of all but the first do not start.
# It ends by itself, should nobody be left to remove it.
FIRST_PROCESS = f"""\
cd /sys/fs/cgroup
if [ -f cgroup.controllers ]; then
  mkdir -p first
  for process in $(cat cgroup.procs); do echo "$process" > first/cgroup.procs 2>/dev/null || true; done
  for controller in $(cat cgroup.controllers); do echo "+$controller" > cgroup.subtree_control || true; done
elif grep -q "^0::" /proc/self/cgroup; then
  mkdir -p unified
  mount -t cgroup2 cgroup2 unified
fi
exec sleep {HOURS}h
"""


@dataclass(frozen=True)
class Machine:
    """A running machine, by its container's name."""

    name: str
    environment: Mapping[str, str]

    def command(self, *argv: str, folder: str = "/root") -> list[str]:
        """The command of the host that runs a command there, with the machine's own variables and no others."""
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        return ["docker", "exec", "--interactive", "--workdir", folder, self.name, "env", "-i", *variables, *argv]

    def output(self, *argv: str, folder: str = "/root") -> str:
        return output(self.command(*argv, folder=folder))

    def has(self, path: str) -> bool:
        return succeeds(self.command("test", "-e", path))

    def write(self, file: str, text: str) -> None:
        output(self.command("sh", "-c", 'cat > "$0"', file), stdin=text)

    def copy_in(self, source: Path, target: str) -> None:
        """Copy a file or a folder of the host into the machine, where it is root's."""
        run(["docker", "cp", "--quiet", source, f"{self.name}:{target}"], log=LOG)

    def copy_out(self, source: str, target: Path) -> None:
        run(["docker", "cp", "--quiet", f"{self.name}:{source}", target], log=LOG)


def source() -> sources.Source:
    """Whether the machine's image is pulled or made."""
    return sources.decide(["docker.io"])


@contextmanager
def fresh(
    origin: sources.Source, goroot: Path, environment: Mapping[str, str], progress: Progress
) -> Iterator[Machine]:
    """A machine with nothing on it but Debian, and Go from the host. Whatever happens, it is removed at the end."""
    name = f"shipshape-rehearsal-{secrets.token_hex(4)}"
    try:
        image = _image(origin, name, progress)
        argv: list[str | Path] = ["docker", "run", "--detach", "--privileged", "--init", "--name", name]
        # The default with the second version of control groups. The machine's own group is the root of what is inside.
        argv += ["--cgroupns=private", "--hostname", "newcomer", "--label", LABEL]
        argv += [f"--volume={path}" for path in VOLUMES]
        argv += [f"--volume={goroot}:/usr/local/go:ro", image, "sh", "-c", FIRST_PROCESS]
        run(argv, log=LOG)
        yield Machine(name, environment)
    finally:
        with _uninterrupted(), progress.step("remove the machine"):
            _remove(name)


def _image(origin: sources.Source, name: str, progress: Progress) -> str:
    """The name of the machine's image: a pulled one, or one that is made now and removed with the machine."""
    if origin is sources.Source.PULL:
        with progress.step(f"pull {PULLED}"):
            run(["docker", "pull", "--quiet", PULLED], log=LOG)
        return PULLED
    if not apt.may_install():
        raise Failure("No image registry answers, and a Debian image can be made only on Debian as root.")
    with progress.step(f"make a Debian image ({SUITE})", 30):
        key, _, value = LABEL.partition("=")
        bootstrap.make(f"{name}:latest", SUITE, [], labels={key: value}, log=LOG)
    return f"{name}:latest"


def _remove(name: str) -> None:
    """The container with its volumes, and the image that was made for it."""
    if succeeds(["docker", "container", "inspect", name]):
        run(["docker", "rm", "--force", "--volumes", name], log=LOG)
    if succeeds(["docker", "image", "inspect", f"{name}:latest"]):
        run(["docker", "image", "rm", f"{name}:latest"], log=LOG)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Another Ctrl-C does not keep the end from being tidy."""
    before = {each: signal.signal(each, signal.SIG_IGN) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
