"""Two versions side by side: each has pods of its own, and the HTTPRoute says how many requests each gets."""

from typing import Any

import pytest

from .helm import DIGEST, Object, Objects, pod, refusal, render

ROUTE = {
    "enabled": True,
    "parentRefs": [{"name": "public", "namespace": "gateways", "sectionName": "https"}],
    "hostnames": ["a.example"],
}
APP, CANARY = "demo-fastapi-service", "demo-fastapi-service-canary"
OLD, NEW = "registry.example.com/team/app:1", f"registry.example.com/team/app@{DIGEST}"


def values(canary: dict[str, Any] | None = None, **others: Any) -> Object:
    given = {"enabled": True, "image": {"digest": DIGEST}, "weight": 25, **(canary or {})}
    return {"image": {"tag": "1"}, "httpRoute": ROUTE, "canary": given, **others}


def canary(**changes: Any) -> Objects:
    return render(values(changes))


def image(workload: Object) -> str:
    found: str = pod(workload)["containers"][0]["image"]
    return found


def selected(each: Object, by: dict[str, str]) -> bool:
    labels: dict[str, str] = each["spec"]["template"]["metadata"]["labels"]
    return by.items() <= labels.items()


def test_none_without_being_asked() -> None:
    assert not [each for each in render({"httpRoute": ROUTE}) if each["metadata"]["name"].startswith(CANARY)]


def test_each_version_has_pods_of_its_own() -> None:
    objects = render(values({"replicas": 2}, replicas=5, autoscaling={"enabled": False}))
    app, new = objects.one("Deployment", APP), objects.one("Deployment", CANARY)
    assert (image(app), image(new)) == (OLD, NEW)
    assert (app["spec"]["replicas"], new["spec"]["replicas"]) == (5, 2)
    for one, other in ((app, new), (new, app)):
        assert selected(one, one["spec"]["selector"]["matchLabels"])
        assert not selected(other, one["spec"]["selector"]["matchLabels"])
    assert new["metadata"]["labels"]["app.kubernetes.io/version"] == DIGEST.replace(":", "-")[:19]
    spread = pod(new)["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"]
    assert spread == new["spec"]["selector"]["matchLabels"]


def test_the_app_is_as_without_it() -> None:
    """So a canary replaces none of the present pods."""
    before = render({"image": {"tag": "1"}, "httpRoute": ROUTE}).one("Deployment", APP)
    assert canary(config={"A": "2"}).one("Deployment", APP) == before


def test_the_route_weighs_them() -> None:
    (rule,) = canary(weight=5).one("HTTPRoute")["spec"]["rules"]
    assert rule["backendRefs"] == [
        {"name": APP, "port": 80, "weight": 95},
        {"name": CANARY, "port": 80, "weight": 5},
    ]
    (rule,) = canary(weight=0).one("HTTPRoute")["spec"]["rules"]
    assert [each["weight"] for each in rule["backendRefs"]] == [100, 0]


def test_a_service_leads_to_one_version() -> None:
    objects = canary()
    app, new = objects.one("Deployment", APP), objects.one("Deployment", CANARY)
    for name, own, other in ((APP, app, new), (CANARY, new, app), (f"{CANARY}-management", new, app)):
        selector = objects.one("Service", name)["spec"]["selector"]
        assert selected(own, selector)
        assert not selected(other, selector)


def test_its_config() -> None:
    objects = render(values({"config": {"A": "new"}}, config={"A": "old", "B": "old"}))
    assert objects.one("ConfigMap", APP)["data"]["A"] == "old"
    data = objects.one("ConfigMap", CANARY)["data"]
    assert (data["A"], "B" in data) == ("new", False)
    (source,) = pod(objects.one("Deployment", CANARY))["containers"][0]["envFrom"]
    assert source["configMapRef"]["name"] == CANARY
    same = render(values(config={"A": "old", "count": 12345678}))
    assert same.one("ConfigMap", CANARY)["data"] == same.one("ConfigMap", APP)["data"]


