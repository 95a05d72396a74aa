"""What the OpenAPI document says, tried out: requests made from it, valid and not, against a real server."""

import asyncio
import os
import sys
from pathlib import Path

EXAMPLES = 20  # for each operation and phase
HOOKS = Path(__file__).parent / "schema_hooks.py"


async def keep_to_schema(address: str, token: str, config: Path, directory: Path) -> None:
    """Raise an AssertionError with all that was found, unless the service at `address` does what it says."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)),
        *("run", f"{address}/api/openapi.json", "--header", f"Authorization: Bearer {token}"),
        *("--checks", "all", "--generation-deterministic", "--max-examples", str(EXAMPLES), "--no-color"),
        cwd=directory,
        env=os.environ | {"SCHEMATHESIS_HOOKS": str(HOOKS)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = (await process.communicate())[0].decode()
    assert process.returncode == 0, said
    assert "Stateful" in said
