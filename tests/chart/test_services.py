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


def test_what_a_load_balancer_and_nodes_are_told() -> None:
    service = public(
        {
            "service": {
                "type": "LoadBalancer",
                "appProtocol": "http",
                "nodePort": 30080,
                "externalTrafficPolicy": "Local",
                "loadBalancerClass": "example.com/internal",
                "loadBalancerSourceRanges": ["192.0.2.0/24"],
            }
        }
    )["spec"]
    assert (service["externalTrafficPolicy"], service["loadBalancerClass"]) == ("Local", "example.com/internal")
    assert service["loadBalancerSourceRanges"] == ["192.0.2.0/24"]
    assert service["ports"] == [
        {"name": "http", "port": 80, "targetPort": "http", "appProtocol": "http", "nodePort": 30080}
    ]


class TestNoPublicService:
    def test_pods_are_asked_at_their_own_addresses(self) -> None:
        objects = render({"service": {"enabled": False}, "ports": {"http": 8080}})
        (service,) = objects.all("Service")
        assert service["spec"]["clusterIP"] == "None"
        (test,) = (each for each in objects.all("Pod") if each["metadata"]["name"].endswith("-test-route"))
        url = test["spec"]["containers"][0]["args"][1]
        assert url == f"http://{service['metadata']['name']}.default.svc:8080/"

    @pytest.mark.parametrize(
        ("name", "values"),
        [
            ("ingress", {"hosts": HOSTS}),
            ("httpRoute", {"hostnames": ["a.example"], "parentRefs": [{"name": "public"}]}),
        ],
    )
    def test_nothing_leads_to_what_is_not_there(self, name: str, values: dict[str, Any]) -> None:
        assert refusal({"service": {"enabled": False}, name: {"enabled": True, **values}}) == [
            f"{name}.enabled is true, and there is no Service to lead to: "
            f"set service.enabled to true, or {name}.enabled to false"
        ]


GRPC = {"name": "grpc", "containerPort": 50051}


class TestMorePorts:
    def test_of_the_container_alone(self) -> None:
        objects = render({"extraPorts": [GRPC]})
        assert objects.container["ports"][2:] == [{**GRPC, "protocol": "TCP"}]
        assert objects.one("Service", "demo-fastapi-service") == public()

    def test_of_the_service_too(self) -> None:
        more = {"servicePort": 9000, "appProtocol": "kubernetes.io/h2c", "nodePort": 30051}
        spec = public({"extraPorts": [{**GRPC, **more}], "service": {"type": "NodePort"}})["spec"]
        assert spec["ports"][1:] == [
            {
                "name": "grpc",
                "port": 9000,
                "targetPort": "grpc",
                "protocol": "TCP",
                "appProtocol": "kubernetes.io/h2c",
                "nodePort": 30051,
            }
        ]

    def test_one_number_for_two_protocols(self) -> None:
        ports = [{**GRPC, "servicePort": 80, "protocol": "UDP"}, {"name": "tcp", "containerPort": 50051}]
        assert len(render({"extraPorts": ports}).container["ports"]) == 4

    def test_a_network_policy_lets_in_those_named(self) -> None:
        peers: list[Object] = [{"podSelector": {}}]
        policy = {"enabled": True, "ingress": {"http": [{"namespaceSelector": {}}]}}
        objects = render({"extraPorts": [{**GRPC, "from": peers}], "networkPolicy": policy})
        rules = objects.one("NetworkPolicy", "demo-fastapi-service")["spec"]["ingress"]
        assert {"ports": [{"port": 50051, "protocol": "TCP"}], "from": peers} in rules
        ports = [port["port"] for rule in rules for port in rule["ports"]]
        assert ports.count(50051) == 1

        objects = render({"extraPorts": [GRPC], "networkPolicy": policy})
        rules = objects.one("NetworkPolicy", "demo-fastapi-service")["spec"]["ingress"]
        assert 50051 not in [port["port"] for rule in rules for port in rule["ports"]]


