"""The PrometheusRule: which rules there are, and what values make of them. Whether they are right: tests/rules."""

import subprocess
import sys
from typing import Any

import pytest
import yaml

from keel.observability.metrics import SECONDS

from .helm import ROOT, helm_program, refusal, render

GROUPS = [{"name": "links", "rules": [{"alert": "Down", "expr": "up == 0", "annotations": {"a": "{{ $value }}"}}]}]


def rules(release: str = "demo", namespace: str = "default", **values: Any) -> list[dict[str, Any]]:
    objects = render(
        {**values, "prometheusRule": {"enabled": True, **values.get("prometheusRule", {})}},
        release=release,
        options=(f"--namespace={namespace}",),
    )
    return [rule for group in objects.one("PrometheusRule")["spec"]["groups"] for rule in group["rules"]]


def alert(name: str, **values: Any) -> dict[str, Any]:
    (found,) = (rule for rule in rules(**values) if rule.get("alert") == name)
    return found


def names(**values: Any) -> set[str]:
    return {rule["alert"] for rule in rules(**values) if "alert" in rule}


def test_none_without_being_asked() -> None:
    assert not render({"prometheusRule": {"groups": GROUPS}}).all("PrometheusRule")


def test_groups_of_ones_own_are_passed_on_as_they_are() -> None:
    found = render({"prometheusRule": {"enabled": True, "groups": GROUPS, "labels": {"release": "a"}}})
    rule = found.one("PrometheusRule")
    assert [group["name"] for group in rule["spec"]["groups"]] == [
        "demo-fastapi-service-slo",
        "demo-fastapi-service-alerts",
        "links",
    ]
    assert rule["spec"]["groups"][-1:] == GROUPS
    assert rule["metadata"]["labels"]["release"] == "a"


def test_an_alert_can_be_turned_off() -> None:
    off = {"alerts": {"ServiceCacheDown": {"enabled": False}, "ServiceLatencyBurn": {"enabled": False}}}
    assert names() - names(prometheusRule=off) == {"ServiceCacheDown", "ServiceLatencyBurn"}
    on = {"alerts": {"ServiceNoTraffic": {"enabled": True}}}
    assert names(prometheusRule=on) - names() == {"ServiceNoTraffic"}


def test_an_alert_has_the_severity_time_and_limit_of_its_values() -> None:
    values = {"alerts": {"ServiceMemoryNearLimit": {"severity": "critical", "for": "3m", "ratio": 0.75}}}
    found = alert("ServiceMemoryNearLimit", prometheusRule=values)
    assert (found["labels"]["severity"], found["for"]) == ("critical", "3m")
    assert found["expr"].endswith("> 0.75")
    assert "for 3m" in found["annotations"]["description"]


def test_two_releases_share_no_series_and_no_names() -> None:
    """Deployment, pods, autoscaler, Job and certificate are called after the release."""
    one, other = (
        yaml.safe_dump(rules(release=release, namespace=release, **CERTIFIED, **BACKGROUND))
        for release in ("alpha", "bravo")
    )
    assert one.replace("alpha", "bravo") == other
    assert "bravo" not in one


CERTIFIED: dict[str, Any] = {
    "ingress": {"enabled": True, "hosts": [{"host": "links.example.com"}, {"host": "*.example.org"}]},
    "migrations": {"enabled": True},
}


BACKGROUND: dict[str, Any] = {
    "workers": {"mail": {"args": ["work"], "metrics": True, "autoscaling": {"maxReplicas": 3}}},
    "cronJobs": {"clean-up": {"args": ["clean-up"], "schedule": "@daily"}},
    "jobs": {"warm-up": {"args": ["warm-up"]}},
}
OF_TASKS = {f"Service{name}" for name in ("TaskQueueStalled", "TasksLate", "TasksFailed", "TasksUnknown", "WorkerIdle")}
OF_JOBS = {"ServiceJobFailed", "ServiceJobNearDeadline"}


def test_alerts_are_about_what_a_release_has() -> None:
    assert names() >= OF_TASKS, "the kit's processes may all run tasks"
    foreign = {"metrics": {"profile": "otel"}}
    assert names() - names(**foreign) == OF_TASKS
    workers = names(**foreign, workers=BACKGROUND["workers"]) - names(**foreign)
    assert workers == {"ServiceWorkerDown", "ServiceWorkerTargetsMissing", *OF_TASKS}
    unmeasured = names(**foreign, workers={"mail": {"args": ["work"]}}) - names(**foreign)
    assert unmeasured == {"ServiceWorkerDown"}
    assert names(jobs=BACKGROUND["jobs"]) - names() == OF_JOBS
    assert names(cronJobs=BACKGROUND["cronJobs"]) - names() == {"ServiceCronJobMissed", *OF_JOBS}


