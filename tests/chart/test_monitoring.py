"""What the Prometheus Operator is told: who is scraped, and how."""

import re
from typing import Any

import pytest

from keel.contract.metric_profiles import PROFILES

from .helm import pod, refusal, render

KINDS = {"serviceMonitor": ("ServiceMonitor", "endpoints"), "podMonitor": ("PodMonitor", "podMetricsEndpoints")}
BOTH = pytest.mark.parametrize("monitor", KINDS)


def endpoint(monitor: str, **values: Any) -> dict[str, Any]:
    kind, endpoints = KINDS[monitor]
    (found,) = render({monitor: {"enabled": True, **values}}).one(kind)["spec"][endpoints]
    return dict(found)


@BOTH
def test_none_without_being_asked(monitor: str) -> None:
    assert not render({monitor: {"interval": "30s"}}).all(KINDS[monitor][0])


@BOTH
def test_the_management_port_is_scraped(monitor: str) -> None:
    assert endpoint(monitor) == {"port": "management", "path": "/metrics", "interval": "15s"}


def test_a_collector_in_the_pod_is_scraped_in_the_application_s_place() -> None:
    """As docs/contract.md says of what is pushed. The collector has the management port, so no probe asks it."""
    probe = {"path": "/health", "httpGet": {"port": "http"}}
    objects = render(
        {
            "ports": {"http": 8000, "management": 9000},
            "probes": dict.fromkeys(("startup", "liveness", "readiness"), probe),
            "metrics": {"profile": "otel"},
            "podMonitor": {"enabled": True},
            "extraContainers": [{"name": "collector", "image": "registry.example.com/collector:1"}],
        }
    )
    app, collector = pod(objects.one("Deployment"))["containers"]
    assert collector["name"] == "collector"
    assert {"name": "management", "containerPort": 9000} in app["ports"]
    assert {app[f"{kind}Probe"]["httpGet"]["port"] for kind in ("startup", "liveness", "readiness")} == {"http"}
    (scraped,) = objects.one("PodMonitor")["spec"]["podMetricsEndpoints"]
    assert scraped["port"] == "management"
    assert scraped["metricRelabelings"]


@BOTH
def test_how_it_is_scraped(monitor: str) -> None:
    given = {
        "path": "/stats",
        "interval": "1m",
        "scrapeTimeout": "10s",
        "relabelings": [{"targetLabel": "a", "replacement": "b"}],
        "metricRelabelings": [{"action": "drop", "regex": "c"}],
    }
    assert endpoint(monitor, **given) == {"port": "management", **given}


@BOTH
def test_labels_by_which_it_is_selected(monitor: str) -> None:
    found = render({monitor: {"enabled": True, "labels": {"release": "prometheus"}}}).one(KINDS[monitor][0])
    assert found["metadata"]["labels"]["release"] == "prometheus"
    assert found["metadata"]["labels"]["app.kubernetes.io/component"] == "management"


def test_a_pod_monitor_selects_the_pods_and_calls_the_job_the_same() -> None:
    objects = render({"podMonitor": {"enabled": True}, "migrations": {"enabled": True}})
    spec = objects.one("PodMonitor")["spec"]
    pods = objects.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"].items() <= pods.items()
    assert not spec["selector"]["matchLabels"].items() <= objects.one("Job")["metadata"]["labels"].items()
    assert pods[spec["jobLabel"]] == "demo"
    (port,) = (each for each in objects.container["ports"] if each["name"] == "management")
    assert port["containerPort"] == 9000


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}},
            "serviceMonitor.enabled and podMonitor.enabled are both true, so each pod would be scraped twice: "
            "set one of them",
        ),
        (
            {"podMonitor": {"interval": "15"}},
            'podMonitor.interval "15" is no duration: write a number and ms, s or m, such as 15s',
        ),
        (
            {"serviceMonitor": {"scrapeTimeout": "soon"}},
            'serviceMonitor.scrapeTimeout "soon" is no duration: write a number and ms, s or m, such as 10s',
        ),
        (
            {"podMonitor": {"scrapeTimeout": "1m"}},
            "podMonitor.scrapeTimeout 1m is above podMonitor.interval 15s: lower the one or raise the other",
        ),
        (
            {"serviceMonitor": {"interval": "9000ms", "scrapeTimeout": "10s"}},
            "serviceMonitor.scrapeTimeout 10s is above serviceMonitor.interval 9000ms: "
            "lower the one or raise the other",
        ),
        (
            {"podMonitor": {"labels": {"app.kubernetes.io/name": "a"}}},
            "podMonitor.labels has app.kubernetes.io/name, by which the chart finds its objects: "
            "use a label of your own",
        ),
        (
            {"prometheusRule": {"labels": {"helm.sh/chart": "a"}}},
            "prometheusRule.labels has helm.sh/chart, by which the chart finds its objects: use a label of your own",
        ),
    ],
)
def test_what_cannot_work_is_explained(values: dict[str, Any], message: str) -> None:
    assert refusal(values) == [message]


