"""The public Service and Ingress, and the management port that neither knows."""

from typing import Any

import pytest

from .helm import Object, refusal, render

MONITORED = {"serviceMonitor": {"enabled": True}}
HOSTS = [
    {"host": "links.example.com"},
    {"host": "*.example.org", "paths": [{"path": "/a"}, {"path": "/b", "pathType": "Exact"}]},
]


def public(values: dict[str, Any] | None = None) -> Object:
    return render(values).one("Service", "demo-fastapi-service")


def test_the_public_service() -> None:
    service = public()
    assert service["spec"]["type"] == "ClusterIP"
    assert service["spec"]["ports"] == [{"name": "http", "port": 80, "targetPort": "http"}]
    assert "annotations" not in service["metadata"]


def test_its_type_port_and_annotations() -> None:
    service = public({"service": {"type": "LoadBalancer", "port": 8080, "annotations": {"a": "b"}}})
    assert service["spec"]["type"] == "LoadBalancer"
    assert service["spec"]["ports"][0]["port"] == 8080
    assert service["metadata"]["annotations"] == {"a": "b"}


def test_its_way_to_pods_and_its_addresses() -> None:
    assert not {"trafficDistribution", "ipFamilyPolicy"} & public()["spec"].keys()
    given = {"trafficDistribution": "PreferClose", "ipFamilyPolicy": "PreferDualStack"}
    assert public({"service": given})["spec"].items() >= given.items()


def test_a_way_to_pods_that_the_cluster_does_not_know() -> None:
    values = {"service": {"trafficDistribution": "PreferSameNode"}}
    assert refusal(values, options=("--kube-version=1.33.9",)) == [
        "service.trafficDistribution PreferSameNode needs Kubernetes 1.34, and this is v1.33.9: write PreferClose"
    ]
    assert render(values, options=("--kube-version=1.34.0",))
    assert render({"service": {"trafficDistribution": "PreferClose"}}, options=("--kube-version=1.31.0",))


@pytest.mark.parametrize("values", [{}, MONITORED, {"podMonitor": {"enabled": True}}])
def test_the_management_port_has_a_service_of_its_own(values: dict[str, Any]) -> None:
    objects = render(values)
    service = objects.one("Service", "demo-fastapi-service-management")
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["ports"] == [{"name": "management", "port": 9000, "targetPort": "management"}]
    public = objects.one("Service", "demo-fastapi-service")
    assert [port["name"] for port in public["spec"]["ports"]] == ["http"]


def test_no_monitor_without_being_asked() -> None:
    assert not render().all("ServiceMonitor")


def test_the_monitor_selects_the_management_service_alone() -> None:
    objects = render({"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}, "interval": "30s"}})
    monitor = objects.one("ServiceMonitor")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["endpoints"] == [{"port": "management", "path": "/metrics", "interval": "30s"}]

    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    selected = [each for each in objects.all("Service") if each["metadata"]["labels"].items() >= wanted]
    assert [each["metadata"]["name"] for each in selected] == ["demo-fastapi-service-management"]
    assert selected[0]["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "demo"


def test_the_path_of_the_metrics() -> None:
    objects = render({"serviceMonitor": {"enabled": True, "path": "/stats"}})
    assert objects.one("ServiceMonitor")["spec"]["endpoints"][0]["path"] == "/stats"


def test_no_ingress_without_being_asked() -> None:
    assert not render({"ingress": {"hosts": HOSTS}}).all("Ingress")


def test_the_ingress_routes_each_host_to_the_public_port() -> None:
    ingress = render({"ingress": {"enabled": True, "hosts": HOSTS}}).one("Ingress")
    backend = {"service": {"name": "demo-fastapi-service", "port": {"name": "http"}}}
    assert ingress["spec"] == {
        "rules": [
            {
                "host": "links.example.com",
                "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
            },
            {
                "host": "*.example.org",
                "http": {
                    "paths": [
                        {"path": "/a", "pathType": "Prefix", "backend": backend},
                        {"path": "/b", "pathType": "Exact", "backend": backend},
                    ]
                },
            },
        ]
    }
    assert "annotations" not in ingress["metadata"]


def test_its_class_certificates_and_annotations() -> None:
    tls = [{"secretName": "links-tls", "hosts": ["links.example.com"]}]
    given = {"enabled": True, "className": "traefik", "annotations": {"a": "b"}, "hosts": HOSTS, "tls": tls}
    ingress = render({"ingress": given}).one("Ingress")
    assert ingress["spec"]["ingressClassName"] == "traefik"
    assert ingress["spec"]["tls"] == tls
    assert ingress["metadata"]["annotations"] == {"a": "b"}
