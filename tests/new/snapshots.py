"""The template as it is in this checkout, in a repository of its own: what a service is made from in tests."""

import shutil
import subprocess
from pathlib import Path

from toolkit.paths import ROOT

PARTS = ("copier.yml", "template", "kit", "requirements", "Dockerfile", "Makefile")


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder, as somebody; returns what it says."""
    who = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.com", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", folder, *who, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder: Path, message: str) -> None:
    """Commit all that is in a folder."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", message)


def take(repository: Path) -> Path:
    """Make a repository of the template and the kit as they are here, uncommitted changes included."""
    repository.mkdir()
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, repository / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, repository)
    git(repository, "init", "--quiet", "--initial-branch=main")
    commit(repository, "As it is here")
    return repository
