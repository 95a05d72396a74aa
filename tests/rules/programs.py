"""Where the real promtool, Prometheus and amtool come from: the PATH, or else Debian, unpacked beside the system."""

import functools
import shutil
import subprocess
from pathlib import Path

import pytest

from k8s.kind.unpacked import Unpacked

# The suite, and so the versions, of the local cluster's images.
PACKAGES = Unpacked("prometheus", "forky", ("prometheus", "promtool", "prometheus-alertmanager", "libc6", "libgcc-s1"))


PROGRAMS = ("promtool", "prometheus", "prometheus-alertmanager", "amtool")


def there() -> bool:
    return all(map(PACKAGES.command, PROGRAMS))


def obtain() -> None:
    """Fetch them if one is missing and we can. Takes some 10 s."""
    for program in PROGRAMS:
        PACKAGES.obtain(program)


@functools.cache
def command(program: str) -> list[str]:
    """The command that runs one of them; the test fails where there is none."""
    found = PACKAGES.obtain(program)
    if found is None:
        pytest.fail(f"{program} is not on the PATH: install Prometheus and Alertmanager", pytrace=False)
    return found


def alertmanager() -> list[str]:
    """The command that runs Alertmanager. Debian's reads its templates from /usr/share, so it gets one of its own."""
    if found := shutil.which("alertmanager"):
        return [found]
    argv = command("prometheus-alertmanager")
    if not Path(argv[-1]).is_relative_to(PACKAGES.folder):
        return argv
    private = 'mount --bind "$0" /usr/share && exec "$@"'
    return ["unshare", "--mount", "--map-root-user", "sh", "-c", private, str(PACKAGES.folder / "usr/share"), *argv]


def run(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    argv = [*command(program), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=100, check=False)