def test_prometheus_reads_both_as_one_job() -> None:
    objects = render(values(serviceMonitor={"enabled": True}))
    wanted = objects.one("ServiceMonitor", APP)["spec"]["selector"]["matchLabels"]
    found = [
        each["metadata"]["name"]
        for each in objects.all("Service")
        if wanted.items() <= each["metadata"]["labels"].items()
    ]
    assert sorted(found) == [f"{CANARY}-management", f"{APP}-management"]
    selector = render(values(podMonitor={"enabled": True})).one("PodMonitor")["spec"]["selector"]
    assert selector["matchExpressions"] == [
        {"key": "app.kubernetes.io/component", "operator": "In", "values": ["app", "canary"]}
    ]
    assert "app.kubernetes.io/component" not in selector["matchLabels"]


def test_a_network_policy_and_a_budget_for_its_pods() -> None:
    peers = [{"ipBlock": {"cidr": "10.0.0.0/8"}}]
    policy = {"enabled": True, "ingress": {"http": peers, "management": peers}}
    objects = render(values(networkPolicy=policy, podDisruptionBudget={"maxUnavailable": None, "minAvailable": 2}))
    own = objects.one("NetworkPolicy", CANARY)["spec"]
    assert own["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "canary"
    app = objects.one("NetworkPolicy", APP)["spec"]
    assert (own["ingress"], own["egress"]) == (app["ingress"], app["egress"])
    # The app's may ask for more pods than it has.
    budget = objects.one("PodDisruptionBudget", CANARY)["spec"]
    assert (budget["maxUnavailable"], "minAvailable" in budget) == (1, False)
    assert budget["selector"]["matchLabels"] == own["podSelector"]["matchLabels"]


def test_what_runs_before_is_of_the_new_version_and_what_runs_after_waits() -> None:
    jobs = {"prepare": {"args": ["prepare"], "when": "before"}, "report": {"args": ["report"]}}
    workers, cron = {"mail": {"args": ["work"]}}, {"clean": {"args": ["clean"], "schedule": "0 3 * * *"}}
    given = values({"config": {"A": "new"}}, migrations={"enabled": True}, jobs=jobs, workers=workers, cronJobs=cron)
    objects = render(given)
    found = {each["metadata"]["name"]: each for each in objects.all("Job")}
    assert sorted(found) == [f"{APP}-migrations", f"{APP}-prepare"]
    for each in found.values():
        assert image(each) == NEW
        assert {"name": "A", "value": "new"} in pod(each)["containers"][0]["env"]
    assert image(objects.one("Deployment", f"{APP}-mail")) == OLD
    assert image(objects.one("CronJob", f"{APP}-clean")) == OLD


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            values(httpRoute={"enabled": False}),
            "canary.enabled needs the weights of an HTTPRoute, and the public Service beside its own: set "
            "httpRoute.enabled and service.enabled to true, or canary.enabled to false",
        ),
        (
            values({"image": {}}),
            "canary.image has no version: set canary.image.tag or canary.image.digest",
        ),
        (
            values({"image": {"repository": "a:1"}}),
            'canary.image.repository "a:1" holds a tag or digest: write it as canary.image.tag or canary.image.digest',
        ),
        (
            values({"image": {"digest": "sha256:1"}}),
            'canary.image.digest "sha256:1" is no digest: write sha256: and its 64 hexadecimal digits',
        ),
        (
            values(persistence={"enabled": True}, replicas=1, autoscaling={"enabled": False}, strategy="Recreate"),
            "canary.enabled would run a second version on a volume that is for one pod (persistence.accessMode "
            "ReadWriteOnce): set canary.enabled to false",
        ),
        (values({"weight": 101}), "at '/canary/weight': maximum: got 101, want 100"),
    ],
)
def test_what_cannot_work_is_explained(given: Object, message: str) -> None:
    assert refusal(given) == [message]