def test_more_services_select_the_same_pods() -> None:
    spec = {"clusterIP": "None", "ports": [{"name": "grpc", "port": 50051, "targetPort": "grpc"}]}
    given = {"name": "grpc", "annotations": {"a": "b"}, "labels": {"c": "d"}, "spec": spec}
    objects = render({"extraServices": [given]})
    service = objects.one("Service", "demo-fastapi-service-grpc")
    assert service["spec"] == {**spec, "selector": public()["spec"]["selector"]}
    assert service["metadata"]["annotations"] == {"a": "b"}
    assert service["metadata"]["labels"]["c"] == "d"
    assert service["metadata"]["labels"]["app.kubernetes.io/component"] == "extra"


def extra(name: str = "grpc", **spec: Any) -> dict[str, Any]:
    return {"extraServices": [{"name": name, "spec": {"ports": [{"port": 1}], **spec}}]}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"service": {"nodePort": 30080}},
            "service.nodePort 30080 is for what comes from outside, and service.type is ClusterIP: "
            "set that to NodePort or LoadBalancer",
        ),
        (
            {"service": {"externalTrafficPolicy": "Local"}},
            "service.externalTrafficPolicy Local is for what comes from outside, and service.type is ClusterIP: "
            "set that to NodePort or LoadBalancer",
        ),
        (
            {"service": {"type": "NodePort", "loadBalancerClass": "a"}},
            "service.loadBalancerClass is for a load balancer, and service.type is NodePort: set that to LoadBalancer",
        ),
        (
            {"service": {"loadBalancerSourceRanges": ["192.0.2.0/24"]}},
            "service.loadBalancerSourceRanges is for a load balancer, and service.type is ClusterIP: "
            "set that to LoadBalancer",
        ),
        (
            {"extraPorts": [{**GRPC, "name": "http"}]},
            "extraPorts has a port http, of which the pod has one already: use another name",
        ),
        (
            {"extraPorts": [{**GRPC, "containerPort": 9000}]},
            "extraPorts has grpc on 9000, which another port is on already: use another number",
        ),
        (
            {"extraPorts": [{**GRPC, "servicePort": 80}]},
            "extraPorts has grpc with servicePort 80, which another port of the Service has already: "
            "use another number",
        ),
        (
            {"extraPorts": [{**GRPC, "servicePort": 81}], "service": {"enabled": False}},
            "extraPorts has grpc with servicePort 81, and there is no Service: "
            "set service.enabled to true, or leave it out",
        ),
        (
            {
                "extraPorts": [{**GRPC, "servicePort": 81}],
                "networkPolicy": {"enabled": True, "ingress": {"http": [{"podSelector": {}}]}},
            },
            "extraPorts has grpc with servicePort 81, and networkPolicy lets nobody use it: "
            "list the peers in its `from`",
        ),
        (
            {"extraPorts": [{**GRPC, "appProtocol": "http"}]},
            "extraPorts has grpc with appProtocol, which is the Service's, and no servicePort: set that too",
        ),
        (
            {"extraPorts": [{**GRPC, "nodePort": 30051, "servicePort": 81}]},
            "extraPorts has grpc with nodePort 30051, which a Service of type ClusterIP cannot have: "
            "set service.type to NodePort, or leave it out",
        ),
        (
            {"extraPorts": [{**GRPC, "containerPort": 80}]},
            "at '/extraPorts/0/containerPort': minimum: got 80, want 1,024",
        ),
        (
            extra("management"),
            "extraServices[0] is called management, as another Service of the release is already: use another name",
        ),
        (
            extra(selector={"a": "b"}),
            "extraServices[0].spec.selector is the chart's, which selects the pods: "
            "leave it out, or write the Service into extraObjects",
        ),
        (
            extra(ports=[]),
            "extraServices[0].spec.ports is empty: list a port, such as {name: grpc, port: 50051, targetPort: grpc}",
        ),
        *(
            (
                extra(ports=[port]),
                "extraServices[0] leads to the management port, and would give probes and metrics away: "
                "use the Service demo-fastapi-service-management",
            )
            for port in ({"port": 80, "targetPort": "management"}, {"port": 80, "targetPort": 9000}, {"port": 9000})
        ),
    ],
)
def test_what_cannot_work_is_explained(values: dict[str, Any], message: str) -> None:
    assert refusal(values) == [message]
