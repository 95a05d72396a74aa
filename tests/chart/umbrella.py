"""Two aliases of the chart in one release of an umbrella chart, as the real Helm renders them."""

import json
from pathlib import Path
from typing import Any

import yaml

from .helm import CHART, IMAGE, Objects, helm

ALIASES = ("api", "admin")
OWN = json.dumps({"title": "Orders", "uid": "orders"})
# All that can be switched on in both without being told apart by a Secret.
EVERYTHING: dict[str, Any] = {
    "image": IMAGE,
    "config": {"APP_LOG_LEVEL": "INFO"},
    "migrations": {"enabled": True},
    "networkPolicy": {
        "enabled": True,
        "ingress": {side: [{"namespaceSelector": {"matchLabels": {"a": side}}}] for side in ("http", "management")},
    },
    "serviceMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True},
    "dashboards": {"enabled": True, "extra": {"orders": OWN}, "operator": {"enabled": True}},
    "certificate": {"enabled": True, "issuerRef": {"name": "ours"}},
}


def build(folder: Path, *, conditions: bool = True) -> Path:
    """A chart that has this one twice, as `helm dependency build` packs it."""
    dependency = {"name": "fastapi-service", "version": ">=0-0", "repository": CHART.as_uri()}
    both = [{**dependency, "alias": alias} for alias in ALIASES]
    if conditions:
        both = [{**each, "condition": f"{each['alias']}.enabled"} for each in both]
    about = {"apiVersion": "v2", "name": "shop", "version": "0.1.0", "dependencies": both}
    (folder / "Chart.yaml").write_text(yaml.safe_dump(about), encoding="utf-8")
    done = helm("dependency", "build", folder)
    assert done.returncode == 0, done.stderr
    return folder


def template(umbrella: Path, release: str = "shop", **changes: dict[str, Any]) -> Any:
    """`helm template` with everything in both aliases and these changes by alias."""
    values = {alias: _host(alias) | EVERYTHING | changes.get(alias, {}) for alias in ALIASES}
    given = json.dumps({"global": {"team": "shop"}, **values})
    return helm("template", release, umbrella, "--values=-", stdin=given)


def render(umbrella: Path, release: str = "shop", **changes: dict[str, Any]) -> Objects:
    done = template(umbrella, release, **changes)
    assert done.returncode == 0, done.stderr
    return Objects(each for each in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if each)


def _host(alias: str) -> dict[str, Any]:
    return {"ingress": {"enabled": True, "className": "traefik", "hosts": [{"host": f"{alias}.example.com"}]}}
