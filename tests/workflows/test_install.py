"""What requirements/install.py does, with the oldest pip that is supported: the one that comes with Python 3.11.0."""

import hashlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from toolkit import reasons
from toolkit.paths import ROOT, cache
from toolkit.process import run, succeeds
from toolkit.programs import digest

OLDEST_PIP = "22.3"
OLDEST_PIP_PIN = f"pip=={OLDEST_PIP} --hash=sha256:1daab4b8d3b97d1d763caeb01a4640a2250a0ea899e257b1e44b9eded91e15ab\n"
WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any"
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PIP = [sys.executable, "-I", "-m", "pip", "--quiet"]

pytestmark = pytest.mark.skipif(sys.version_info >= (3, 12), reason=f"pip {OLDEST_PIP} does not run on this Python")


@pytest.fixture(scope="session")
def oldest_pip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the oldest pip in it."""
    folder = tmp_path_factory.mktemp("pip")
    (folder / "pin.txt").write_text(OLDEST_PIP_PIN)
    what = ["--no-deps", "--require-hashes", f"--requirement={folder}/pin.txt"]
    run([*PIP, "install", "--no-compile", "--target", folder, *what], log="oldest-pip")
    return folder


@pytest.fixture
def environment(tmp_path: Path, oldest_pip: Path) -> Path:
    """A new virtual environment, which has that pip."""
    venv.create(tmp_path / "venv", symlinks=True)
    (packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (packages / "pip.pth").write_text(f"{oldest_pip}\n")
    return tmp_path / "venv"


def install(
    environment: Path, lock: Path, index: str, *, inside: Iterable[str | Path] = (), **settings: str
) -> "subprocess.CompletedProcess[str]":
    """Run the installer. pip has no settings but these, each an option by its name."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    settings |= {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": index}
    return subprocess.run(
        [*inside, sys.executable, "-m", "requirements.install", lock, environment],
        capture_output=True,
        text=True,
        check=False,
        env=ours | settings,
        timeout=60,
    )


def wheel(folder: Path, name: str, version: str = "1", requires: Iterable[str] = (), content: str = "") -> Path:
    """Make a distribution of its metadata and one file, which is installed as VENV/data/file."""
    stem = f"{re.sub(r'[-_.]+', '_', name).lower()}-{version}"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}", *(f"Requires-Dist: {r}" for r in requires)]
    files = {"METADATA": "\n".join(metadata), "WHEEL": WHEEL, "RECORD": f"{stem}.dist-info/RECORD,,"}
    made = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(made, "w") as archive:
        for file, text in files.items():
            archive.writestr(f"{stem}.dist-info/{file}", f"{text}\n")
        archive.writestr(f"{stem}.data/data/data/file", content)
    return made


def write_lock(file: Path, *wheels: Path, more: str = "") -> Path:
    """Make a lock that lists these files."""
    for wheel in wheels:
        name, version, *_ = wheel.name.split("-")
        more += f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"
    file.write_text(more)
    return file


def index(folder: Path, wheels: Iterable[Path], server: str = "") -> str:
    """Make a package index (PEP 503) that offers these files, or says that the server has them; returns its URL."""
    for file in wheels:
        url = f"{server}/{file.name}" if server else file.as_uri()
        page = folder / "index" / re.sub(r"[-_.]+", "-", file.name.split("-")[0]).lower() / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        with page.open("a") as text:
            text.write(f'<!DOCTYPE html><a href="{url}">{file.name}</a>\n')
    return (folder / "index").as_uri()


def locked_wheels(lock: Path) -> Iterable[Path]:
    """The files that a lock lists, downloaded once for each version of it."""
    folder = cache() / "wheels" / f"{lock.stem}-{digest(lock.read_bytes(), sys.version)}"
    folder.parent.mkdir(exist_ok=True)
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as temporary:
            what = ["--no-deps", "--require-hashes", "--only-binary=:all:", f"--requirement={lock}"]
            run([*PIP, "download", "--dest", f"{temporary}/whole", *what], log="locked-wheels")
            (Path(temporary) / "whole").rename(folder)
    return folder.iterdir()


