"""The service does what its OpenAPI document says."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.schemathesis import keep_to_schema

pytestmark = pytest.mark.anyio

CONFIG = Path(__file__).parent / "schemathesis.toml"


@pytest.mark.timeout(300)
async def test_the_service_keeps_to_its_schema(address: str, mint: Callable[..., str], tmp_path: Path) -> None:
    token = mint(scope="links:read links:write", exp=2_000_000_000)
    await keep_to_schema(address, token, CONFIG, tmp_path)
