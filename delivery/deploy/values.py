"""The values of a release, as Helm will merge them: the chart's, the environment's files, and what the deploy sets."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from toolkit.paths import CHART, shown
from toolkit.process import Failure

Values = dict[str, Any]

# On an Ingress: cert-manager makes the Secret once the Ingress is there (https://cert-manager.io/docs/usage/ingress/).
ISSUED_BY = {"cert-manager.io/issuer", "cert-manager.io/cluster-issuer", "kubernetes.io/tls-acme"}


def merge(under: Values, over: Values) -> Values:
    """Maps are merged, everything else is replaced, and null takes away: as Helm does."""
    merged = copy.deepcopy(under)
    for key, value in over.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def load(files: list[Path], settings: Values, chart: Path = CHART) -> Values:
    """Raises Failure where a file is not there or no map."""
    merged: Values = {}
    for file in [chart / "values.yaml", *files]:
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        except (OSError, yaml.YAMLError) as error:
            raise Failure(f"The values in {shown(file)} cannot be read: {error}") from None
        if not isinstance(content, dict):
            raise Failure(f"The values in {shown(file)} are no map: write `key: value`.")
        merged = merge(merged, content)
    return merge(merged, settings)


@dataclass(frozen=True)
class Objectives:
    """The release's own service level objectives; ratios from 0 to 1, the threshold as a bucket is written."""

    errors: float
    """Share of the answers that may be errors."""
    slow: float
    """Share of the rest that may be slow."""
    threshold: str
    burn_rate: float
    """That many times as fast as it may be, the budget is spent when somebody is woken."""
    minimum: int
    """Fewer bad answers prove nothing."""


def objectives(values: Values) -> Objectives:
    slo = values["prometheusRule"]["slo"]
    return Objectives(
        errors=round(1 - slo["availability"]["objective"] / 100, 9),
        slow=round(1 - slo["latency"]["objective"] / 100, 9),
        threshold=f"{slo['latency']['threshold']:g}",
        burn_rate=max(float(window["burnRate"]) for window in slo["windows"]),
        minimum=int(slo["minimumErrors"]),
    )


def smoke_requests(values: Values) -> list[Values]:
    """The requests of `helm test` that can be sent to the public address: those that name no host of their own."""
    tests = values["tests"]
    return [each for each in tests["requests"] if "host" not in each] if tests["enabled"] else []


def enabled(values: Values, what: str) -> dict[str, Values]:
    """The `workers`, `cronJobs` or `jobs` that are on, by their names."""
    return {name: each for name, each in (values[what] or {}).items() if each and each.get("enabled", True)}


def jobs(values: Values) -> dict[str, str]:
    """When each job of the release runs, by its name: `before` its objects are applied, or `after` they serve."""
    return {name: each.get("when", "after") for name, each in enabled(values, "jobs").items()}


def secrets(values: Values) -> list[str]:
    """The Secrets that must be there before the release is."""
    found = [values["secrets"]["existingSecret"]] if not values["externalSecret"]["enabled"] else []
    found += [each["name"] for each in values["image"]["pullSecrets"]]
    ingress = values["ingress"]
    issued = values["certificate"]["enabled"] or not ISSUED_BY.isdisjoint(ingress["annotations"])
    if ingress["enabled"] and not issued:
        found += [each["secretName"] for each in ingress["tls"] if "secretName" in each]
    return sorted({name for name in found if name})
