"""Which connections are allowed: those named, and no other."""

from typing import Any

import pytest
import yaml

from .helm import CHART, Objects, refusal, render

INGRESS, MONITORING, DNS = (
    {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
    for name in ("ingress", "monitoring", "kube-system")
)
DATABASE, CACHE = ({"ipBlock": {"cidr": cidr}} for cidr in ("10.1.0.0/24", "10.2.0.0/24"))
NAME = "demo-fastapi-service"
OWN = {"app.kubernetes.io/name": "fastapi-service", "app.kubernetes.io/instance": "demo"}


def policy(egress: dict[str, Any] | None = None, **values: Any) -> dict[str, Any]:
    return {"networkPolicy": {"enabled": True, "ingress": {"http": [INGRESS]}, "egress": egress or {}, **values}}


def allowed(rule: dict[str, Any], way: str) -> tuple[list[Any], list[tuple[str, int]]]:
    """Peers and ports of a rule. One without either would allow all."""
    assert rule[way]
    assert rule["ports"]
    return rule[way], [(port["protocol"], port["port"]) for port in rule["ports"]]


def rules(objects: Objects, way: str, name: str = NAME) -> list[tuple[list[Any], list[tuple[str, int]]]]:
    spec = objects.one("NetworkPolicy", name)["spec"]
    return [allowed(rule, way) for rule in spec["egress" if way == "to" else "ingress"]]


def component(name: str) -> dict[str, str]:
    return {**OWN, "app.kubernetes.io/component": name}


def test_none_without_being_asked() -> None:
    assert not render({"networkPolicy": {"ingress": {"http": [INGRESS]}}}).all("NetworkPolicy")


def test_every_pod_of_the_release_is_denied_by_one() -> None:
    objects = render({**policy(), "migrations": {"enabled": True}})
    policies = objects.all("NetworkPolicy")
    for each in policies:
        assert each["spec"]["policyTypes"] == ["Ingress", "Egress"]
    denied = [each["spec"]["podSelector"]["matchLabels"] for each in policies]
    workloads = [objects.one("Deployment")["spec"]["template"], objects.one("Job")["spec"]["template"]]
    for pod in [*workloads, *objects.all("Pod")]:
        labels = pod["metadata"]["labels"].items()
        assert [selector.items() <= labels for selector in denied].count(True) == 1


def test_the_ingress_the_tests_and_nobody_else_come_in() -> None:
    objects = render({**policy(), "ports": {"http": 8080, "management": 9090}})
    tests = {"podSelector": {"matchLabels": component("test")}}
    assert rules(objects, "from") == [
        ([INGRESS], [("TCP", 8080)]),
        ([tests], [("TCP", 8080), ("TCP", 9090)]),
    ]


def test_prometheus_comes_in_to_the_management_port_alone() -> None:
    values = policy(ingress={"http": [INGRESS], "management": [MONITORING]})
    assert ([MONITORING], [("TCP", 9000)]) in rules(render(values), "from")


def test_load_balancers_come_in_to_the_management_port_alone() -> None:
    balancer = {"ipBlock": {"cidr": "10.0.0.0/20"}}
    alone = policy(ingress={"http": [INGRESS], "healthChecks": [balancer]})
    assert ([balancer], [("TCP", 9000)]) in rules(render(alone), "from")
    both = policy(ingress={"http": [INGRESS], "management": [MONITORING], "healthChecks": [balancer]})
    assert ([MONITORING, balancer], [("TCP", 9000)]) in rules(render(both), "from")


def readme(cloud: str) -> dict[str, Any]:
    """The values that the README has for a cloud's load balancer."""
    text = (CHART / "README.md").read_text(encoding="utf-8")
    block = text.partition(f"\n{cloud}")[2].partition("```yaml\n")[2].partition("```")[0]
    found: dict[str, Any] = yaml.safe_load(block)
    return found


@pytest.mark.parametrize("cloud", ["AWS", "Google"])
def test_the_readme_s_load_balancers_reach_what_they_check(cloud: str) -> None:
    values = readme(cloud)
    objects = render(values)
    peers = values["networkPolicy"]["ingress"]["healthChecks"]
    assert (peers, [("TCP", 8000)]) in rules(objects, "from")
    assert (peers, [("TCP", 9000)]) in rules(objects, "from")
    probe = objects.container["readinessProbe"]["httpGet"]
    asked = str((CHART / "README.md").read_text(encoding="utf-8"))
    assert f"healthcheck-path: {probe['path']}\n" in asked
    assert f"requestPath: {probe['path']}\n" in asked
    if cloud == "AWS":
        annotations = objects.one("Ingress")["metadata"]["annotations"]
        assert annotations["alb.ingress.kubernetes.io/healthcheck-port"] == "9000"


def test_without_tests_nobody_comes_to_test() -> None:
    objects = render({**policy(), "tests": {"enabled": False}})
    assert rules(objects, "from") == [([INGRESS], [("TCP", 8000)])]
    assert [each["metadata"]["name"] for each in objects.all("NetworkPolicy")] == [NAME]


def test_only_names_are_resolved_by_default() -> None:
    assert rules(render(policy()), "to") == [([DNS], [("UDP", 53), ("TCP", 53)])]


def test_nothing_at_all_goes_out() -> None:
    objects = render({**policy({"dns": {"to": []}}), "migrations": {"enabled": True}})
    for name in (NAME, f"{NAME}-migrations"):
        assert objects.one("NetworkPolicy", name)["spec"]["egress"] == []


@pytest.mark.parametrize(
    ("destination", "ports"),
    [("database", [5432]), ("cache", [6379]), ("issuer", [443]), ("telemetry", [4317, 4318])],
)
def test_each_destination_has_its_ports(destination: str, ports: list[int]) -> None:
    objects = render({**policy({destination: {"to": [DATABASE]}}), "migrations": {"enabled": True}})
    for name in (NAME, f"{NAME}-migrations"):
        assert ([DATABASE], [("TCP", port) for port in ports]) in rules(objects, "to", name)
    other = render(policy({destination: {"to": [DATABASE, CACHE], "ports": [1234]}}))
    assert ([DATABASE, CACHE], [("TCP", 1234)]) in rules(other, "to")


def test_migrations_have_theirs_before_anything_else_is_there() -> None:
    objects = render({**policy({"database": {"to": [DATABASE]}}), "migrations": {"enabled": True}})
    found = objects.one("NetworkPolicy", f"{NAME}-migrations")
    job = objects.one("Job")["metadata"]["annotations"]
    assert found["spec"]["podSelector"]["matchLabels"] == component("migrations")
    assert "ingress" not in found["spec"], "nobody connects to them"
    annotations = found["metadata"]["annotations"]
    assert annotations["helm.sh/hook"] == job["helm.sh/hook"]
    assert int(annotations["helm.sh/hook-weight"]) < int(job.get("helm.sh/hook-weight", "0"))
    assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded,hook-failed"


def test_no_migrations_no_policy_for_them() -> None:
    names = {each["metadata"]["name"] for each in render(policy()).all("NetworkPolicy")}
    assert names == {NAME, f"{NAME}-test"}


def test_tests_reach_the_pods_and_the_ingress() -> None:
    objects = render(policy({"tests": {"to": [INGRESS]}}))
    pods = {"podSelector": {"matchLabels": component("app")}}
    assert rules(objects, "to", f"{NAME}-test") == [
        ([DNS], [("UDP", 53), ("TCP", 53)]),
        ([pods], [("TCP", 8000), ("TCP", 9000)]),
        ([INGRESS], [("TCP", 443), ("TCP", 8443)]),
    ]
    no_names = render(policy({"dns": {"to": []}}))
    assert rules(no_names, "to", f"{NAME}-test") == [([pods], [("TCP", 8000), ("TCP", 9000)])]


def test_more_rules() -> None:
    rule_in = {"from": [MONITORING], "ports": [{"port": 8000, "protocol": "TCP"}]}
    rule_out = {"to": [CACHE], "ports": [{"port": 1, "protocol": "TCP"}]}
    values = policy(extraIngress=[rule_in], extraEgress=[rule_out], ingress={"http": []})
    spec = render(values).one("NetworkPolicy", NAME)["spec"]
    assert rule_in in spec["ingress"]
    assert rule_out in spec["egress"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            policy(ingress={}),
            "networkPolicy.ingress.http is empty, so nobody could use the service: name the ingress controller's "
            "pods, such as [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ingress}}}]",
        ),
        (
            {**policy(), "serviceMonitor": {"enabled": True}},
            "networkPolicy.ingress.management is empty, so no metrics could be scraped: name Prometheus's pods, "
            "such as [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]",
        ),
        (
            {**policy(), "podMonitor": {"enabled": True}},
            "networkPolicy.ingress.management is empty, so no metrics could be scraped: name Prometheus's pods, "
            "such as [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]",
        ),
        (
            policy({"cache": {"to": [CACHE, {**DATABASE, "podSelector": {}}]}}),
            "networkPolicy.egress.cache.to[1] has an ipBlock beside a selector: write two peers",
        ),
        (
            policy(ingress={"http": [{**DATABASE, **INGRESS}]}),
            "networkPolicy.ingress.http[0] has an ipBlock beside a selector: write two peers",
        ),
        (
            {**policy(ingress={"http": [INGRESS], "healthChecks": [DATABASE]}), "serviceMonitor": {"enabled": True}},
            "networkPolicy.ingress.management is empty, so no metrics could be scraped: name Prometheus's pods, "
            "such as [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]",
        ),
        (
            policy(ingress={"http": [INGRESS], "healthChecks": [{**DATABASE, **INGRESS}]}),
            "networkPolicy.ingress.healthChecks[0] has an ipBlock beside a selector: write two peers",
        ),
        (
            policy({"cache": {"to": [{}]}}),
            "at '/networkPolicy/egress/cache/to/0': minProperties: got 0, want 1",
        ),
        (
            policy({"cache": {"ports": []}}),
            "at '/networkPolicy/egress/cache/ports': minItems: got 0, want 1",
        ),
        (
            policy({"queue": {"to": [CACHE]}}),
            "at '/networkPolicy/egress': additional properties 'queue' not allowed",
        ),
    ],
)
def test_what_cannot_work_is_explained(values: dict[str, Any], message: str) -> None:
    assert refusal(values) == [message]
