"""An image with one port: its probes and metrics are where its pages are, and kept from the outside there."""

from typing import Any

import pytest

from .helm import Object, Objects, notes, refusal, render

HOST = "a.example"
NAME = "demo-fastapi-service"
ONE: Object = {"ports": {"management": None}}
SAME: Object = {"ports": {"http": 8080, "management": 8080}}
TWO: Object = {}
PROBES = ("startup", "readiness", "liveness")
ALL = ["/livez", "/metrics", "/readyz", "/startupz"]
INGRESS: Object = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}


def ingress(*paths: Object, **values: Any) -> Object:
    hosts = [{"host": HOST, **({"paths": list(paths)} if paths else {})}]
    return {"ingress": {"enabled": True, "hosts": hosts, **values}}


def route(*paths: Object) -> Object:
    given = {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": [HOST], "paths": list(paths)}
    return {"httpRoute": given}


def probes(**each: Object) -> Object:
    return {"probes": each}


def all_probes(path: str) -> Object:
    return probes(**{name: {"path": path} for name in PROBES})


def handler(name: str, values: Object) -> Object:
    """How a probe asks."""
    probe: Object = render(values).container[f"{name}Probe"]
    return {key: probe[key] for key in probe if key not in ("periodSeconds", "timeoutSeconds", "failureThreshold")}


def ingress_paths(objects: Objects) -> dict[str, str]:
    """The name of the Service that each path of the Ingress leads to."""
    (rule,) = objects.one("Ingress")["spec"]["rules"]
    found = {each["path"]: each for each in rule["http"]["paths"]}
    assert len(found) == len(rule["http"]["paths"])
    assert {found[path]["pathType"] for path in found if path != "/"} <= {"Prefix"}
    return {path: each["backend"]["service"]["name"].removeprefix(NAME) for path, each in found.items()}


def refused_routes(objects: Objects) -> list[str]:
    """Paths of the HTTPRoute that lead nowhere."""
    rules = objects.one("HTTPRoute")["spec"]["rules"]
    nowhere = [match for rule in rules if "backendRefs" not in rule for match in rule["matches"]]
    assert {match["path"]["type"] for match in nowhere} <= {"PathPrefix"}
    assert "filters" not in str([rule for rule in rules if "backendRefs" not in rule])
    return [match["path"]["value"] for match in nowhere]


@pytest.mark.parametrize(("values", "port"), [(ONE, 8000), (SAME, 8080)])
def test_all_that_asks_asks_that_port(values: Object, port: int) -> None:
    peers = {"http": [INGRESS], "management": [{"podSelector": {}}]}
    policy = {"networkPolicy": {"enabled": True, "ingress": peers}}
    objects = render({**values, **policy, "podMonitor": {"enabled": True}})
    container = objects.container
    assert container["ports"] == [{"name": "http", "containerPort": port}]
    assert {container[f"{name}Probe"]["httpGet"]["port"] for name in PROBES} == {"http"}
    assert objects.one("ConfigMap", NAME)["data"].keys() & {"APP_PORT", "APP_MANAGEMENT_PORT"} == {"APP_PORT"}
    (listed,) = objects.one("Service", f"{NAME}-management")["spec"]["ports"]
    assert (listed["name"], listed["port"], listed["targetPort"]) == ("management", port, "http")
    (scraped,) = objects.one("PodMonitor")["spec"]["podMetricsEndpoints"]
    assert scraped["port"] == "http"
    rules = objects.one("NetworkPolicy", NAME)["spec"]["ingress"]
    assert [[each["port"] for each in rule["ports"]] for rule in rules] == [[port], [port], [port]]
    (tests, *_) = objects.one("NetworkPolicy", f"{NAME}-test")["spec"]["egress"][1:]
    assert [each["port"] for each in tests["ports"]] == [port]
    asked = next(each for each in objects.all("Pod") if each["metadata"]["name"].endswith("test-metrics"))
    assert f"-management.default.svc:{port}/metrics" in str(asked)


def test_a_service_monitor_scrapes_the_service_that_lists_the_pods() -> None:
    objects = render({**ONE, "serviceMonitor": {"enabled": True}})
    (scraped,) = objects.one("ServiceMonitor")["spec"]["endpoints"]
    (listed,) = objects.one("Service", f"{NAME}-management")["spec"]["ports"]
    assert scraped["port"] == listed["name"]


@pytest.mark.parametrize("name", PROBES)
@pytest.mark.parametrize(
    ("given", "two", "one"),
    [
        (
            {"path": "/up"},
            {"httpGet": {"path": "/up", "port": "management"}},
            {"httpGet": {"path": "/up", "port": "http"}},
        ),
        (
            {
                "path": "/up",
                "httpGet": {"port": "http", "scheme": "HTTPS", "httpHeaders": [{"name": "Host", "value": "a"}]},
            },
            *[
                {
                    "httpGet": {
                        "path": "/up",
                        "port": "http",
                        "scheme": "HTTPS",
                        "httpHeaders": [{"name": "Host", "value": "a"}],
                    }
                }
            ]
            * 2,
        ),
        (
            {"httpGet": {"path": "/its-own", "port": "management"}},
            {"httpGet": {"path": "/its-own", "port": "management"}},
            {"httpGet": {"path": "/its-own", "port": "http"}},
        ),
        ({"exec": {"command": ["true"]}}, *[{"exec": {"command": ["true"]}}] * 2),
        ({"grpc": {}}, {"grpc": {"port": 9000}}, {"grpc": {"port": 8000}}),
        ({"grpc": {"port": 50051, "service": "a"}}, *[{"grpc": {"port": 50051, "service": "a"}}] * 2),
        ({"tcpSocket": {}}, {"tcpSocket": {"port": "management"}}, {"tcpSocket": {"port": "http"}}),
        ({"tcpSocket": {"port": 5000}}, *[{"tcpSocket": {"port": 5000}}] * 2),
    ],
)
def test_a_probe_asks_as_it_is_told(name: str, given: Object, two: Object, one: Object) -> None:
    assert handler(name, {**TWO, **probes(**{name: given})}) == two
    assert handler(name, {**ONE, **probes(**{name: given})}) == one


def test_probes_and_metrics_are_kept_from_the_outside() -> None:
    objects = render({**ONE, **ingress(), **route()})
    assert ingress_paths(objects) == {**dict.fromkeys(ALL, "-refused"), "/": ""}
    assert refused_routes(objects) == ALL
    (port,) = objects.one("Service", f"{NAME}-refused")["spec"]["ports"]
    assert port["targetPort"] not in [each["containerPort"] for each in objects.container["ports"]]


def test_traefik_has_that_route_as_long_as_there_are_pods() -> None:
    """By itself it leaves out a path whose Service has no endpoints, so these are not only the ready pods."""
    objects = render({**ONE, **ingress()})
    refusing, public = (objects.one("Service", name)["spec"] for name in (f"{NAME}-refused", NAME))
    assert refusing["publishNotReadyAddresses"] is True
    assert refusing["selector"] == public["selector"]


def test_two_ports_need_no_refusal() -> None:
    objects = render({**ingress(), **route()})
    assert ingress_paths(objects) == {"/": ""}
    assert refused_routes(objects) == []
    assert f"{NAME}-refused" not in [each["metadata"]["name"] for each in objects.all("Service")]


@pytest.mark.parametrize(
    ("values", "paths"),
    [
        # A slash at the end or a question says nothing of the path.
        (
            {**ONE, **all_probes("/api/health-check/")},
            ["/api/health-check", "/metrics"],
        ),
        ({**ONE, **all_probes("/up?full=1")}, ["/metrics", "/up"]),
        # Of `/` nothing would be left.
        ({**ONE, **all_probes("/")}, ["/metrics"]),
        # What is no request has no path.
        (
            {
                **ONE,
                **probes(startup={"exec": {"command": ["true"]}}, readiness={"grpc": {}}, liveness={"tcpSocket": {}}),
            },
            ["/metrics"],
        ),
        (
            {**ONE, "serviceMonitor": {"path": "/stats"}, "podMonitor": {"path": "/stats"}},
            ["/livez", "/readyz", "/startupz", "/stats"],
        ),
        # A single probe on the public port.
        ({**TWO, **probes(readiness={"path": "/up", "httpGet": {"port": "http"}})}, ["/up"]),
        ({**TWO, **probes(readiness={"path": "/up", "httpGet": {"port": 8000}})}, ["/up"]),
        ({**ONE, **probes(readiness={"httpGet": {"port": 5000}})}, ["/livez", "/metrics", "/startupz"]),
        # As told.
        ({**ONE, "internalPaths": ["/docs/", "/metrics"]}, ["/docs", "/metrics"]),
        ({**TWO, "internalPaths": ["/docs"]}, ["/docs"]),
        ({**ONE, "internalPaths": []}, []),
    ],
)
def test_which_paths_are_internal(values: Object, paths: list[str]) -> None:
    objects = render({**values, **ingress(), **route()})
    assert [path for path in ingress_paths(objects) if path != "/"] == paths
    assert refused_routes(objects) == paths


@pytest.mark.parametrize(
    ("routed", "refused"),
    [
        ({"path": "/"}, ["/api/up", "/metrics"]),
        ({"path": "/api"}, ["/api/up"]),
        ({"path": "/api/"}, ["/api/up"]),
        ({"path": "/ap"}, []),
        ({"path": "/", "pathType": "Exact"}, []),
    ],
)
def test_only_what_is_routed_is_refused(routed: Object, refused: list[str]) -> None:
    """Another release may have the rest of the host."""
    values = {**ONE, **all_probes("/api/up")}
    objects = render({**values, **ingress(routed), **route(routed)})
    assert [path for path in ingress_paths(objects) if path != routed["path"]] == refused
    assert refused_routes(objects) == refused


def test_paths_that_the_ingress_understands_in_its_own_way_may_be_all() -> None:
    objects = render({**ONE, **ingress({"path": "/a.*", "pathType": "ImplementationSpecific"})})
    (rule,) = objects.one("Ingress")["spec"]["rules"]
    assert [each["path"] for each in rule["http"]["paths"]] == [*ALL, "/a.*"]


def test_the_ingress_s_refusal_can_be_another_service_s() -> None:
    given = {"service": {"name": "not-found", "port": {"number": 80}}}
    objects = render({**ONE, **ingress(internalBackend=given)})
    (rule,) = objects.one("Ingress")["spec"]["rules"]
    assert [each["backend"] for each in rule["http"]["paths"]][:-1] == [given] * len(ALL)
    assert f"{NAME}-refused" not in [each["metadata"]["name"] for each in objects.all("Service")]


def test_the_ingress_is_refused_at_once_by_the_network_policy_s_leave() -> None:
    policy = {"networkPolicy": {"enabled": True, "ingress": {"http": [INGRESS]}}}

    def open_to_the_ingress(values: Object) -> list[int]:
        rule = render({**ONE, **policy, **values}).one("NetworkPolicy", NAME)["spec"]["ingress"][0]
        assert rule["from"] == [INGRESS]
        return [each["port"] for each in rule["ports"]]

    closed = render({**ONE, **ingress()}).one("Service", f"{NAME}-refused")["spec"]["ports"][0]["targetPort"]
    assert open_to_the_ingress(ingress()) == [8000, closed]
    assert open_to_the_ingress(route()) == [8000]
    assert open_to_the_ingress(ingress({"path": "/", "pathType": "Exact"})) == [8000]


def test_a_library_s_count_of_the_probes_is_taken_out_of_the_users() -> None:
    values = {
        **ONE,
        **probes(startup={"tcpSocket": {}}, readiness={"path": "/api/up/"}, liveness={"path": "/api/up/"}),
        "metrics": {"profile": "instrumentator"},
        "podMonitor": {"enabled": True},
    }
    (scraped,) = render(values).one("PodMonitor")["spec"]["podMetricsEndpoints"]
    assert "http_request_duration_seconds_count;(/api/up|/metrics)/?" in [
        each["regex"] for each in scraped["metricRelabelings"]
    ]


def test_notes_ask_the_pod_where_it_answers() -> None:
    assert "curl http://127.0.0.1:8000/up\n" in notes(**ONE, **probes(readiness={"path": "/up"}))
    assert "curl http://127.0.0.1:8000/up\n" in notes(**probes(readiness={"path": "/up", "httpGet": {"port": "http"}}))
    assert "curl http://127.0.0.1:5000/up\n" in notes(**probes(readiness={"path": "/up", "httpGet": {"port": 5000}}))
    assert "whether it is ready" not in notes(**ONE, **probes(readiness={"tcpSocket": {}}))


PRIORITY = "traefik.ingress.kubernetes.io/router.priority"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            probes(readiness={"exec": {"command": ["true"]}, "tcpSocket": {}}),
            "probes.readiness.exec and probes.readiness.tcpSocket are ways for one probe to ask: "
            "set one of them, and the others to null",
        ),
        (
            probes(liveness={"path": None}),
            "probes.liveness.path is empty: write a path that the image answers with 200, "
            "or set probes.liveness.exec, probes.liveness.grpc or probes.liveness.tcpSocket",
        ),
        (
            probes(startup={"path": None, "httpGet": {"port": "http"}}),
            "probes.startup.httpGet has no path: set probes.startup.path",
        ),
        (
            probes(readiness={"tcpSocket": {"port": "web"}}),
            "at '/probes/readiness/tcpSocket/port': 'web' does not match pattern '^(http|management)$'",
        ),
        (
            probes(readiness={"grpc": {"port": "http"}}),
            "at '/probes/readiness/grpc/port': got string, want integer",
        ),
        (probes(readiness={"exec": {}}), "at '/probes/readiness/exec': missing property 'command'"),
        (
            # The Pod Security Standard "baseline" forbids it.
            probes(readiness={"httpGet": {"host": "a.example"}}),
            "at '/probes/readiness/httpGet': additional properties 'host' not allowed",
        ),
        ({"ports": {"management": 80}}, "at '/ports/management': minimum: got 80, want 1,024"),
        ({"internalPaths": ["metrics"]}, "at '/internalPaths/0': 'metrics' does not match pattern '^/[^?#]*$'"),
        ({"internalPaths": ["/"]}, "internalPaths has /, which is everything: disable ingress and httpRoute instead"),
        (
            {**ONE, **ingress({"path": "/"}, {"path": "/metrics"})},
            "ingress.hosts routes /metrics, which is internal: "
            "leave it out, or list in internalPaths what is to be refused",
        ),
        (
            {**route({"path": "/docs/a", "pathType": "Exact"}), "internalPaths": ["/docs"]},
            "httpRoute.paths routes /docs/a, which is internal: "
            "leave it out, or list in internalPaths what is to be refused",
        ),
        (
            {**ingress(annotations={PRIORITY: "9"}), "internalPaths": ["/docs", "/metrics"]},
            f"ingress.annotations has {PRIORITY}, by which /docs, /metrics would not win against the other paths: "
            "leave it out, or set internalPaths to []",
        ),
        (
            {**ONE, **all_probes("/up"), "service": {"type": "LoadBalancer"}},
            "service.type LoadBalancer would make /metrics, /up public, as a Service refuses no path: "
            "write ClusterIP and enable ingress or httpRoute, use two ports, "
            "or set internalPaths to [] if they may be public",
        ),
        (
            {**ONE, "config": {"APP_MANAGEMENT_PORT": 9000}},
            "config.APP_MANAGEMENT_PORT is set by the chart: set ports.management instead",
        ),
    ],
)
def test_what_cannot_work_is_explained(values: Object, message: str) -> None:
    assert refusal(values) == [message]


@pytest.mark.parametrize(
    "values",
    [
        {**ONE, "internalPaths": [], "service": {"type": "LoadBalancer"}},
        {**ONE, "internalPaths": [], **ingress(annotations={PRIORITY: "9"})},
        {**TWO, "service": {"type": "LoadBalancer"}},
        {**ONE, **ingress({"path": "/"}, {"path": "/metricsoup"})},
    ],
)
def test_what_can_work_is_not_refused(values: Object) -> None:
    assert render(values)
