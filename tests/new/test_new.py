"""`make new`: what is refused, and that every combination of answers gives a service that passes its own checks."""

import re
import sys
import zipfile
from pathlib import Path

import pytest

from keel import new
from keel.new import NewError
from tests.make import make
from tests.new.checks import MakeService, run
from tests.new.snapshots import git
from toolkit.paths import ROOT
from toolkit.process import CommandFailed

ANSWERS: dict[str, dict[str, str]] = {
    "bookings": {},
    "order-intake": {"database": "none", "tokens": "no", "title": "Order intake"},
    "stock": {"tokens": "no", "resource": "articles"},
    "x9": {"database": "none", "resource": "invoices"},
    "tickets": {"cache": "none", "resource": "events", "package": "desk"},
}


def tree(folder: Path) -> list[Path]:
    """The files of a service, without those of git."""
    return [file for file in folder.rglob("*") if file.is_file() and ".git" not in file.relative_to(folder).parts]


@pytest.mark.parametrize("name", ANSWERS)
def test_a_new_service_passes_its_own_checks(name: str, make_service: MakeService) -> None:
    folder = make_service(name, **ANSWERS[name])
    run(folder, "ruff", "check", ".")
    run(folder, "ruff", "format", "--check", ".")
    run(folder, sys.executable, "-m", "mypy")
    assert " passed" in run(folder, sys.executable, "-m", "pytest", "-q")


@pytest.mark.parametrize("name", ANSWERS)
def test_the_chart_takes_its_values(name: str, make_service: MakeService) -> None:
    folder = make_service(name, **ANSWERS[name])
    (folder / ".venv").mkdir()
    said = run(folder, "make", "--silent", "chart", f"CHART={ROOT / 'charts' / 'fastapi-service'}")
    assert said.split() == ["local", "is", "valid", "staging", "is", "valid", "production", "is", "valid"]


def test_no_word_in_it_is_of_the_first_service(make_service: MakeService) -> None:
    folder = make_service("bookings")
    files = {str(file.relative_to(folder)): file.read_bytes() for file in tree(folder)}
    (wheel,) = [name for name in files if name.endswith(".whl")]
    with zipfile.ZipFile(folder / wheel) as archive:
        kit = {name: archive.read(name) for name in archive.namelist()}
    assert len(files) > 25
    assert len(kit) > 100
    # What OpenTelemetry calls links: a span's references to others.
    kit["keel/observability/span_redaction.py"] = kit["keel/observability/span_redaction.py"].replace(
        b"links=span.links", b""
    )
    found = [name for name, text in (files | kit).items() if re.search(rb"links|shipshape", text, re.IGNORECASE)]
    assert found == []


def test_it_names_no_place_of_this_machine(make_service: MakeService, tmp_path: Path) -> None:
    """But for where the template is, which an update asks."""
    folder = make_service("bookings")
    for file in tree(folder):
        if file.name != new.ANSWERS:
            assert str(tmp_path).encode() not in file.read_bytes(), file


def test_its_image_has_no_licence_of_ours(make_service: MakeService) -> None:
    """What licence a service has, its team says."""
    assert not re.search("licenses=|Apache", (make_service("bookings") / "Dockerfile").read_text())


@pytest.mark.parametrize("name", ANSWERS)
def test_each_target_that_it_names_is_there(name: str, make_service: MakeService) -> None:
    folder = make_service(name, **ANSWERS[name])
    targets = set(re.findall(r"(?m)^([a-z-]+):", (folder / "Makefile").read_text()))
    assert {"check", "lock", "run"} <= targets
    for file in tree(folder):
        if file.suffix != ".whl" and file.name != new.ANSWERS:  # that names `make new`, which has written it
            named = set(re.findall(r"(?:`|run: |^ {4})make ([a-z-]+)", file.read_text(), re.M))
            assert named <= targets, file


def test_a_dependency_of_its_own_is_locked(make_service: MakeService) -> None:
    """With hashes, in the versions that the kit is tested with, and without what the image has anyway."""
    folder = make_service("bookings")
    assert "-r /requirements/own.txt" in (folder / "Dockerfile").read_text()
    locked = dict(re.findall(r"(?m)^([a-z]+)==(\S+)", (folder / "requirements" / "dev.txt").read_text()))
    index = folder / "index"
    index.mkdir()
    for name, version in [("starlette", locked["starlette"]), ("httpx", locked["httpx"]), ("httpx", "999.0")]:
        wheel(index, name, version)
    wheel(index, "parcels", "1.2", "starlette", "httpx")
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "uv").symlink_to(Path(sys.executable).parent / "uv")
    project = folder / "pyproject.toml"
    project.write_text(project.read_text().replace("dependencies = []", 'dependencies = ["parcels==1.2"]'))
    run(folder, "env", "UV_NO_INDEX=1", f"UV_FIND_LINKS={index}", "make", "--old-file=.venv", "lock")
    lock = (folder / "requirements" / "own.txt").read_text()
    assert re.findall(r"(?m)^[a-z]\S*", lock) == [f"httpx=={locked['httpx']}", "parcels==1.2"]
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}", lock)) >= 2