@BOTH
def test_a_timeout_as_long_as_the_interval_is_not_refused(monitor: str) -> None:
    assert endpoint(monitor, interval="1m", scrapeTimeout="60s")["scrapeTimeout"] == "60s"


def relabelings(monitor: str, **metrics: Any) -> list[dict[str, Any]]:
    kind, endpoints = KINDS[monitor]
    (found,) = render({monitor: {"enabled": True}, "metrics": metrics}).one(kind)["spec"][endpoints]
    return list(found.get("metricRelabelings", []))


@BOTH
@pytest.mark.parametrize("profile", ["instrumentator", "otel", "starlette_exporter"])
def test_a_profile_is_brought_into_the_normal_form(monitor: str, profile: str) -> None:
    """What comes of it is seen in tests/libraries."""
    named = {each.get("replacement") for each in relabelings(monitor, profile=profile)}
    assert {"http_requests_in_flight", "http_probes_total"} <= named
    assert relabelings(monitor, profile="own") == []


@pytest.mark.parametrize("profile", PROFILES)
def test_the_contract_looks_for_the_same_names(profile: str) -> None:
    """That of the kit, which tries an image without the chart."""
    names, found = PROFILES[profile], relabelings("serviceMonitor", profile=profile)
    wanted = {"status": names.status, "route": names.route, "method": names.method}
    brought = {each["targetLabel"]: each["sourceLabels"][1] for each in found if each.get("targetLabel") in wanted}
    assert {label: brought.get(label, label) for label in wanted} == wanted
    normal = PROFILES["own"].histogram
    renamed = [each["regex"] for each in found if each.get("replacement") == f"{normal}$1"]
    assert renamed == ([] if names.histogram == normal else [f"{names.histogram}(_bucket|_count|_sum)"])


@BOTH
def test_ones_own_changes_come_after_those_of_the_profile(monitor: str) -> None:
    kind, endpoints = KINDS[monitor]
    drop = {"action": "drop", "regex": "c"}
    values = {monitor: {"enabled": True, "metricRelabelings": [drop]}, "metrics": {"profile": "otel"}}
    (found,) = render(values).one(kind)["spec"][endpoints]
    assert found["metricRelabelings"][-1] == drop
    assert len(found["metricRelabelings"]) > 1


def test_milliseconds_become_seconds_by_bucket() -> None:
    custom = {"histogram": "took_ms", "unit": "milliseconds"}
    bounds = {
        each["regex"].partition(";")[2]: each["replacement"]
        for each in relabelings("podMonitor", profile="custom", custom=custom)
        if each.get("targetLabel") == "le"
    }
    assert len(bounds) == 13
    assert (bounds["500([.]0)?"], bounds["2[.]5([.]0)?"], bounds["10000([.]0)?"]) == ("0.5", "0.0025", "10")


def test_paths_are_taken_as_they_are_written() -> None:
    values = {"serviceMonitor": {"enabled": True, "path": "/a.b"}, "metrics": {"profile": "otel"}}
    (found,) = render(values).one("ServiceMonitor")["spec"]["endpoints"]
    (probes,) = [each for each in found["metricRelabelings"] if each.get("replacement") == "http_probes_total"]
    paths = probes["regex"].partition(";")[2]
    assert re.fullmatch(paths, "/a.b")
    assert re.fullmatch(paths, "/readyz")
    assert not re.fullmatch(paths, "/aXb")


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({"profile": "custom"}, "is empty: name the image's histogram of durations, such as api_latency_seconds"),
        ({"custom": {"histogram": "took"}}, "metrics.profile own has names of its own: set metrics.profile to custom"),
        (
            {"profile": "custom", "custom": {"histogram": "took_bucket"}},
            "is one of its series: write it without _bucket",
        ),
    ],
)
def test_names_that_lead_nowhere_are_refused(metrics: dict[str, Any], said: str) -> None:
    (line,) = refusal({"metrics": metrics})
    assert line.endswith(said)
