"""Fixtures of the local cluster's tests: nothing of them reaches the user's engine, cache, cluster or checkout."""

import base64
import hashlib
import io
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rich.console import Console

from k8s import __main__ as command_line
from k8s import components, up
from k8s.kind import cluster, host
from k8s.kind.cluster import NODE_PORTS, Cluster
from k8s.platform import apply
from offline import engine
from tests.tools.archive import Archive, serve
from toolkit import apt, paths, process, versions
from toolkit.progress import Progress, Step
from toolkit.versions import Module

VARIABLES = [
    "SHIPSHAPE_IMAGES",
    "CLUSTER",
    "WITHOUT",
    "REGISTRY_PORT",
    *(f"{name.upper()}_PORT" for name in NODE_PORTS),
]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every folder that is written to is the test's own, and no engine answers."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SHIPSHAPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-engine.sock")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.setenv("PATH", os.environ["PATH"])  # taken back where the command line changes it
    monkeypatch.setattr(process, "LOGS", tmp_path / "log")
    for module in (cluster, up):
        monkeypatch.setattr(module, "BUILD", tmp_path / "build")
    for module in (command_line, engine, host):
        monkeypatch.setattr(module, "TOOLS", tmp_path / "build" / "bin")
    engine.buildx.cache_clear()
    yield
    engine.buildx.cache_clear()


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Where the logs of child processes go."""
    return tmp_path / "log"


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """Where the programs that were built are linked from."""
    return tmp_path / "build" / "bin"


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is first on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.fixture
def stand_in(bin_folder: Path, tmp_path: Path) -> Callable[[str, str], None]:
    """Puts a shell script in the place of a program. What it was called with is noted for `calls`."""

    def put(name: str, body: str = "") -> None:
        script = bin_folder / name
        script.write_text(f"#!/bin/sh\nprintf '%s\\n' \"{name} $*\" >> {tmp_path / 'calls'}\n{body}\n")
        script.chmod(0o755)

    return put


@pytest.fixture
def calls(tmp_path: Path) -> Callable[[], list[str]]:
    """The command lines of the stand-ins that ran, in order."""
    file = tmp_path / "calls"
    return lambda: file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def only_stand_ins(bin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the stand-ins, and nothing else on the PATH."""
    monkeypatch.setenv("PATH", str(bin_folder))
    return bin_folder


@pytest.fixture
def said() -> io.StringIO:
    """What `progress` wrote."""
    return io.StringIO()


@pytest.fixture
def progress(said: io.StringIO) -> Iterator[Progress]:
    with Progress(Console(file=said, highlight=False, soft_wrap=True)) as progress:
        yield progress


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What steps show, but for their times, after each change of it."""
    lines: list[str] = []

    def change(step: Step, name: str, value: object) -> None:
        object.__setattr__(step, name, value)
        line = f"{step.done} of {step.total} {step.detail}".rstrip()
        if name in {"done", "total", "detail"} and [line] != lines[-1:]:
            lines.append(line)

    monkeypatch.setattr(Step, "__setattr__", change)
    return lines


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with nothing but the toolchain in it."""
    target = tmp_path / "checkout"
    for package in ("grafana", "k8s", "offline", "toolkit"):
        shutil.copytree(paths.ROOT / package, target / package, ignore=shutil.ignore_patterns("__pycache__"))
    return target


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Every component of the platform, rendered with the upstream manifests by kubectl."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "BUILD", tmp_path_factory.mktemp("build"))
        patch.setenv("PATH", f"{paths.TOOLS}{os.pathsep}{os.environ['PATH']}")
        ports = dict(zip(NODE_PORTS, range(18080, 18080 + len(NODE_PORTS)), strict=True))
        with Progress(Console(file=io.StringIO())) as progress:
            platform = apply.Platform(Cluster("rendered", ports, "node:1"), versions.load(), progress)
            names = [component.name for component in components.load()]
            with ThreadPoolExecutor() as pool:
                return dict(zip(names, pool.map(platform.render, names), strict=True))


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    """The Debian archive that packages are fetched from, whatever the suite."""
    (tmp_path / "archive").mkdir()
    with serve(tmp_path / "archive") as archive:
        monkeypatch.setattr(apt, "sources", lambda _suite: archive.sources)
        yield archive


@pytest.fixture(scope="session")
def module_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Go module cache that all tests share, and nobody else."""
    folder = tmp_path_factory.mktemp("gomodcache")
    yield folder
    subprocess.run(["go", "clean", "-modcache"], check=True, env={**os.environ, "GOMODCACHE": str(folder)})


@pytest.fixture
def publish(
    module_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str, dict[str, str]], Module]:
    """Publishes a module in a proxy of the test's own (https://go.dev/ref/mod#goproxy-protocol).

    Returns it as the lock file would name it.
    """
    proxy = tmp_path / "goproxy"
    monkeypatch.setenv("GOPROXY", f"file://{proxy}")
    monkeypatch.setenv("GOMODCACHE", str(module_cache))
    monkeypatch.setenv("GONOSUMDB", "example.com,k8s.io")  # the public checksum database does not know these

    def put(path: str, version: str, files: dict[str, str]) -> Module:
        folder = proxy / path / "@v"
        folder.mkdir(parents=True, exist_ok=True)
        files = {"go.mod": f"module {path}\n\ngo 1.26.0\n"} | files
        (folder / f"{version}.info").write_text(f'{{"Version": "{version}", "Time": "2026-01-01T00:00:00Z"}}')
        (folder / f"{version}.mod").write_text(files["go.mod"])
        lines = []
        with zipfile.ZipFile(folder / f"{version}.zip", "w") as archive:
            for name, text in sorted(files.items()):
                inside = f"{path}@{version}/{name}"
                archive.writestr(inside, text)
                lines.append(f"{hashlib.sha256(text.encode()).hexdigest()}  {inside}\n")
        whole = hashlib.sha256("".join(lines).encode()).digest()
        return Module(path, version, "h1:" + base64.b64encode(whole).decode())

    return put
