"""`make update` in a service: later versions of the template and the kit come into it, and its own changes stay."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from keel import new
from keel.new import NewError
from tests.new.checks import MakeService, run
from tests.new.snapshots import commit, git

# What is changed in the template's repository: a file, what is in it, and what comes in its place.
CHANGES: list[tuple[str, str, str]] = [
    *((f"kit/keel/later_{number}.py", "", f'"""Added by commit {number}."""\n') for number in range(5)),
    ("kit/pyproject.toml", 'version = "0.1.0"', 'version = "0.2.0"'),
    ("Dockerfile", "WORKDIR /srv\n", "WORKDIR /srv\nSTOPSIGNAL SIGTERM\n"),
    ("requirements/app.txt", "alembic==", "# newer\nalembic=="),
    ("requirements/service.txt", "alembic==", "# newer\nalembic=="),
    ("template/Makefile.jinja", "test: $(VENV) ## Its tests", "test: $(VENV) ## All of its tests"),
    ("template/Makefile.jinja", "lint: $(VENV) ## Linter", "lint: $(VENV) ## The linter"),
    ("template/.gitignore.jinja", "build/\n", "build/\ncoverage/\n"),
    ("template/README.md.jinja", "probes and metrics on port 9000\n", "probes and metrics on port 9000 beside it\n"),
    ("template/deploy/common.yaml.jinja", "    memory: 512Mi\n", "    memory: 640Mi\n"),
    ("template/deploy/production.yaml.jinja", "  maxReplicas: 20\n", "  maxReplicas: 30\n"),
    ("template/.github/workflows/ci.yml.jinja", "timeout-minutes: 15", "timeout-minutes: 20"),
    ("template/pyproject.toml.jinja", '"PLR2004"]', '"PLR2004", "PERF401"]'),
    ("template/tests/test_service.py.jinja", '"""What the chart', '"""All that the chart'),
    ("template/.github/workflows/deploy.yml.jinja", "--timeout 10m", "--timeout 12m"),
    ("template/{{ package }}/{{ resource }}/domain.py.jinja", "put together: the plug", "put together, as the plug"),
]
ROUTE = '''

@routing.get(router, "/{name}/length", responses=problems(404))
async def length(name: Name, items: Service) -> int:
    """How many characters the text of an item has."""
    item = await items.store.get(name)
    if item is None:
        raise Problem(404, "There is no such item.")
    return len(item.text)
'''


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text() if file.exists() else ""
    assert old in text, f"{file} has no {old!r}"
    file.write_text(text.replace(old, new, 1) if old else new)


@pytest.fixture
def mine(make_service: Callable[..., Path]) -> Path:
    """A service with changes of its own, committed."""
    folder = make_service("bookings")
    commit(folder, "As it was made")
    routes = folder / "bookings" / "items" / "routes.py"
    routes.write_text(routes.read_text() + ROUTE)
    change(folder / "bookings" / "main.py", "What it does, in a sentence.", "Books rooms.")
    change(folder / "README.md", "# Bookings\n", "# Our bookings\n\nRooms, by the hour.\n")
    change(folder / "deploy" / "production.yaml", "cidr: 10.20.0.0/24", "cidr: 10.99.0.0/24")
    commit(folder, "Ours")
    return folder


def test_twenty_later_commits(mine: Path, template: Path) -> None:
    lock = (mine / new.LOCK).read_text()
    for number, (file, old, later) in enumerate(CHANGES):
        change(template / file, old, later)
        commit(template, f"Later, {number}")
    assert len(CHANGES) == 20
    new.update(mine)  # to what `make update` takes: the newest tag, or HEAD where there is none
    # What is later has come, the kit included.
    assert (mine / new.LOCK).read_text() != lock
    assert "fastapi_keel-0.2.0-" in (mine / new.LOCK).read_text()
    assert [wheel.name for wheel in (mine / new.WHEELS).iterdir()] == ["fastapi_keel-0.2.0-py3-none-any.whl"]
    for file, _, later in CHANGES[6:]:
        name = Path(file.replace("{{ package }}", "bookings").replace("{{ resource }}", "items")).name
        names = {"service.txt": "dev.txt"}.get(name, name.removesuffix(".jinja"))
        (made,) = [each for each in mine.rglob(names) if ".git" not in each.relative_to(mine).parts]
        assert later.split("\n")[-2 if later.endswith("\n") else -1] in made.read_text(), file
    # What is ours has stayed.
    for file, ours in {
        "bookings/items/routes.py": "async def length(",
        "bookings/main.py": "Books rooms.",
        "README.md": "Rooms, by the hour.",
        "deploy/production.yaml": "cidr: 10.99.0.0/24",
    }.items():
        assert ours in (mine / file).read_text()
    assert not any(path.suffix == ".rej" for path in mine.rglob("*"))
    run(mine, "ruff", "check", ".")
    assert " passed" in run(mine, sys.executable, "-m", "pytest", "-q")


def test_a_conflict_is_named_and_nothing_is_lost(mine: Path, template: Path) -> None:
    change(template / "template" / "README.md.jinja", "# {{ title }}\n", "# The service {{ title }}\n\nTheirs.\n")
    commit(template, "Where ours is")
    with pytest.raises(NewError, match=r"Both you and the template changed README\.md: resolve the conflicts"):
        new.update(mine, "HEAD")
    text = (mine / "README.md").read_text()
    assert "Rooms, by the hour." in text
    assert "Theirs." in text


def test_uncommitted_changes_are_safe(mine: Path) -> None:
    change(mine / "README.md", "Rooms", "Halls")
    with pytest.raises(NewError, match=r"has changes that are not committed, and nothing was written"):
        new.update(mine, "HEAD")
    assert git(mine, "status", "--porcelain") == "M README.md"


def test_what_was_not_made_by_it(tmp_path: Path) -> None:
    with pytest.raises(NewError, match=r"it was not made by `keel new`"):
        new.update(tmp_path)


def test_a_service_that_is_in_no_repository(make_service: MakeService) -> None:
    folder = make_service("bookings")
    subprocess.run(["rm", "-r", folder / ".git"], check=True)
    with pytest.raises(NewError, match=r"is not a git repository: run `git init`"):
        new.update(folder)
