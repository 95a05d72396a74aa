"""What a stranger looks for first: the licence, the same in every place, and the files that one expects beside it."""

import re

import pytest

from toolkit.paths import ROOT

LICENCE = "Apache-2.0"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("LICENSE", f"SPDX-License-Identifier: {LICENCE}"),
        ("pyproject.toml", f'license = "{LICENCE}"'),
        ("kit/pyproject.toml", f'license = "{LICENCE}"'),
        ("charts/fastapi-service/Chart.yaml", f"  artifacthub.io/license: {LICENCE}"),
        ("Dockerfile", f"LABEL org.opencontainers.image.licenses={LICENCE}"),
    ],
)
def test_the_licence_is_the_same_everywhere(name: str, line: str) -> None:
    assert line in (ROOT / name).read_text(encoding="utf-8").splitlines()


def test_the_licence_names_its_text() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License, Version 2.0" in text
    assert re.search(r"(?m)^ *https://www\.apache\.org/licenses/LICENSE-2\.0$", text)


@pytest.mark.parametrize("name", ["SECURITY.md", ".github/pull_request_template.md"])
def test_it_is_there(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8").strip()


def test_the_python_that_it_begins_with_is_one_that_it_runs_on() -> None:
    version = (ROOT / ".python-version").read_text(encoding="utf-8").strip()
    assert f'requires-python = ">={version}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
