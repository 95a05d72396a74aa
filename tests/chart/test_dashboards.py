"""Dashboards that come with the chart: for Grafana's sidecar, and for the Grafana operator."""

import json
from pathlib import Path
from typing import Any

import pytest

from .helm import CHART, ENVIRONMENTS, ROOT, Objects, refusal, render

OURS = sorted((CHART / "dashboards").glob("*.json"))
NAMES = ["service-overview", "dependencies", "runtime-rollout", "background-work"]
DASHBOARD = {"title": "Links", "uid": "links", "panels": [{"title": "{{method}} <a>", "w": 24}]}
OWN = {"own": json.dumps(DASHBOARD), "slow-parts": json.dumps(DASHBOARD, indent=2) + "\n"}


def rendered(**values: Any) -> Objects:
    return render({"dashboards": values})


def dashboards(objects: Objects, kind: str = "ConfigMap") -> list[dict[str, Any]]:
    found = [each for each in objects.all(kind) if "-dashboard-" in each["metadata"]["name"]]
    return sorted(found, key=lambda each: each["metadata"]["name"])


def names(objects: Objects) -> list[str]:
    return [each["metadata"]["name"].partition("-dashboard-")[2] for each in dashboards(objects)]


def test_none_without_being_asked() -> None:
    objects = rendered(extra=OWN, operator={"enabled": False})
    assert not dashboards(objects)
    assert not objects.all("GrafanaDashboard")


def test_each_is_a_config_map_that_the_sidecar_finds() -> None:
    first, second = dashboards(rendered(enabled=True, builtIn=[], extra=OWN))
    assert first["metadata"]["name"] == "demo-fastapi-service-dashboard-own"
    assert second["metadata"]["name"] == "demo-fastapi-service-dashboard-slow-parts"
    assert first["data"] == {"own.json": OWN["own"]}
    assert second["data"] == {"slow-parts.json": OWN["slow-parts"].strip()}
    for each in (first, second):
        assert each["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert each["metadata"]["labels"]["app.kubernetes.io/component"] == "dashboard"
        assert "annotations" not in each["metadata"]


def test_all_that_come_with_the_chart_can_be_chosen() -> None:
    assert sorted(path.stem for path in OURS) == sorted(names(rendered(enabled=True))) == sorted(NAMES)
    assert names(rendered(enabled=True, builtIn=["dependencies"], extra=OWN)) == ["dependencies", "own", "slow-parts"]
    assert names(rendered(enabled=True, builtIn=[])) == []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"builtIn": ["business"]},
            'dashboards.builtIn has "business", which does not come with the chart: choose of background-work, '
            "dependencies, runtime-rollout, service-overview, and give your own as dashboards.extra",
        ),
        (
            {"extra": {"dependencies": OWN["own"]}},
            "dashboards.extra.dependencies has the name of one that comes with the chart: choose another",
        ),
        *(
            (
                {"extra": {"own": text}},
                "dashboards.extra.own is no dashboard: give its JSON as text, an object with a title",
            )
            for text in ("", "{", "[]", "{}", "3", "orders.json")
        ),
    ],
)
def test_what_is_no_dashboard_is_refused(values: dict[str, Any], said: str) -> None:
    assert refusal({"dashboards": {"enabled": True, **values}}) == [said]


def test_one_file_after_the_other_is_given(tmp_path: Path) -> None:
    """As `--set-file` does, and with a comma in it."""
    file = tmp_path / "own.json"
    file.write_text(OWN["slow-parts"], encoding="utf-8")
    options = (f"--set-file=dashboards.extra.mine={file}", f"--set-file=dashboards.extra.own={file}")
    assert names(render({"dashboards": {"enabled": True, "builtIn": []}}, options=options)) == ["mine", "own"]