@pytest.mark.timeout(600)  # the first time it downloads
@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_newer_releases_change_nothing(lock: Path, environment: Path, tmp_path: Path) -> None:
    """The index offers a newer release of each distribution, and one distribution requires an extra of each other one.

    Before 23.3, pip that resolves does not take the lock's `name==1` for `name[extra]`: it takes the newest release.
    """
    names = re.findall(r"^([\w.-]+)==", lock.read_text(encoding="utf-8"), re.MULTILINE)
    newer = [wheel(tmp_path, name, "9999") for name in names]
    wants_extras = wheel(tmp_path, "wants-extras", requires=[f"{name}[extra]" for name in names])
    ours = write_lock(tmp_path / lock.name, wants_extras, more=lock.read_text(encoding="utf-8"))
    offered = index(tmp_path, [*locked_wheels(lock), *newer, wants_extras])
    done = install(environment, ours, offered, PIP_DRY_RUN="1")
    assert done.returncode == 0, done.stderr


@pytest.fixture
def silent_server() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_installs_the_lock_and_finds_it_complete(environment: Path, tmp_path: Path) -> None:
    asks, asked = wheel(tmp_path, "asks", requires=["asked[extra]>=1"]), wheel(tmp_path, "asked")
    lock = write_lock(tmp_path / "lock.txt", asks, asked)
    done = install(environment, lock, index(tmp_path, [asks, asked, wheel(tmp_path, "asked", "9999")]))
    assert done.returncode == 0, done.stderr
    found = {each.name for each in environment.glob("lib/python*/site-packages/*.dist-info")}
    assert found == {"asks-1.dist-info", "asked-1.dist-info"}


def test_says_what_a_lock_lacks(environment: Path, tmp_path: Path) -> None:
    asks, asked = wheel(tmp_path, "asks", requires=["asked"]), wheel(tmp_path, "asked")
    lock = write_lock(tmp_path / "lock.txt", asks)
    done = install(environment, lock, index(tmp_path, [asks, asked]))
    assert done.returncode == 1
    assert done.stderr == (
        f"{lock} does not list all that is needed:\nasks 1 requires asked, which is not installed.\n"
        "Take it from git again, or resolve it anew: `make lock`.\n"
    )


def test_refuses_another_file(environment: Path, tmp_path: Path) -> None:
    file = wheel(tmp_path, "one")
    lock = write_lock(tmp_path / "lock.txt", file)
    wheel(tmp_path, "one", requires=["another"])
    done = install(environment, lock, index(tmp_path, [file]))
    assert done.returncode == 1
    assert done.stderr.startswith("What came in has another checksum than the locked one, and is not used.")


def test_says_that_the_index_does_not_offer_a_release(environment: Path, tmp_path: Path) -> None:
    """Nor is a source distribution a release: what builds it is in no lock."""
    lock = write_lock(tmp_path / "lock.txt", wheel(tmp_path, "one"))
    source = tmp_path / "one-1.tar.gz"
    source.write_bytes(b"")
    done = install(environment, lock, index(tmp_path, [source, wheel(tmp_path, "one", "2")]))
    assert done.returncode == 1
    assert done.stderr.startswith("The package index does not have what is locked,")


def test_says_that_the_index_cannot_be_reached(environment: Path, tmp_path: Path, silent_server: str) -> None:
    """Where nobody listens; and where the index answers, but not the server of its files."""
    file = wheel(tmp_path, "one")
    lock = write_lock(tmp_path / "lock.txt", file)
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = f"http://127.0.0.1:{server.getsockname()[1]}"
    for url in (nobody, index(tmp_path, [file], silent_server)):
        done = install(environment, lock, url, PIP_RETRIES="1", PIP_DEFAULT_TIMEOUT="0.2")
        assert done.returncode == 1
        assert done.stderr.startswith(reasons.NETWORK)


def test_says_that_the_disk_is_full(environment: Path, tmp_path: Path) -> None:
    file = wheel(tmp_path, "one", content="much " * 10_000)
    lock = write_lock(tmp_path / "lock.txt", file)
    data = environment / "data"
    data.mkdir()
    # In namespaces of its own a process may mount a file system, which is gone with it.
    inside = ["unshare", "--map-root-user", "--mount", "sh", "-c", 'mount -t tmpfs -o size=4k tmpfs "$0" && exec "$@"']
    if not succeeds([*inside, data, "true"]):
        pytest.skip("no file system can be mounted here")
    done = install(environment, lock, index(tmp_path, [file]), inside=[*inside, data])
    assert done.returncode == 1
    assert done.stderr.startswith("The disk is full.")


@pytest.mark.parametrize("file", ["CONTRIBUTING.md", "docs/supply-chain.md"])
def test_the_documentation_names_the_oldest_pip(file: str) -> None:
    assert OLDEST_PIP in (ROOT / file).read_text(encoding="utf-8")
