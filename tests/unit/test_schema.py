"""What the OpenAPI document says, tried out: requests made from it, valid and not, against a real server."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.anyio

EXAMPLES = 20  # for each operation and phase
HERE = Path(__file__).parent


@pytest.mark.timeout(300)
async def test_the_service_keeps_to_its_schema(address: str, mint: Callable[..., str], tmp_path: Path) -> None:
    token = mint(scope="links:read links:write", exp=2_000_000_000)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml")),
        *("run", f"{address}/api/openapi.json", "--header", f"Authorization: Bearer {token}"),
        *("--checks", "all", "--generation-deterministic", "--max-examples", str(EXAMPLES), "--no-color"),
        cwd=tmp_path,
        env=os.environ | {"SCHEMATHESIS_HOOKS": str(HERE / "schema_hooks.py")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = (await process.communicate())[0].decode()
    assert process.returncode == 0, said
    assert "Stateful" in said
