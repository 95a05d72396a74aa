"""Makes a Debian image from the archive that this machine uses, where no registry has one to pull."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from toolkit import apt
from toolkit.process import run

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# As in the slim images; licences stay.
LEFT_OUT = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*")
LICENCES = "/usr/share/doc/*/copyright"


def make(name: str, suite: str, packages: Sequence[str], *, labels: Mapping[str, str], log: str) -> None:
    """Give the engine an image of this name, with the smallest system of the suite and these packages.

    Needs root on Debian. Raises Failure.
    """
    if not shutil.which("mmdebstrap"):
        apt.install(["mmdebstrap"])
    with tempfile.TemporaryDirectory() as work:
        archive = Path(work) / "base.tar"
        # These stay in the image, for what is installed in it.
        settings = {"Acquire::Check-Valid-Until": "false", **apt.PATIENCE, **apt.STRICT}
        argv: list[str | Path] = ["mmdebstrap", "--variant=minbase"]
        argv += [f'--aptopt={name} "{value}"' for name, value in settings.items()]
        argv += [f"--include={','.join(packages)}"] if packages else []
        argv += [f"--dpkgopt=path-exclude={path}" for path in LEFT_OUT] + [f"--dpkgopt=path-include={LICENCES}"]
        run([*argv, suite, archive, *apt.sources(suite)], log=log, env={"SOURCE_DATE_EPOCH": "0"})
        changes = [*(f"LABEL {key}={value}" for key, value in labels.items()), 'CMD ["bash"]', f"ENV PATH={PATH}"]
        run(["docker", "import", *(f"--change={change}" for change in changes), archive, name], log=log)
