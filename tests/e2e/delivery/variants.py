"""Releases of the service, good and bad: each is the checkout with a change, as a merged mistake would be one."""

import shutil
from collections.abc import Callable
from pathlib import Path

from app import __version__
from toolkit.paths import ROOT

PRESENT, NEXT, BAD = __version__, "99.0.0", "99.1.0"
REDIRECT = 'slug = scope["path_params"]["slug"]\n'


def copy_source(context: Path) -> None:
    """What the service's image is built from."""
    for name in ("app", "kit", "requirements", "Dockerfile", ".dockerignore"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, context / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, context / name)


def next_version(context: Path) -> None:
    """A good one, two migrations further: the version before is deployed after them, too."""
    set_version(context, NEXT)
    for column in ("one", "two"):
        add_migration(context, f"ALTER TABLE links ADD COLUMN IF NOT EXISTS {column} integer")


def migration(context: Path) -> None:
    """Migrates what is not there, after what the good one has migrated."""
    next_version(context)
    _replace(context / "app" / "__init__.py", f'"{NEXT}"', f'"{BAD}"')
    add_migration(context, "ALTER TABLE no_such_table ADD COLUMN wrong integer")


def crashing(context: Path) -> None:
    """Migrates, but ends as soon as it is to serve."""
    set_version(context, BAD)
    file = context / "kit" / "keel" / "server.py"
    broken = "async def serve(service: Service, configuration: Configuration) -> int:\n"
    broken += '    raise SystemExit("broken on purpose")\n'
    file.write_text(f"{file.read_text()}\n\n{broken}")


def failing(context: Path) -> None:
    """Ready, and answers one redirect in five with a 500."""
    set_version(context, BAD)
    _before_each_redirect(context, "import random; assert random.random() > 0.2")


def slow(context: Path) -> None:
    """Ready, and takes longer for each redirect than the release's objective allows."""
    set_version(context, BAD)
    _before_each_redirect(context, "import asyncio; await asyncio.sleep(0.8)")


VARIANTS: dict[str, Callable[[Path], None]] = {
    each.__name__: each for each in (next_version, migration, crashing, failing, slow)
}


def add_migration(context: Path, statement: str) -> None:
    """One after the newest, which the version of the checkout survives."""
    versions = context / "app" / "migrations"
    ours = max(file.name[:4] for file in (ROOT / "app" / "migrations").glob("[0-9]*.py"))
    newest = max(file.name[:4] for file in versions.glob("[0-9]*.py"))
    number = f"{int(newest) + 1:04d}"
    (versions / f"{number}_more.py").write_text(
        f"""from alembic import op

revision, down_revision, branch_labels, depends_on, works_from = "{number}", "{newest}", None, None, "{ours}"


def upgrade() -> None:
    op.execute("{statement}")
"""
    )


def _before_each_redirect(context: Path, statement: str) -> None:
    _replace(context / "app" / "links" / "redirects.py", REDIRECT, f"{REDIRECT}        {statement}\n")


def set_version(context: Path, version: str) -> None:
    _replace(context / "app" / "__init__.py", f'"{PRESENT}"', f'"{version}"')


def _replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text, f"{file.name} has no {old!r} any more"
    file.write_text(text.replace(old, new))
