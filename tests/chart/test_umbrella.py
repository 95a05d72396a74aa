"""Two aliases of the chart in one release of an umbrella chart share nothing.

Whether promtool takes their rules: tests/rules/test_lint.py.
"""

import json
import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from . import umbrella
from .helm import CHART, IMAGE, Objects, helm
from .umbrella import ALIASES, OWN

Render = Callable[..., Objects]


@pytest.fixture(scope="module")
def render(tmp_path_factory: pytest.TempPathFactory) -> Render:
    return partial(umbrella.render, umbrella.build(tmp_path_factory.mktemp("umbrella")))


def rules(objects: Objects, name: str) -> list[dict[str, Any]]:
    return [rule for group in objects.one("PrometheusRule", name)["spec"]["groups"] for rule in group["rules"]]


def test_no_two_objects_are_one(render: Render) -> None:
    found = Counter((each["kind"], each["metadata"]["name"]) for each in render())
    assert [each for each, count in found.items() if count > 1] == []
    of_one = {name.replace("shop-api", "shop-admin") for _, name in found if "shop-api" in name}
    assert of_one == {name for _, name in found if "shop-admin" in name}


def test_no_pod_is_selected_by_the_other(render: Render) -> None:
    objects = render()
    for alias, other in (ALIASES, ALIASES[::-1]):
        selectors = [
            objects.one("Service", f"shop-{alias}")["spec"]["selector"],
            *(
                objects.one(kind, f"shop-{alias}")["spec"]["selector"]["matchLabels"]
                for kind in ("Deployment", "PodDisruptionBudget", "ServiceMonitor")
            ),
        ]
        labels = objects.one("Deployment", f"shop-{other}")["spec"]["template"]["metadata"]["labels"]
        of_service = objects.one("Service", f"shop-{other}-management")["metadata"]["labels"]
        for selector in selectors:
            assert not selector.items() <= labels.items()
            assert not selector.items() <= of_service.items()


def test_each_has_a_job_of_its_own_which_its_rules_read_alone(render: Render) -> None:
    objects = render()
    groups: list[str] = []
    recorded: dict[str, set[str]] = {}
    for alias, other in (ALIASES, ALIASES[::-1]):
        job = f"shop-{alias}"
        (endpoint,) = objects.one("ServiceMonitor", job)["spec"]["endpoints"]
        assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": job}]
        groups += [group["name"] for group in objects.one("PrometheusRule", job)["spec"]["groups"]]
        for rule in rules(objects, job):
            read = [
                each for each in re.findall(r"\{([^}]*)\}", rule["expr"]) if "__name__" not in each or "job=" in each
            ]
            assert not [each for each in read if f'"shop-{other}' in each]
            jobs = {each for text in read for each in re.findall(r'\bjob="([^"]*)"', text)}
            assert jobs <= {job}
            if "alert" in rule:
                assert rule["labels"]["job"] == job
            else:
                # What is made of other series has their job.
                assert rule.get("labels", {}).get("job", *jobs) == job
                recorded.setdefault(alias, set()).add(rule["record"])
    assert len(groups) == len(set(groups)) == 4
    assert recorded["api"] == recorded["admin"]


def test_each_has_dashboards_of_its_own_to_which_its_alerts_lead(render: Render) -> None:
    objects = render()
    texts = [
        json.loads(text)
        for each in objects.all("ConfigMap")
        if "-dashboard-" in each["metadata"]["name"]
        for text in each["data"].values()
    ]
    assert len({each["uid"] for each in texts}) == len({each["title"] for each in texts}) == len(texts) == 10
    for alias in ALIASES:
        links = {
            rule["annotations"]["dashboard_url"].removeprefix("/d/").partition("?")
            for rule in rules(objects, f"shop-{alias}")
            if "alert" in rule
        }
        assert {query for _, _, query in links} == {f"var-namespace=default&var-job=shop-{alias}"}
        assert {uid for uid, _, _ in links} <= {each["uid"] for each in texts if f"shop-{alias}" in each["title"]}


def test_the_alerts_of_one_without_dashboards_lead_to_those_of_a_release_that_has_them(render: Render) -> None:
    without = {"dashboards": {"enabled": True, "builtIn": [], "extra": {"orders": OWN}}}
    for rule in rules(render(admin=without), "shop-admin"):
        if "alert" in rule:
            assert rule["annotations"]["dashboard_url"].startswith("/d/fastapi-")


def test_a_long_name_leaves_uids_apart_and_whole(render: Render) -> None:
    objects = render("a-release-with-a-name-as-long-as-one-may-be-in-helm")
    uids = [
        json.loads(text)["uid"]
        for each in objects.all("ConfigMap")
        if "-dashboard-" in each["metadata"]["name"]
        for text in each["data"].values()
    ]
    assert len(set(uids)) == len(uids) == 10
    assert max(map(len, uids)) <= 40  # what Grafana takes


def test_a_condition_switches_one_off(render: Render) -> None:
    names = {each["metadata"]["name"] for each in render(api={"enabled": True}, admin={"enabled": False})}
    assert "shop-api" in names
    assert [name for name in names if "admin" in name] == []


def test_what_no_condition_reads_is_refused(tmp_path: Path) -> None:
    """Off where it is on, or of a release that is no umbrella's."""
    done = umbrella.template(umbrella.build(tmp_path, conditions=False), api={"enabled": False})
    assert done.returncode != 0
    assert "enabled is false, and nothing reads it: write `condition: api.enabled` beside the dependency" in done.stderr
    alone = helm("template", "demo", CHART, "--values=-", stdin=json.dumps({"image": IMAGE, "enabled": True}))
    assert alone.returncode != 0
    assert "enabled is for an umbrella chart" in alone.stderr
