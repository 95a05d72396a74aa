"""All dashboards, and the files that they are written to."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana import background_work, dependencies, runtime_rollout, service_overview
from toolkit.paths import CHART, ROOT

Build = Callable[[], Dashboard]

# The chart ships them, and everybody else reads them here.
FOLDER = CHART / "dashboards"

BUILT_IN: dict[str, Build] = {
    "service-overview.json": service_overview.build,
    "dependencies.json": dependencies.build,
    "runtime-rollout.json": runtime_rollout.build,
    "background-work.json": background_work.build,
}


def files() -> list[Path]:
    """The files of all dashboards: those of the chart, then those that the service's domains bring."""
    return [*(FOLDER / name for name in BUILT_IN), *brought()]


def render(file: Path) -> str:
    """The text of a file, from the code that builds it."""
    built = (BUILT_IN[file.name] if file.parent == FOLDER else _builder(file))().build()
    return json.dumps(built, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def write() -> None:
    """Write all files, and remove those of dashboards that are no more."""
    FOLDER.mkdir(exist_ok=True)
    for file in _built():
        file.write_text(render(file), encoding="utf-8")
    for path in FOLDER.glob("*.json"):
        if path.name not in BUILT_IN:
            path.unlink()


def stale() -> list[str]:
    """Names of files that are not what their code says."""
    wanted = {file: render(file) for file in _built()}
    there = [path for path in {*wanted, *FOLDER.glob("*.json")} if path.exists()]
    written = {path: path.read_text(encoding="utf-8") for path in there}
    return sorted(path.name for path in written.keys() | wanted if written.get(path) != wanted.get(path))


def brought() -> list[Path]:
    """Those of the domains."""
    from app.main import SERVICE  # noqa: PLC0415  # half a second that only a list of all needs

    return [file for domain in SERVICE.domains for file in domain.operations.dashboards.values()]


def _built() -> list[Path]:
    """Those that are built by code: a domain may also bring a JSON that Grafana has written."""
    return [file for file in files() if file.parent == FOLDER or file.with_suffix(".py").exists()]


def _builder(file: Path) -> Build:
    """`build` of the module beside a file."""
    name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
    build: Build = importlib.import_module(name).build
    return build
