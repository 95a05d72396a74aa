"""`migrate --new`, in a copy of the probe whose table has changed."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from toolkit.paths import ROOT

COLUMNS = """    Column("made_at", Timestamp, nullable=False),
"""


class Copy:
    """The probe in a folder of its own, from where it is run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.probe = folder / "tests" / "probe"
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "tests" / "probe", self.probe, ignore=ignored)
        (folder / "tests" / "__init__.py").touch()
        shutil.copy(ROOT / "pyproject.toml", folder)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        environment = {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": f"{self.folder}{os.pathsep}{ROOT / 'kit'}",
            "APP_DATABASE_URL": f"sqlite:///{self.folder}/things.db",
        }
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=self.folder, env=environment, check=False, capture_output=True, text=True)

    def migrate(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return self.run("-m", "tests.probe", "migrate", *arguments)

    @property
    def columns(self) -> list[str]:
        with closing(sqlite3.connect(self.folder / "things.db")) as connection:
            return [row[1] for row in connection.execute("PRAGMA table_info(things)")]


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def test_it_is_written_passes_the_linters_and_goes_there_and_back(copy: Copy) -> None:
    assert copy.migrate().returncode == 0
    before = copy.columns
    code = (copy.probe / "domain.py").read_text()
    more = COLUMNS + '    Column("seen_at", Timestamp),\n    Column("size", Integer, index=True),\n'
    assert COLUMNS in code
    code = code.replace(COLUMNS, more).replace("import Column, String", "import Column, Integer, String")
    (copy.probe / "domain.py").write_text(code)

    done = copy.migrate("--new", "When it was seen, and its size")
    assert done.returncode == 0, done.stdout + done.stderr
    file = Path(done.stdout.splitlines()[-1])
    assert file == copy.probe / "migrations" / "0003_when_it_was_seen_and_its_size.py"
    text = file.read_text()
    assert text.startswith('"""When it was seen, and its size"""\n')
    assert 'works_from = "0002"' in text
    for command in (["check"], ["format", "--check"]):
        ruff = copy.run("-m", "ruff", *command, str(file))
        assert ruff.returncode == 0, ruff.stdout + text

    applied = copy.migrate()
    assert applied.returncode == 0, applied.stdout
    assert copy.columns == [*before, "seen_at", "size"]
    assert "there is nothing to write" in copy.migrate("--new", "again").stderr
    back = copy.run(
        "-c",
        "import asyncio\n"
        "from alembic import command\n"
        "from keel.data import migrate\n"
        "from keel.data.database_engine import create_engine\n"
        "from tests.probe.main import SERVICE\n"
        "async def back():\n"
        "    settings = SERVICE.settings()\n"
        "    engine = create_engine(settings)\n"
        "    async with engine.connect() as connection:\n"
        "        down = lambda sync: command.downgrade(migrate.alembic_config(sync, settings.product), '0002')\n"
        "        await connection.run_sync(down)\n"
        "    await engine.dispose()\n"
        "asyncio.run(back())\n",
    )
    assert back.returncode == 0, back.stderr
    assert copy.columns == before


def test_where_nothing_has_changed_nothing_is_written(copy: Copy) -> None:
    done = copy.migrate("--new", "nothing")
    assert done.returncode == 1
    assert done.stderr == "The migrations already make the tables as they are: there is nothing to write.\n"
    written = sorted(file.name for file in (copy.probe / "migrations").glob("*.py"))
    assert written == ["0001_things.py", "0002_tasks.py"]


def test_the_first_one_of_a_service(copy: Copy) -> None:
    """It has nothing before it whose code could work with it."""
    shutil.rmtree(copy.probe / "migrations")
    (copy.probe / "migrations").mkdir()
    written = copy.migrate("--new", "Things")
    assert written.returncode == 0, written.stdout + written.stderr
    applied = copy.migrate()
    assert applied.returncode == 0, applied.stdout + applied.stderr
    assert copy.columns == ["name", "owner", "made_at"]
    assert copy.migrate().returncode == 0
