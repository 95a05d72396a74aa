"""Where the real promtool, Prometheus, Alertmanager and VictoriaLogs come from: the local cluster's images.

One of the PATH will do if it says the same version. `python -m tests.rules.programs` obtains them.
"""

import functools
import shutil
import subprocess
import sys
from pathlib import Path

from toolkit import apt, versions
from toolkit.packages import Verdict, version_in
from toolkit.process import Failure, output
from toolkit.programs import Programs, module_dir
from toolkit.progress import Progress

PROGRAMS = ("promtool", "prometheus", "alertmanager", "amtool", "victoria-logs")
# Debian's Alertmanager reads its templates from /usr/share, so it gets one of its own.
WITH_TEMPLATES = """
mount -t tmpfs tmpfs /usr/share && mkdir /usr/share/prometheus && ln -s "$0" /usr/share/prometheus/alertmanager
exec "$@"
"""


def there() -> bool:
    return all(_on_path(program) or _programs().path(program).exists() for program in PROGRAMS)


def obtain() -> None:
    """Fetch or build those that are missing. Takes some 10 s where Debian has their version, else minutes."""
    for program in PROGRAMS:
        command(program)


@functools.cache
def command(program: str) -> list[str]:
    """The command that runs one of them. Raises Failure."""
    if found := _on_path(program):
        return [found]
    programs = _programs()
    programs.ensure(programs.versions.program_of(program))
    return [str(programs.path(program))]


def alertmanager() -> list[str]:
    """The command that runs Alertmanager."""
    found = command("alertmanager")
    if _on_path("alertmanager") or not apt.may_install():
        return found
    templates = module_dir(versions.load().modules["github.com/prometheus/alertmanager"]) / "template"
    return ["unshare", "--mount", "--map-root-user", "sh", "-ec", WITH_TEMPLATES, str(templates), *found]


def run(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    argv = [*command(program), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=100, check=False)


@functools.cache
def _programs() -> Programs:
    return Programs(versions.load(), Progress())


@functools.cache
def _on_path(program: str) -> str | None:
    group = versions.load().packages.get(versions.load().program_of(program).name)
    if group is None:  # Debian has none, and so no versions by which one would do
        return None
    found = shutil.which(program)
    try:
        version = version_in(output([found, "--version"])) if found else ""
    except Failure:
        return None
    return found if all(held.judge(version) is Verdict.TRIED for held in group.held.values()) else None


def main() -> int:
    try:
        obtain()
    except Failure as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
