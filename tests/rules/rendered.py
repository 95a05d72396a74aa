"""The rules as Prometheus gets them: rendered by Helm for a release `links` in a namespace `links`."""

from pathlib import Path
from typing import Any

import yaml

from charts.alerts import alerts
from tests.chart.helm import Objects, render
from toolkit.paths import CHART, PLATFORM

Rule = dict[str, Any]

HOSTS = {
    "nameOverride": "links",
    "ingress": {"enabled": True, "className": "traefik", "hosts": [{"host": "links.example.com"}]},
}
# All that alerts are about.
BACKGROUND: Rule = {
    "workers": {
        "worker": {"args": ["work"], "metrics": True, "autoscaling": {"maxReplicas": 5}},
        "queue": {"args": ["celery"], "keda": {"maxReplicas": 5, "triggers": [{"type": "cron", "metadata": {}}]}},
    },
    "cronJobs": {"clean-up": {"args": ["clean-up"], "schedule": "0 3 * * *"}},
    "jobs": {"warm-up": {"args": ["warm-up"]}},
}
# As a test on a cluster would have them, to see within minutes what takes hours.
SHRUNK = {
    "interval": "5s",
    "slo": {
        "windows": [
            {"severity": "critical", "burnRate": 14.4, "long": "2m", "short": "30s", "for": "0s"},
            {"severity": "warning", "burnRate": 1, "long": "10m", "short": "1m", "for": "0s"},
        ]
    },
}
EVERY_ALERT = {"alerts": {alert.name: {"enabled": True} for alert in alerts(CHART)}}


def groups(rules: Rule | None = None, **values: Any) -> list[Rule]:
    """The groups of the PrometheusRule with these values of `prometheusRule`, and these others."""
    objects: Objects = render(
        {**HOSTS, **BACKGROUND, **values, "prometheusRule": {"enabled": True, **(rules or {})}},
        release="links",
        options=("--namespace=links",),
    )
    found: list[Rule] = objects.one("PrometheusRule", "links")["spec"]["groups"]
    return found


def platform() -> list[Rule]:
    """The groups of the platform's own rules."""
    text = (PLATFORM / "monitoring" / "rules.yaml").read_text(encoding="utf-8")
    found: list[Rule] = yaml.safe_load(text)["spec"]["groups"]
    return found


def rules_of(found: list[Rule]) -> list[Rule]:
    return [rule for group in found for rule in group["rules"]]


def alerts_of(found: list[Rule]) -> list[Rule]:
    return [rule for rule in rules_of(found) if "alert" in rule]


def only(found: list[Rule], alert: str) -> list[Rule]:
    """The groups with no other alert than this one, and with the recording rules only where it reads them."""
    (first, *_) = [rule for rule in alerts_of(found) if rule["alert"] == alert]
    reads = "job:" in first["expr"]
    return [
        {**group, "rules": [rule for rule in group["rules"] if rule.get("alert", alert if reads else "") == alert]}
        for group in found
    ]


def write(found: list[Rule], folder: Path) -> Path:
    """As the file of a Prometheus without the operator."""
    path = folder / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": found}, sort_keys=False), encoding="utf-8")
    return path
