"""`make image`: what it refuses before it builds. The build itself is in tests/e2e/test_supply_chain.py."""

import os
import re
from pathlib import Path

import pytest

from delivery import image
from delivery.__main__ import main
from toolkit import reference


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--repository=registry.example.com/links:1.0"], "REPOSITORY is 'registry.example.com/links:1.0'"),
        (["--repository=registry.example.com/Links"], "REPOSITORY is"),
        (["--repository=https://registry.example.com/links"], "REPOSITORY is"),
        (["--tag=a b"], "TAG is 'a b'"),
        (["--tag=-x"], "TAG is '-x'"),
        (["--platforms=amd64"], "PLATFORMS is 'amd64'"),
        (["--platforms=linux/amd64,"], "PLATFORMS is"),
    ],
)
def test_refuses_what_is_no_name(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["image", *arguments]) == 1
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    ["links", "library/links", "registry.example.com/team/links", "127.0.0.1:5001/links", "ghcr.io/some-one/a_b.c"],
)
def test_takes_a_repository(name: str) -> None:
    assert re.fullmatch(reference.REPOSITORY, name)


def docker(folder: Path, *, says: str = "", code: int = 0) -> None:
    """A `docker` that answers one thing."""
    program = folder / "docker"
    program.write_text(f"#!/bin/sh\n[ -z '{says}' ] || echo '{says}'\nexit {code}\n")
    program.chmod(0o755)
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.environ["PATH"])


def test_the_local_registry_goes_by_another_name_here(tmp_path: Path) -> None:
    docker(tmp_path, says="127.0.0.1:5001")
    assert image.reachable("shipshape.local/links@sha256:abc") == "127.0.0.1:5001/links@sha256:abc"


def test_other_registries_keep_their_name(tmp_path: Path) -> None:
    docker(tmp_path, code=1)
    assert image.reachable("registry.example.com/links@sha256:abc") == "registry.example.com/links@sha256:abc"


def test_without_a_local_registry_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    docker(tmp_path, code=1)
    monkeypatch.setattr("delivery.__main__.TOOLS", tmp_path)
    assert main(["sbom", "shipshape.local/links@sha256:abc"]) == 1
    assert "`make up` starts one" in capsys.readouterr().err


def test_no_cache_is_asked_for_by_a_yes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("NO_CACHE", "maybe")
    assert main(["image"]) == 1
    assert capsys.readouterr().err == "NO_CACHE is 'maybe': give 1, or leave it out.\n"
