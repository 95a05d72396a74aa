"""All dashboards, and the files that they are written to."""

import json
from collections.abc import Callable
from pathlib import Path

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana import business, dependencies, runtime_rollout, service_overview

# The chart ships them, and everybody else reads them here.
FOLDER = Path(__file__).resolve().parents[1] / "charts" / "fastapi-service" / "dashboards"

DASHBOARDS: dict[str, Callable[[], Dashboard]] = {
    "service-overview.json": service_overview.build,
    "dependencies.json": dependencies.build,
    "runtime-rollout.json": runtime_rollout.build,
    "business.json": business.build,
}


def render(name: str) -> str:
    """The text of a file."""
    return json.dumps(DASHBOARDS[name]().build(), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def write() -> None:
    """Write all files, and remove those of dashboards that are no more."""
    FOLDER.mkdir(exist_ok=True)
    for name in DASHBOARDS:
        (FOLDER / name).write_text(render(name), encoding="utf-8")
    for path in FOLDER.glob("*.json"):
        if path.name not in DASHBOARDS:
            path.unlink()


def stale() -> list[str]:
    """Names of files that are not what their code says."""
    written = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    wanted = {name: render(name) for name in DASHBOARDS}
    return sorted(name for name in written.keys() | wanted if written.get(name) != wanted.get(name))