def of_workers(**values: Any) -> set[tuple[str, str]]:
    """The alerts about pods of a worker, with its name."""
    return {(each["alert"], each["labels"]["worker"]) for each in rules(**values) if "worker" in each.get("labels", {})}


def test_what_is_told_of_the_apps_pods_is_told_of_each_worker_s() -> None:
    assert not of_workers()
    bare = {"args": ["work"]}
    of_kubernetes = {name for name, _ in of_workers(workers={"mail": bare})}
    assert of_kubernetes == {
        f"Service{name}"
        for name in ("WorkerDown", "CrashLoop", "ReplicasShort", "RolloutStuck", "MemoryNearLimit", "CPUThrottled")
    }
    measured = {name for name, _ in of_workers(workers={"mail": {**bare, "metrics": True}})} - of_kubernetes
    assert measured == {
        f"Service{name}" for name in ("WorkerTargetsMissing", "TargetDown", "DatabaseUnavailable", "EventLoopBlocked")
    }
    scaled = {
        "mail": bare,
        "report": {**bare, "keda": {"maxReplicas": 2, "triggers": [{"type": "cron", "metadata": {}}]}},
    }
    found = of_workers(workers=scaled)
    assert found - {(name, worker) for name in of_kubernetes for worker in scaled} == {
        ("ServiceAutoscalerAtLimit", "report")
    }


@pytest.mark.parametrize("kind", ["autoscaling", "keda"])
def test_a_worker_s_autoscaler_that_is_looked_for_is_the_one_there_is(kind: str) -> None:
    given = {"maxReplicas": 2, **({"triggers": [{"type": "cron", "metadata": {}}]} if kind == "keda" else {})}
    values: dict[str, Any] = {"workers": {"mail": {"args": ["work"], kind: given}}}
    objects = render(values)
    if kind == "keda":
        spec = objects.one("ScaledObject", "demo-fastapi-service-mail")["spec"]
        name = spec["advanced"]["horizontalPodAutoscalerConfig"]["name"]
    else:
        name = objects.one("HorizontalPodAutoscaler", "demo-fastapi-service-mail")["metadata"]["name"]
    expressions = [
        each["expr"]
        for each in rules(**values)
        if each.get("alert") == "ServiceAutoscalerAtLimit" and "worker" in each["labels"]
    ]
    assert [f'horizontalpodautoscaler="{name}"' in each for each in expressions] == [True]


def test_certificates_are_watched_where_there_are_hosts() -> None:
    assert names(**CERTIFIED) - names() == {"ServiceCertificateExpired", "ServiceCertificateExpiring"}
    expression = alert("ServiceCertificateExpired", **CERTIFIED)["expr"]
    hosts = "[*][.]example[.]com|[*][.]example[.]org|links[.]example[.]com"
    assert f'sans=~"(.*,)?({hosts})(,.*)?"' in expression


@pytest.mark.parametrize("full_name", ["", "a" * 63])
def test_the_autoscaler_that_is_looked_for_is_the_one_there_is(full_name: str) -> None:
    chosen = {"enabled": True, "prometheus": {"serverAddress": "http://prometheus:9090"}}
    values = {"autoscaling": {"enabled": False}, "keda": chosen, "fullnameOverride": full_name}
    config = render(values).one("ScaledObject")["spec"]["advanced"]["horizontalPodAutoscalerConfig"]
    assert f'horizontalpodautoscaler="{config["name"]}"' in alert("ServiceAutoscalerAtLimit", **values)["expr"]
    assert config["name"].endswith("-keda")  # as the dashboards have it: grafana/promql.py


def test_pods_of_a_long_name_are_found_by_its_start() -> None:
    """Of such a pod's name Kubernetes keeps 58 characters and its own five."""
    found = alert("ServiceCrashLoop", fullnameOverride="a" * 63)
    assert f'pod=~"{"a" * 46}.*"' in found["expr"]


def test_addresses_of_runbooks_and_dashboards() -> None:
    urls = {"runbookUrl": "https://git.example.com/runbooks/", "dashboardUrl": "https://grafana.example.com/"}
    annotations = alert("ServiceDown", prometheusRule=urls)["annotations"]
    assert annotations["runbook_url"] == "https://git.example.com/runbooks/ServiceDown.md"
    expected = "https://grafana.example.com/d/fastapi-overview?var-namespace=default&var-job=demo"
    assert annotations["dashboard_url"] == expected


