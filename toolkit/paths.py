"""Where things lie: in the checkout, and outside it."""

import os
from pathlib import Path

from toolkit import project

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
LOGS = BUILD / "log"
TOOLS = BUILD / "bin"
OFFLINE = ROOT / "offline"
PLATFORM = ROOT / "k8s" / "platform"
CHART = ROOT / "charts" / "fastapi-service"


def cache() -> Path:
    """What is expensive to make, shared by all checkouts: $SHIPSHAPE_CACHE, or below $XDG_CACHE_HOME."""
    named = os.environ.get("SHIPSHAPE_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / project.NAME
    path = (Path(named) if named else base).absolute()
    path.mkdir(parents=True, exist_ok=True)
    return path


def shown(path: Path) -> str:
    """A path as people want to read it: relative to the checkout where it lies inside."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