def wheel(folder: Path, name: str, version: str, *needs: str) -> None:
    """Write a package that holds nothing but what it says of itself."""
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {need}" for need in needs)]
        archive.writestr(f"{name}-{version}.dist-info/METADATA", "\n".join(["Metadata-Version: 2.1", *lines, ""]))
        archive.writestr(f"{name}-{version}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{name}-{version}.dist-info/RECORD", "")


def test_the_kit_is_locked_by_its_hash(make_service: MakeService) -> None:
    """And two services have the same, byte for byte."""
    locks = [(make_service(name) / new.LOCK).read_text() for name in ("one", "two")]
    assert re.search(r"^\./wheels/fastapi_keel-[0-9.]+-py3-none-any\.whl --hash=sha256:[0-9a-f]{64}$", locks[0], re.M)
    assert locks[0] == locks[1]


def test_what_it_runs_on_is_what_the_kit_is_tested_with(make_service: MakeService) -> None:
    """The kit's files and the locked versions are those of this checkout, so that its tests say the same of both."""
    folder = make_service("bookings")
    (wheel,) = (folder / new.WHEELS).iterdir()
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.startswith("keel/") and not name.endswith("/")]
        for name in names:
            assert archive.read(name) == (ROOT / "kit" / name).read_bytes(), name
    kit = [file for file in (ROOT / "kit" / "keel").rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    assert len(names) == len(kit)
    assert (folder / "requirements" / "app.txt").read_text().endswith((ROOT / "requirements" / "app.txt").read_text())


def test_the_package_alone_makes_one(template: Path, make_service: MakeService, tmp_path: Path) -> None:
    """As a newcomer may run it: nothing of this checkout but the libraries is there."""
    (wheel,) = (make_service("first") / new.WHEELS).iterdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
        (name,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        assert "keel = keel.new:main" in archive.read(name).decode()
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'installed')!r}); from keel.new import main; sys.exit(main())"
    )
    run(tmp_path, sys.executable, "-P", "-c", program, "new", "second", f"--template={template}", "--ref=HEAD")
    assert (tmp_path / "second" / "second" / "main.py").is_file()


def test_it_is_a_repository_to_commit(make_service: MakeService) -> None:
    folder = make_service("bookings")
    assert "?? bookings/" in git(folder, "status", "--porcelain").splitlines()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("", "NAME is '': a service's name has lower-case letters"),
        ("Bookings", "a service's name has lower-case letters"),
        ("9lives", "begins with a letter"),
        ("a-", "does not end with a hyphen"),
        ("a" * 41, "at most 40"),
        ("a_b", "lower-case letters, digits and hyphens"),
        ("../x", "a service's name has"),
        ("json", "a Python package of that name would hide another one"),
        ("class", "a Python package of that name would hide another one"),
        ("keel", "a Python package of that name would hide another one"),
        ("tests", "a Python package of that name would hide another one"),
    ],
)
def test_a_name_that_a_service_cannot_have(name: str, sentence: str, make_service: MakeService, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    with pytest.raises(NewError, match=re.escape(sentence)):
        make_service(name)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ({"database": "oracle"}, "Invalid choice for 'database'"),
        ({"tokens": "maybe"}, "Invalid choice for 'tokens'"),
        ({"resource": "Item"}, "one word of lower-case letters, ending with s"),
        ({"package": "tests"}, "a Python package's name of its own"),
        ({"resource": "bookings"}, "another word than the package's name"),
        ({"colour": "red"}, "The template does not ask for colour"),
    ],
)
def test_an_answer_that_is_none(
    answers: dict[str, str], sentence: str, make_service: MakeService, tmp_path: Path
) -> None:
    before = sorted(tmp_path.iterdir())
    with pytest.raises(NewError, match=sentence):
        make_service("bookings", **answers)
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_that_is_not_empty(make_service: MakeService, tmp_path: Path) -> None:
    mine = tmp_path / "bookings" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(NewError, match=r"is not an empty folder, and nothing was written"):
        make_service("bookings")
    assert (list(mine.parent.iterdir()), mine.read_text()) == ([mine], "mine")


def test_make_says_what_is_wrong() -> None:
    with pytest.raises(CommandFailed, match="NAME is 'Bad Name': a service's name has"):
        make("new", NAME="Bad Name")
