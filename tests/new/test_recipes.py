"""docs/recipes.md: every example of it, in a service that was just made."""

import re
import sys
from pathlib import Path

import pytest

from tests.new.checks import MakeService, run
from toolkit.paths import ROOT

BLOCK = re.compile(r"^```python\n# (\S+)\n(.*?)^```$", re.M | re.S)
BLOCKS: list[tuple[str, str]] = BLOCK.findall((ROOT / "docs" / "recipes.md").read_text(encoding="utf-8"))
TESTS = '''"""What the recipes' examples do."""

import asyncio

import httpx
import pytest
from bookings.main import PRODUCT
from bookings.tides import TIDES
from keel.load import Mix, ask
from keel.service import Service
from keel.testing import Token
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

pytestmark = pytest.mark.anyio


@pytest.fixture
async def item(client: httpx.AsyncClient, token: Token) -> str:
    headers = {"Authorization": f"Bearer {token('items:write')}"}
    answer = await client.post("/api/v1/items", json={"name": "first", "text": "Hello"}, headers=headers)
    assert answer.status_code == 201
    return "/api/v1/items/first"
'''
NAMED = re.compile(r"^([A-Z]+) = Domain\(", re.M)


@pytest.fixture
def followed(make_service: MakeService) -> Path:
    """A service with every block in its place, and each domain in main.py."""
    folder = make_service("bookings")
    (folder / "tests" / "test_recipes.py").write_text(TESTS)
    routes = folder / "bookings" / "items" / "routes.py"
    # What the recipe of a scope says of the log.
    text = routes.read_text().replace("from fastapi import", "import structlog\nfrom fastapi import", 1)
    routes.write_text(text.replace("router = routing", "log = structlog.get_logger(__name__)\nrouter = routing", 1))
    main = folder / "bookings" / "main.py"
    for name, code in BLOCKS:
        file = folder / name
        file.write_text(f"{file.read_text().rstrip()}\n\n\n{code}" if file.exists() else code)
        if domain := NAMED.search(code):
            module = name.removesuffix(".py").replace("/", ".")
            text = main.read_text().replace("])", f", {domain[1]}])")
            main.write_text(
                text.replace("from bookings import", f"from {module} import {domain[1]}\nfrom bookings import")
            )
    # As the recipe of a task says.
    run(folder, sys.executable, "-m", "bookings", "migrate", "--new", "tasks")
    return folder


def test_every_example_does_what_it_says(followed: Path) -> None:
    run(followed, "ruff", "check", "--fix", "--select=I", "--quiet", ".")
    run(followed, "ruff", "check", ".")
    run(followed, "ruff", "format", "--check", ".")
    run(followed, sys.executable, "-m", "mypy")
    tests = len(re.findall(r"^async def test_", "".join(code for _, code in BLOCKS), re.M))
    assert tests >= 7
    said = run(followed, sys.executable, "-m", "pytest", "-q", "tests/test_recipes.py", "-p", "no:cacheprovider")
    assert f"{tests} passed" in said
