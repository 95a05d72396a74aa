"""Dashboards that come with the chart: for Grafana's sidecar, and for the Grafana operator."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from .helm import CHART, Objects, helm, refusal, render

OURS = sorted((CHART / "dashboards").glob("*.json"))
DASHBOARD = {"title": "Links", "panels": [{"title": "{{method}} $__rate_interval", "expr": 'a{b="c"}'}]}


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """The chart with two dashboards."""
    copy = shutil.copytree(CHART, tmp_path / "chart")
    folder = copy / "dashboards"
    folder.mkdir(exist_ok=True)
    for left in folder.iterdir():
        left.unlink()
    (folder / "red.json").write_text(json.dumps(DASHBOARD, indent=2) + "\n", encoding="utf-8")
    (folder / "Slow_Parts.json").write_text(json.dumps(DASHBOARD), encoding="utf-8")
    return Path(copy)


def rendered(chart: Path, **values: Any) -> Objects:
    given = json.dumps({"image": {"repository": "a"}, "dashboards": values})
    done = helm("template", "demo", chart, "--values=-", stdin=given)
    assert done.returncode == 0, done.stderr
    return Objects(each for each in yaml.safe_load_all(done.stdout) if each)


def dashboards(objects: Objects, kind: str = "ConfigMap") -> list[dict[str, Any]]:
    return [each for each in objects.all(kind) if "-dashboard-" in each["metadata"]["name"]]


def test_none_without_being_asked(chart: Path) -> None:
    objects = rendered(chart, operator={"enabled": False})
    assert not dashboards(objects)
    assert not objects.all("GrafanaDashboard")


def test_each_is_a_config_map_that_the_sidecar_finds(chart: Path) -> None:
    first, second = dashboards(rendered(chart, enabled=True))
    assert first["metadata"]["name"] == "demo-fastapi-service-dashboard-slow-parts"
    assert second["metadata"]["name"] == "demo-fastapi-service-dashboard-red"
    assert json.loads(first["data"]["Slow_Parts.json"]) == DASHBOARD
    assert json.loads(second["data"]["red.json"]) == DASHBOARD
    for each in (first, second):
        assert each["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert each["metadata"]["labels"]["app.kubernetes.io/component"] == "dashboard"
        assert "annotations" not in each["metadata"]


def test_ours_are_given_word_for_word() -> None:
    shipped = dashboards(render({"dashboards": {"enabled": True}}))
    given = {name: text for each in shipped for name, text in each["data"].items()}
    assert given == {path.name: path.read_text(encoding="utf-8").rstrip("\n") for path in OURS}


def test_their_runbooks_are_those_of_the_alerts() -> None:
    values = {"dashboards": {"enabled": True}, "prometheusRule": {"runbookUrl": "https://example.com/a?b=1&c=/"}}
    for each in dashboards(render(values)):
        (text,) = each["data"].values()
        variables = {variable["name"]: variable["query"] for variable in json.loads(text)["templating"]["list"]}
        assert variables["runbooks"] == "https://example.com/a?b=1&c="


def test_the_label_and_the_folder(chart: Path) -> None:
    found, _ = dashboards(rendered(chart, enabled=True, label="show", folder="Teams: links"))
    assert found["metadata"]["labels"]["show"] == "1"
    assert found["metadata"]["annotations"] == {"grafana_folder": "Teams: links"}
    unlabelled, _ = dashboards(rendered(chart, enabled=True, label=""))
    assert not [label for label in unlabelled["metadata"]["labels"] if "grafana" in label]


def test_the_operator_is_led_to_the_config_maps(chart: Path) -> None:
    objects = rendered(chart, enabled=True, folder="Links", operator={"enabled": True})
    found = objects.one("GrafanaDashboard", "demo-fastapi-service-dashboard-red")
    assert found["apiVersion"] == "grafana.integreatly.org/v1beta1"
    assert found["spec"] == {
        "instanceSelector": {"matchLabels": {"dashboards": "grafana"}},
        "allowCrossNamespaceImport": True,
        "folder": "Links",
        "configMapRef": {"name": "demo-fastapi-service-dashboard-red", "key": "red.json"},
    }
    assert len(objects.all("GrafanaDashboard")) == len(dashboards(objects)) == 2
    assert "folder" not in rendered(chart, enabled=True, operator={"enabled": True}).all("GrafanaDashboard")[0]["spec"]


def test_the_operator_alone_is_refused() -> None:
    assert refusal({"dashboards": {"operator": {"enabled": True}}}) == [
        "dashboards.operator.enabled needs the ConfigMaps of dashboards.enabled: set both"
    ]
