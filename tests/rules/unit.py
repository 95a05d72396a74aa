"""Unit tests of rules, run by promtool (https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.rules import rendered
from tests.rules.programs import run

Series = Mapping[str, str]
TEMPLATE = re.compile(r"{{ *(.+?) *}}")
CHOICE = re.compile(r"{{ if (?P<condition>.+?) }}(?P<yes>.+?){{ else }}(?P<no>.+?){{ end }}")


@dataclass(frozen=True)
class Firing:
    """An alert that is expected: the labels that its series give it, and what its templates show, by their text."""

    shown: Mapping[str, str]
    """By a template's condition, something where it is true and nothing where it is not."""
    labels: Mapping[str, str] = field(default_factory=dict)
    window: str = ""  # of a burn alert
    worker: str = ""  # of an alert about a worker's pods


def expected(rules: Sequence[rendered.Rule], alert: str, firing: Firing) -> dict[str, Any]:
    """As promtool wants it: the rule's own labels and annotations, the latter with their templates filled in."""
    (rule,) = (
        each
        for each in rendered.alerts_of(list(rules))
        if each["alert"] == alert
        and (each["labels"].get("window", ""), each["labels"].get("worker", "")) == (firing.window, firing.worker)
    )

    def fill(text: str) -> str:
        text = CHOICE.sub(lambda match: match["yes" if firing.shown[match["condition"]] else "no"], text)
        return TEMPLATE.sub(lambda match: firing.shown[" ".join(match[1].split())], text)

    return {
        "exp_labels": {**firing.labels, **rule["labels"]},
        "exp_annotations": {name: fill(text) for name, text in rule["annotations"].items()},
    }


def check(
    folder: Path,
    groups: Sequence[rendered.Rule],
    series: Series,
    *,
    alerts: Sequence[tuple[str, str, Sequence[Firing]]] = (),
    queries: Sequence[tuple[str, str, Mapping[str, float]]] = (),
    interval: str = "30s",
) -> None:
    """Assert what fires (at, alert, firing) and what queries give (at, query, value by series, to a millionth)."""
    rules = rendered.write(list(groups), folder)
    test = {
        "rule_files": [rules.name],
        "evaluation_interval": interval,
        "group_eval_order": [group["name"] for group in groups],
        "tests": [
            {
                "interval": interval,
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "alert_rule_test": [
                    {"eval_time": at, "alertname": alert, "exp_alerts": [expected(groups, alert, f) for f in firing]}
                    for at, alert, firing in alerts
                ],
                "promql_expr_test": [
                    {
                        "eval_time": at,
                        "expr": f"round({query}, 1e-6)",
                        "exp_samples": [
                            {"labels": labels[labels.find("{") :], "value": round(value, 6)}
                            for labels, value in samples.items()
                        ],
                    }
                    for at, query, samples in queries
                ],
            }
        ],
    }
    file = folder / "test.yaml"
    file.write_text(yaml.safe_dump(test, sort_keys=False, width=1000), encoding="utf-8")
    done = run("promtool", "test", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr
