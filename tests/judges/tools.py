"""The judges' programs, built or fetched when the cache lacks them: `python -m tests.judges.tools`."""

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache as once
from pathlib import Path
from typing import Any

import yaml

from delivery import tools as delivery
from requirements.install import install
from tests.chart.helm import helm_program
from toolkit import versions as cluster
from toolkit.exclusive import exclusive_run
from toolkit.paths import ROOT, cache
from toolkit.process import Failure, run
from toolkit.programs import GO_ENV, Programs, digest, module_dir
from toolkit.progress import Progress
from toolkit.versions import Module, Program, Versions

LOCK_FILE = Path(__file__).with_name("lock.yaml")
REQUIREMENTS = ROOT / "requirements" / "judges.txt"
PYTHON = {"bandit": "bandit", "checkov": "checkov.main"}  # the modules that are run
TIMEOUT = 300  # seconds: on a machine that is busy with other things, too
KUBERNETES = "k8s.io/kubernetes"


@once
def raw() -> dict[str, Any]:
    """The judges' lock file as it is written."""
    content: dict[str, Any] = yaml.safe_load(LOCK_FILE.read_text(encoding="utf-8"))
    return content


def versions() -> list[str]:
    """The versions of Kubernetes to judge by, the oldest first."""
    return sorted(_kubernetes(), key=lambda version: [int(number) for number in version.removeprefix("v").split(".")])


def kubernetes(version: str) -> Path:
    """Where the files of a version of Kubernetes lie."""
    return module_dir(Module(KUBERNETES, version, _kubernetes()[version]))


def _kubernetes() -> dict[str, str]:
    """Each version's checksum; the local cluster's is in its own lock file."""
    own = cluster.load().modules[KUBERNETES]
    return {**raw()["kubernetes"], own.version: own.sum}


def definitions() -> list[Path]:
    """Files with the definitions of custom resources."""
    modules = {**cluster.load().modules, **lock().modules}
    return [module_dir(modules[path]) / file for path, files in raw()["definitions"].items() for file in files]


def examples() -> Iterator[bytes]:
    """Definitions of the custom resources in the examples of GitOps and of policies."""
    for path, files in raw()["examples"].items():
        with zipfile.ZipFile(archive(lock().modules[path])) as content:
            for file in files:
                yield content.read(f"{path}@{lock().modules[path].version}/{file}")


def archive(module: Module) -> Path:
    """A module's archive, downloaded and verified as `module_dir` does; one that wants a newer Go is there, too."""
    download = ["go", "mod", "download", "-json", f"{module.path}@{module.version}"]
    done = subprocess.run(download, capture_output=True, text=True, check=False, env={**os.environ, **GO_ENV})
    about = json.loads(done.stdout or "{}")
    if "Zip" not in about:
        raise Failure(f"{module.path} {module.version} could not be downloaded: {about.get('Error') or done.stderr}")
    if about["Sum"] != module.sum:
        raise Failure(f"{module.path} {module.version} has the checksum {about['Sum']}, not that of the lock file.")
    return Path(about["Zip"])


@once
def lock() -> Versions:
    """What the judges are made of, in the form of the cluster's lock."""
    return Versions(
        modules={path: Module(path=path, **entry) for path, entry in raw()["modules"].items()},
        programs={
            name: Program(name=name, **{**entry, "packages": tuple(entry.get("packages", ()))})
            for name, entry in raw()["programs"].items()
        },
        tools={},
        base={},
        images=(),
        manifests={},
    )


class Tools:
    """The judges' programs, in the cache."""

    def __init__(self, home: Path, progress: Progress) -> None:
        self.home = home
        self.progress = progress
        self.programs = Programs(lock(), progress)

    def obtain(self) -> None:
        """Build and fetch what is missing, and the schemas' sources. Raises Failure."""
        with exclusive_run(cache() / "judges.lock"):
            wanted = sorted(lock().programs.values(), key=lambda each: -each.seconds)
            with ThreadPoolExecutor(max_workers=2) as pool:
                fetched = pool.submit(self._fetch)
                for made in [pool.submit(self.programs.ensure, each) for each in wanted]:
                    made.result()
                delivery.program("trivy", self.progress)
                fetched.result()

    def run(self, program: str, *arguments: str | Path, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
        """Run a judge to its end, whatever it says. It knows nothing of this machine's clusters and settings."""
        if program in PYTHON:
            argv: list[str | Path] = [self._venv() / "bin" / "python", "-m", PYTHON[program]]
        elif program == "trivy":
            argv = [delivery.program("trivy", self.progress)]
        else:
            argv = [helm_program() if program == "helm" else self.programs.path(program)]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "LANG": "C.UTF-8", "NO_COLOR": "1"}
        return subprocess.run(
            [*argv, *arguments],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
            cwd=cwd or self.home,
            env=environment,
        )

    def _fetch(self) -> None:
        if not self._venv().exists():
            self._make_venv()
        with self.progress.step("fetch the schemas of Kubernetes and of custom resources", 20):
            for version in versions():
                kubernetes(version)
            definitions()
            for path in raw()["examples"]:
                archive(lock().modules[path])

    def _venv(self) -> Path:
        """The environment of checkov and bandit: their hundred dependencies must not mix with ours."""
        version = ".".join(map(str, sys.version_info[:3]))
        return cache() / "programs" / f"judges-{digest(REQUIREMENTS.read_bytes(), version, sys.base_prefix)}"

    def _make_venv(self) -> None:
        folder = self._venv()
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (
            self.progress.step("fetch checkov and bandit", 40),
            tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as temporary,
        ):
            made = Path(temporary) / "venv"
            run([sys.executable, "-m", "venv", made], log="judges-python")
            install(REQUIREMENTS, made, log="judges-python")
            made.rename(folder)  # it is run by its Python alone, which finds itself


def main() -> int:
    with Progress() as progress, tempfile.TemporaryDirectory() as home:
        try:
            Tools(Path(home), progress).obtain()
        except Failure as error:
            progress.say(str(error))
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
