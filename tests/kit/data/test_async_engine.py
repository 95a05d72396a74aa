import subprocess
import sys
from pathlib import Path

import pytest

import keel

ROOT = Path(keel.__file__).parent.parent
ALONE = "from keel.data import async_engine; import sys; assert 'sqlalchemy.orm' not in sys.modules"
WHOLE = "from sqlalchemy.ext import asyncio; asyncio.AsyncSession"
SAME = "assert asyncio.AsyncEngine is async_engine.AsyncEngine; assert sys.modules['sqlalchemy.ext.asyncio'] is asyncio"


@pytest.mark.parametrize("lines", [[ALONE, WHOLE], [WHOLE, "import sys", "from keel.data import async_engine"]])
def test_is_the_same_engine_as_that_of_the_whole_package(lines: list[str]) -> None:
    """Whichever of them is imported first."""
    subprocess.run([sys.executable, "-c", "\n".join([*lines, SAME])], check=True, cwd=ROOT)
