"""An alert is written down once, in rules/, and beside its page: charts/alerts.py makes the rest."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from charts import alerts

from .helm import CHART, IMAGE, ROOT, helm

TRIAL = """
- alert: ServiceTrial
  needs: hosts
  # Share of what there is.
  values: {severity: info, for: 2m, ratio: 0.75}
  expr: trial{<<service>>} > <<ratio>>
  annotations:
    summary: "<<job>>: a trial"
    description: It has been {{ $value }} for <<for>>.
    dashboard_url: <<dashboards>>-overview<<query>>
"""
PAGE = "# ServiceTrial\n\nThe service is\non trial. Nothing else is wrong.\n\n```sh\n"


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """A copy of the chart and its runbooks."""
    shutil.copytree(ROOT / "docs" / "runbooks", tmp_path / "docs" / "runbooks")
    copy = tmp_path / "charts" / CHART.name
    shutil.copytree(CHART, copy)
    return copy


@pytest.fixture
def grown(chart: Path) -> Path:
    """With one alert more, written down in two files."""
    with (chart / "rules" / "alerts.yaml").open("a", encoding="utf-8") as file:
        file.write(TRIAL)
    (chart.parents[1] / "docs" / "runbooks" / "ServiceTrial.md").write_text(PAGE, encoding="utf-8")
    return chart


def made(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "charts", *arguments]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)


def template(chart: Path, trial: dict[str, Any], *options: str) -> subprocess.CompletedProcess[str]:
    rules = {"enabled": True, "alerts": {"ServiceTrial": trial}}
    values = json.dumps({"image": IMAGE, "prometheusRule": rules})
    return helm("template", "demo", chart, "--values=-", *options, stdin=values)


def test_an_alert_is_added_in_one_file_and_a_page(grown: Path) -> None:
    done = made("--check", grown)
    assert f"{grown / 'values.yaml'} is out of date: run python -m charts" in done.stderr
    assert made(grown).returncode == 0
    assert made("--check", grown).returncode == 0

    values = (grown / "values.yaml").read_text(encoding="utf-8")
    line = "    ServiceTrial: {enabled: true, severity: info, for: 2m, ratio: 0.75}\n"
    assert f"    # Share of what there is.\n{line}" in values
    index = (grown.parents[1] / "docs" / "runbooks" / "README.md").read_text(encoding="utf-8")
    assert "| [ServiceTrial](ServiceTrial.md) | The service is on trial |\n\n## What watches" in index
    scenario = (grown / "ci" / "everything-values.yaml").read_text(encoding="utf-8")
    assert "    ServiceTrial: {severity: critical, for: 3m, ratio: 0.375}\n" in scenario


def test_it_can_be_changed_within_what_its_limit_may_be(grown: Path) -> None:
    made(grown)
    hosts = '--set-json=ingress={"enabled":true,"hosts":[{"host":"a.example.com"}]}'
    done = template(grown, {"ratio": 0.5, "severity": "warning"}, hosts)
    rules = [
        rule
        for each in yaml.safe_load_all(done.stdout)
        if each and each["kind"] == "PrometheusRule"
        for group in each["spec"]["groups"]
        for rule in group["rules"]
    ]
    (trial,) = (rule for rule in rules if rule.get("alert") == "ServiceTrial")
    assert trial == {
        "alert": "ServiceTrial",
        "expr": 'trial{namespace="default",job="demo"} > 0.5',
        "for": "2m",
        "labels": {"namespace": "default", "job": "demo", "severity": "warning"},
        "annotations": {
            "summary": "demo: a trial",
            "description": "It has been {{ $value }} for 2m.",
            "dashboard_url": "/d/fastapi-overview?var-namespace=default&var-job=demo",
            "runbook_url": "docs/runbooks/ServiceTrial.md",
        },
    }
    assert "ServiceTrial" not in template(grown, {}).stdout, "it needs hosts"
    assert "'/prometheusRule/alerts/ServiceTrial/ratio'" in template(grown, {"ratio": 90}).stderr
    assert "additional properties 'seconds' not allowed" in template(grown, {"seconds": 1}).stderr


@pytest.mark.parametrize(
    ("limit", "default", "kind"),
    [
        ("ratio", 0.9, "ratio"),
        ("days", 7, "above"),
        ("seconds", 0.5, "above"),
        ("restarts", 3, "positive"),
        ("bytes", 1.5, "above"),
    ],
)
def test_a_limit_is_of_the_kind_that_its_name_and_default_say(
    limit: str, default: float, kind: str, chart: Path
) -> None:
    trial = TRIAL.replace("ratio: 0.75", f"{limit}: {default}")
    (chart / "rules" / "alerts.yaml").write_text(trial, encoding="utf-8")
    schema = json.loads(alerts.with_schema((chart / "values.schema.json").read_text(encoding="utf-8"), chart))
    shape = schema["properties"]["prometheusRule"]["properties"]["alerts"]["properties"]["ServiceTrial"]
    assert shape["required"] == ["enabled", "severity", "for", limit]
    assert shape["properties"][limit] == {"$ref": f"#/definitions/{kind}"}


def test_an_alert_without_a_page_is_named(grown: Path) -> None:
    (grown.parents[1] / "docs" / "runbooks" / "ServiceTrial.md").unlink()
    done = made(grown)
    assert done.returncode == 1
    assert "write a runbook, docs/runbooks/ServiceTrial.md, with the sections that the others have" in done.stderr


def test_values_that_are_not_whole_are_named(grown: Path) -> None:
    file = grown / "rules" / "alerts.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("info, for: 2m", "info"), encoding="utf-8")
    done = made(grown)
    assert done.returncode == 1
    assert "rules/alerts.yaml: the values of ServiceTrial lack for" in done.stderr
    assert "Traceback" not in done.stderr
