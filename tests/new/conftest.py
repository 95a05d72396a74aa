"""The template as it is in this checkout, committed in a repository of its own, and services made from it."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from keel import new
from toolkit.paths import ROOT

PARTS = ("copier.yml", "template", "kit", "requirements", "Dockerfile")


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.com", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", folder, *who, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder: Path, message: str) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", message)


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A repository with the template and the kit, as they are here, uncommitted changes included."""
    repository = tmp_path / "template-repository"
    repository.mkdir()
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, repository / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, repository)
    git(repository, "init", "--quiet", "--initial-branch=main")
    commit(repository, "As it is here")
    return repository


@pytest.fixture
def make_service(template: Path, tmp_path: Path) -> Callable[..., Path]:
    """Makes a service by its name and answers to the template's questions; returns its folder."""

    def make(name: str, **answers: str) -> Path:
        return new.new(name, tmp_path / name, str(template), "HEAD", answers)

    return make
