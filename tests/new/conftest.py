"""Services made from the template as it is in this checkout."""

from collections.abc import Callable
from pathlib import Path

import pytest

from keel import new
from tests.new import snapshots


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A repository with the template and the kit."""
    return snapshots.take(tmp_path / "template-repository")


@pytest.fixture
def make_service(template: Path, tmp_path: Path) -> Callable[..., Path]:
    """Makes a service by its name and answers to the template's questions; returns its folder."""

    def make(name: str, **answers: str) -> Path:
        return new.new(name, tmp_path / name, str(template), "HEAD", answers)

    return make
