"""What linters of rules look for, on the rules as they are rendered."""

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from tests.app.subject import SERVICE, Settings
from tests.chart import umbrella
from tests.chart.helm import CHART, ENVIRONMENTS, render
from tests.probe.main import SERVICE as PROBE
from tests.rules.causes import CAUSES, OTHERS
from tests.rules.programs import run
from tests.rules.rendered import EVERY_ALERT, SHRUNK, Rule, alerts_of, groups, rules_of, write

ROOT = Path(__file__).parents[2]
ALL = groups(EVERY_ALERT)
ALERTS = pytest.mark.parametrize("rule", alerts_of(ALL), ids=lambda r: r["alert"] + r["labels"].get("window", ""))
RULES = pytest.mark.parametrize("rule", rules_of(ALL), ids=lambda r: r.get("alert", r.get("record")))
DASHBOARDS = {"fastapi-overview", "fastapi-dependencies", "fastapi-runtime", "fastapi-tasks"}
TARGET = {"namespace", "job", "pod", "instance"}
SELECTOR = re.compile(r"\b([a-z_]+[a-z0-9_:]*)\{([^}]*)\}")
MATCHER = re.compile(r'([a-z_]+)(?:=~|!~|!=|=)"')


@pytest.mark.parametrize("values", [None, EVERY_ALERT, SHRUNK], ids=["default", "every alert", "shrunk"])
def test_promtool_finds_nothing(values: dict[str, Any] | None, tmp_path: Path) -> None:
    done = run("promtool", "check", "rules", "--lint=all", "--lint-fatal", write(groups(values), tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", ENVIRONMENTS, ids=lambda file: file.stem)
def test_promtool_finds_nothing_in_the_environments(file: Path, tmp_path: Path) -> None:
    found = render(None, file, release="links").one("PrometheusRule")["spec"]["groups"]
    done = run("promtool", "check", "rules", "--lint=all", "--lint-fatal", write(found, tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_finds_nothing_in_two_aliases(tmp_path: Path) -> None:
    """Each has a file of its own, as the operator writes them."""
    found = umbrella.render(umbrella.build(tmp_path)).all("PrometheusRule")
    assert len(found) == 2
    for each in found:
        rules = write(each["spec"]["groups"], tmp_path)
        done = run("promtool", "check", "rules", "--lint=all", "--lint-fatal", rules)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_placeholder_is_filled_in() -> None:
    assert "<<" not in yaml.safe_dump(ALL)
    assert all("<<" in path.read_text(encoding="utf-8") for path in (CHART / "rules").iterdir())


@ALERTS
def test_an_alert_says_what_how_bad_and_where_to_look(rule: Rule) -> None:
    labels, annotations = rule["labels"], rule["annotations"]
    assert re.fullmatch(r"Service([A-Z]+[a-z]*)+", rule["alert"])
    assert labels["severity"] in {"critical", "warning", "info"}
    assert (labels["namespace"], labels["job"]) == ("links", "links")
    assert set(annotations) == {"summary", "description", "runbook_url", "dashboard_url"}
    whose = f"links-{labels['worker']}" if "worker" in labels else "links"
    assert annotations["summary"].startswith(f"{whose}: ")
    assert "$value" in annotations["description"], "a number tells how bad it is"
    assert (ROOT / annotations["runbook_url"]).is_file()
    assert Path(annotations["runbook_url"]).stem == rule["alert"]
    dashboard = re.fullmatch(r"/d/([a-z-]+)\?var-namespace=links&var-job=links", annotations["dashboard_url"])
    assert dashboard is not None
    assert dashboard[1] in DASHBOARDS


@ALERTS
def test_an_alert_waits_for_more_than_one_evaluation(rule: Rule) -> None:
    assert re.fullmatch(r"[1-9][0-9]*[mh]", rule["for"])


@ALERTS
def test_an_alert_has_its_labels_for_its_annotations(rule: Rule) -> None:
    """Aggregation must keep what the texts name."""
    used = set(re.findall(r"\$labels\.([a-z_]+)", str(rule["annotations"])))
    kept = {name.strip() for by in re.findall(r"by \(([^)]*)\)", rule["expr"]) for name in by.split(",")}
    assert used <= kept
    if not kept:
        assert not used


def test_each_alert_is_tested() -> None:
    burns = {"ServiceAvailabilityBurn", "ServiceLatencyBurn"}  # test_slo.py
    assert {rule["alert"] for rule in alerts_of(ALL)} - burns == set(CAUSES)


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Each metric of the service with its labels, from its own /metrics, with all that is optional."""
    database_url = SecretStr(f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('database')}/links.db")
    settings = Settings(
        database_url=database_url,
        valkey_url=SecretStr("valkey://localhost:1"),
        jwks_url="https://issuer.example.com/jwks",
        jwt_issuer="https://issuer.example.com",
        jwt_audience="links",
    )
    service = SERVICE.build(settings)
    # With tasks, which the service has none of.
    tasks = PROBE.build(PROBE.settings().model_copy(update={"database_url": database_url}))

    async def ask(application: Any, path: str) -> str:
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return (await client.get(path)).text

    asyncio.run(ask(service.public, "/nothing-here/at-all"))
    text = "".join(asyncio.run(ask(each.management, "/metrics")) for each in (service, tasks))
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


@RULES
def test_a_rule_reads_metrics_that_exist_by_labels_that_they_have(rule: Rule, exposed: dict[str, set[str]]) -> None:
    recorded = {each["record"] for each in rules_of(ALL) if "record" in each}
    for metric, matchers in SELECTOR.findall(rule["expr"]):
        labels = set(MATCHER.findall(matchers))
        if metric in recorded:
            assert labels <= {"namespace", "job", "slo"}
        elif metric in OTHERS:
            assert labels <= OTHERS[metric] | TARGET
        else:
            assert metric in exposed
            assert labels <= exposed[metric] | TARGET


@RULES
def test_a_rule_reads_nothing_of_another_release(rule: Rule) -> None:
    for metric, matchers in SELECTOR.findall(rule["expr"]):
        if metric != "traefik_tls_certs_not_after":  # a host's, whoever serves it
            assert 'namespace="links"' in matchers
            names = "job|deployment|horizontalpodautoscaler|job_name|cronjob|name|pod"
            assert re.search(f'({names})(=|=~)"links', matchers)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\"[^\"]*\"", "@", rule["expr"])
    assert not re.search(r"\b(kube|container|http|up|job:)\w*(?!@)\b(?![@\w:])", bare)


@pytest.mark.parametrize(
    "record", ["job:slo_errors:ratio_rate5m", "job:slo_errors:ratio_rate1h", "job:slo_errors:ratio_rate6h"]
)
def test_the_windows_of_the_dashboards_are_recorded_whatever_the_values(record: str) -> None:
    without: dict[str, Any] = {"slo": {"windows": []}}
    for values in (without, SHRUNK):
        assert record in {rule.get("record") for rule in rules_of(groups(values))}


def test_what_a_rule_reads_is_recorded_before_it() -> None:
    seen: set[str] = set()
    for rule in rules_of(groups({**EVERY_ALERT, **SHRUNK})):
        read = {metric for metric, _ in SELECTOR.findall(rule["expr"]) if ":" in metric}
        assert read <= seen
        seen.add(rule.get("record", ""))