@pytest.mark.parametrize(("objective", "budget"), [(99.9, "0.001"), (99.95, "0.0005"), (99, "0.01")])
def test_an_objective_is_written_exactly(objective: float, budget: str) -> None:
    found = rules(prometheusRule={"slo": {"availability": {"objective": objective}}})
    assert any(f"> 14.4 * {budget}\n" in rule["expr"] for rule in found)
    written = [rule["expr"] for rule in found if rule.get("record") == "job:slo_objective:ratio"]
    assert f"vector({objective / 100:g})" in written


def test_windows_are_those_of_the_values_and_of_the_dashboards() -> None:
    windows = [{"severity": "critical", "burnRate": 2, "long": "4m", "short": "30s", "for": "0s"}]
    found = rules(prometheusRule={"slo": {"windows": windows}})
    recorded = [rule["record"] for rule in found if rule.get("record", "").startswith("job:slo_errors:ratio_rate")]
    assert recorded == [f"job:slo_errors:ratio_rate{window}" for window in ("5m", "1h", "6h", "30s", "4m")]
    assert {rule["labels"]["window"] for rule in found if "Burn" in rule.get("alert", "")} == {"4m"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"slo": {"latency": {"threshold": 0.3}}},
            "prometheusRule.slo.latency.threshold 0.3 is no bucket, so what is slower could not be counted: "
            "write one of 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, "
            "or list those of your image in prometheusRule.slo.latency.buckets",
        ),
        (
            {"slo": {"windows": [{"severity": "info", "burnRate": 1, "long": "1h", "short": "60m", "for": "0s"}]}},
            "prometheusRule.slo.windows[0].short 60m is not below its long 1h: shorten it, such as to a twelfth",
        ),
        (
            {
                "slo": {
                    "availability": {"objective": 90},
                    "windows": [{"severity": "info", "burnRate": 10, "long": "1h", "short": "5m", "for": "0s"}],
                }
            },
            "prometheusRule.slo.windows[0].burnRate 10 could never be reached with availability.objective 90, "
            "even if all requests failed: lower the one or raise the other",
        ),
        ({"interval": "3m"}, "prometheusRule.interval 3m is too long, and graphs would have gaps: write at most 2m"),
    ],
)
def test_what_cannot_work_is_explained(values: dict[str, Any], message: str) -> None:
    assert refusal({"prometheusRule": {"enabled": True, **values}}) == [message]


def test_an_alert_at_every_renewal_is_refused() -> None:
    certificate = {"enabled": True, "issuerRef": {"name": "a"}, "duration": "240h"}
    values = {**CERTIFIED, "certificate": certificate, "prometheusRule": {"enabled": True}}
    assert refusal(values) == [
        "prometheusRule.alerts.ServiceCertificateExpiring.days 7 is not below the time at which the certificate is "
        "renewed, 80h before its end, so the alert would fire each time: lower it"
    ]


@pytest.mark.parametrize(
    "values",
    [
        {"slo": {"availability": {"objective": "99.9"}}},
        {"slo": {"availability": {"objective": 100}}},
        {"slo": {"latency": {"threshold": "fast"}}},
        {"slo": {"windows": [{"severity": "loud", "burnRate": 1, "long": "1h", "short": "5m", "for": "0s"}]}},
        {"alerts": {"ServiceDown": {"for": "soon"}}},
        {"alerts": {"ServiceUp": {"enabled": True}}},
        {"alerts": {"ServiceMemoryNearLimit": {"ratio": 90}}},
        {"interval": "30"},
    ],
)
def test_what_is_no_number_or_duration_is_refused(values: dict[str, Any]) -> None:
    assert any("prometheusRule" in line for line in refusal({"prometheusRule": values}))


def test_the_buckets_are_those_of_the_app() -> None:
    values = yaml.safe_load((ROOT / "charts/fastapi-service/values.yaml").read_text(encoding="utf-8"))
    assert values["prometheusRule"]["slo"]["latency"]["buckets"] == list(SECONDS)


def plain(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "charts/rules.py", *arguments]
    environment = {"HELM": helm_program(), "PATH": "/usr/bin:/bin"}
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)


def test_the_same_rules_as_a_file_for_a_prometheus_without_the_operator() -> None:
    done = plain("demo", "--namespace=shop", "--set=image.repository=example.com/app")
    assert done.returncode == 0, done.stderr
    found = [rule for group in yaml.safe_load(done.stdout)["groups"] for rule in group["rules"]]
    assert found == rules(namespace="shop")


def test_a_file_of_values_that_cannot_work_is_refused() -> None:
    done = plain("demo", "--set=image.repository=example.com/app", "--set=prometheusRule.interval=9m")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "prometheusRule.interval 9m is too long" in done.stderr
    assert "Traceback" not in done.stderr
