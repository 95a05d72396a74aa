"""The service that is delivered, as it is put together and run."""

import subprocess
import sys
import tomllib
from pathlib import Path

import httpx
import pytest

from app import __version__
from tests.app.subject import SERVICE
from toolkit.paths import ROOT


def test_as_a_program(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "app", "--version"]
    environment = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, __version__, "")


def test_the_version_is_the_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project.get("version", __version__) == __version__


@pytest.mark.anyio
async def test_what_it_is_called(client: httpx.AsyncClient) -> None:
    answer = (await client.get("/")).json()
    assert (answer["name"], answer["version"]) == (SERVICE.product.name, __version__)


@pytest.mark.anyio
async def test_on_postgresql(postgresql_client: httpx.AsyncClient) -> None:
    made = await postgresql_client.post("/api/v1/links", json={"url": "https://example.com"})
    assert made.status_code == 201
    followed = await postgresql_client.get(f"/{made.json()['slug']}")
    assert followed.headers["location"] == "https://example.com/"
    assert (await postgresql_client.get("/%00")).status_code == 404  # which PostgreSQL does not store