def test_uids_of_ones_own() -> None:
    """And titles, as Grafana takes no two of one title in one folder."""
    values = {"dashboards": {"enabled": True, "uidPrefix": "shop", "extra": OWN}, "prometheusRule": {"enabled": True}}
    objects = render(values)
    given = {name: json.loads(text) for each in dashboards(objects) for name, text in each["data"].items()}
    uids = {name: each["uid"] for name, each in given.items()}
    assert uids == {
        "service-overview.json": "shop-overview",
        "dependencies.json": "shop-dependencies",
        "runtime-rollout.json": "shop-runtime",
        "background-work.json": "shop-tasks",
        "own.json": "shop-links",
        "slow-parts.json": "shop-links",
    }
    assert given["own.json"] == DASHBOARD | {"uid": "shop-links", "title": "demo: Links"}
    ours = json.loads((CHART / "dashboards" / "dependencies.json").read_text(encoding="utf-8"))
    changed = {"uid": "shop-dependencies", "title": f"demo: {ours['title']}"}
    runbooks = given["dependencies.json"]["templating"]
    assert given["dependencies.json"] == ours | changed | {"templating": runbooks}
    groups = objects.one("PrometheusRule")["spec"]["groups"]
    links = [rule["annotations"]["dashboard_url"] for group in groups for rule in group["rules"] if "alert" in rule]
    assert links
    assert {link.partition("?")[0].rpartition("-")[0] for link in links} == {"/d/shop"}


def test_ours_are_given_word_for_word() -> None:
    shipped = dashboards(render({"dashboards": {"enabled": True}}))
    given = {name: text for each in shipped for name, text in each["data"].items()}
    assert given == {path.name: path.read_text(encoding="utf-8").rstrip("\n") for path in OURS}


@pytest.mark.parametrize("file", [file for file in ENVIRONMENTS if file.stem != "local"], ids=lambda file: file.stem)
def test_what_the_domains_bring_is_in_the_environments_word_for_word(file: Path) -> None:
    objects = render({"prometheusRule": {"runbookUrl": "docs/runbooks"}}, file)
    assert names(objects) == sorted([*NAMES, "links"])
    (data,) = [each["data"] for each in dashboards(objects) if "links.json" in each["data"]]
    brought = ROOT / "app" / "links" / "dashboards" / "links.json"
    assert data["links.json"] == brought.read_text(encoding="utf-8").rstrip("\n")


def test_their_runbooks_are_those_of_the_alerts() -> None:
    values = {"dashboards": {"enabled": True}, "prometheusRule": {"runbookUrl": "https://example.com/a?b=1&c=/"}}
    for each in dashboards(render(values)):
        (text,) = each["data"].values()
        variables = {variable["name"]: variable["query"] for variable in json.loads(text)["templating"]["list"]}
        assert variables["runbooks"] == "https://example.com/a?b=1&c="


def test_the_label_and_the_folder() -> None:
    own = {"enabled": True, "builtIn": [], "extra": {"own": OWN["own"]}}
    (found,) = dashboards(rendered(**own, label="show", folder="Teams: links"))
    assert found["metadata"]["labels"]["show"] == "1"
    assert found["metadata"]["annotations"] == {"grafana_folder": "Teams: links"}
    (unlabelled,) = dashboards(rendered(**own, label=""))
    assert not [label for label in unlabelled["metadata"]["labels"] if "grafana" in label]


def test_the_operator_is_led_to_the_config_maps() -> None:
    chosen = {"enabled": True, "builtIn": ["dependencies"], "extra": {"own": OWN["own"]}, "operator": {"enabled": True}}
    objects = rendered(**chosen, folder="Links")
    found = objects.one("GrafanaDashboard", "demo-fastapi-service-dashboard-own")
    assert found["apiVersion"] == "grafana.integreatly.org/v1beta1"
    assert found["spec"] == {
        "instanceSelector": {"matchLabels": {"dashboards": "grafana"}},
        "allowCrossNamespaceImport": True,
        "folder": "Links",
        "configMapRef": {"name": "demo-fastapi-service-dashboard-own", "key": "own.json"},
    }
    assert len(objects.all("GrafanaDashboard")) == len(dashboards(objects)) == 2
    assert "folder" not in rendered(**chosen).all("GrafanaDashboard")[0]["spec"]


def test_the_operator_alone_is_refused() -> None:
    assert refusal({"dashboards": {"operator": {"enabled": True}}}) == [
        "dashboards.operator.enabled needs the ConfigMaps of dashboards.enabled: set both"
    ]
