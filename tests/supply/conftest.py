"""A small image for what reads images."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.supply import layout

MakeImage = Callable[..., str]


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of make's, which are defaults of the commands."""
    for name in ("IMAGE", "NO_CACHE", "PARTIAL", "PLATFORM", "PLATFORMS", "REPOSITORY", "TAG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def make_image(tmp_path: Path) -> MakeImage:
    """Makes an image of Debian with these files besides."""

    def make(*layers: Mapping[str, str]) -> str:
        return str(layout.write(tmp_path / "image", layout.SYSTEM, *layers))

    return make
