"""The Gateway API: routes to the public Service, and from plain HTTP to HTTPS."""

from typing import Any

import pytest

from .helm import refusal, render

HTTPS, HTTP = ({"name": "public", "namespace": "gateways", "sectionName": name} for name in ("https", "http"))
METHODS = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]


def route(**values: Any) -> dict[str, Any]:
    given = {"enabled": True, "parentRefs": [HTTPS], "hostnames": ["a.example"], **values}
    return {"httpRoute": given}


def rules(values: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = render(values).one("HTTPRoute")["spec"]["rules"]
    return found


def test_none_without_being_asked() -> None:
    assert not render({"httpRoute": {"hostnames": ["a.example"]}}).all("HTTPRoute")


def test_hosts_are_routed_to_the_public_service() -> None:
    found = render({**route(), "service": {"port": 81}}).one("HTTPRoute")
    assert "annotations" not in found["metadata"]
    assert found["spec"] == {
        "parentRefs": [HTTPS],
        "hostnames": ["a.example"],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                "backendRefs": [{"name": "demo-fastapi-service", "port": 81}],
            }
        ],
    }


def test_paths_annotations_and_filters() -> None:
    added = {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"remove": ["Server"]}}
    paths = [{"path": "/a"}, {"path": "/b", "pathType": "Exact"}]
    found = render(route(paths=paths, filters=[added], annotations={"a": "b"})).one("HTTPRoute")
    assert found["metadata"]["annotations"] == {"a": "b"}
    (rule,) = found["spec"]["rules"]
    assert rule["matches"] == [
        {"path": {"type": "PathPrefix", "value": "/a"}},
        {"path": {"type": "Exact", "value": "/b"}},
    ]
    assert rule["filters"] == [added]


@pytest.mark.parametrize(
    "timeouts", [{"request": "30s"}, {"backendRequest": "1m30s"}, {"request": "30s", "backendRequest": "10s"}]
)
def test_timeouts(timeouts: dict[str, str]) -> None:
    (rule,) = rules(route(timeouts=timeouts))
    assert rule["timeouts"] == timeouts


def test_only_methods_that_bear_it_are_retried() -> None:
    timeouts = {"request": "30s"}
    rest, again = rules(route(retry={"attempts": 2}, timeouts=timeouts, paths=[{"path": "/a"}, {"path": "/b"}]))
    assert "retry" not in rest
    assert [match.get("method") for match in rest["matches"]] == [None, None]
    assert again["retry"] == {"attempts": 2, "codes": [502], "backoff": "25ms"}
    assert [(match["path"]["value"], match["method"]) for match in again["matches"]] == [
        (path, method) for path in ("/a", "/b") for method in METHODS
    ]
    assert (again["backendRefs"], again["timeouts"]) == (rest["backendRefs"], timeouts)


def test_plain_http_is_redirected_to_https() -> None:
    objects = render(route(redirect={"parentRefs": [HTTP]}))
    redirect = objects.one("HTTPRoute", "demo-fastapi-service-redirect")["spec"]
    assert redirect == {
        "parentRefs": [HTTP],
        "hostnames": ["a.example"],
        "rules": [
            {"filters": [{"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}]}
        ],
    }
    assert objects.one("HTTPRoute", "demo-fastapi-service")["spec"]["parentRefs"] == [HTTPS]


def test_the_redirect_s_port_and_status() -> None:
    objects = render(route(redirect={"parentRefs": [HTTP], "statusCode": 302, "port": 8443}))
    (rule,) = objects.one("HTTPRoute", "demo-fastapi-service-redirect")["spec"]["rules"]
    assert rule["filters"][0]["requestRedirect"] == {"scheme": "https", "statusCode": 302, "port": 8443}


def test_no_redirect_without_a_route() -> None:
    assert not render({"httpRoute": {"redirect": {"parentRefs": [HTTP]}}}).all("HTTPRoute")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            route(parentRefs=[]),
            "httpRoute.parentRefs is empty: name a Gateway, such as "
            "[{name: public, namespace: gateways, sectionName: https}]",
        ),
        (
            route(hostnames=[]),
            "httpRoute.hostnames is empty: name a host, such as [links.example.com], or set httpRoute.enabled to false",
        ),
        (
            route(hostnames=["https://a.example"]),
            'httpRoute.hostnames has "https://a.example", which is no host: '
            "write a name such as links.example.com or *.example.com",
        ),
        (route(hostnames=["a.example", "a.example"]), "httpRoute.hostnames has a.example twice: write it once"),
        (
            route(parentRefs=[{"name": "public"}], redirect={"parentRefs": [HTTP]}),
            "httpRoute.parentRefs[0] has no sectionName, so plain HTTP would be served beside its redirect: "
            "name the listener with TLS",
        ),
        (
            route(redirect={"parentRefs": [{"name": "public"}]}),
            "httpRoute.redirect.parentRefs[0] has no sectionName, so HTTPS would be redirected to itself: "
            "name the listener without TLS",
        ),
        (
            route(redirect={"parentRefs": [HTTPS]}),
            "httpRoute.redirect.parentRefs[0] is among httpRoute.parentRefs, so it would be redirected to itself: "
            "name the listener without TLS",
        ),
        (
            {**route(retry={"attempts": 1}), "traefik": {"retry": {"enabled": True}}},
            "httpRoute.retry.attempts and traefik.retry.enabled both retry, and would multiply: set one of them",
        ),
        (
            route(timeouts={"request": "half a minute"}),
            "at '/httpRoute/timeouts/request': 'half a minute' does not match pattern '^([0-9]{1,5}(h|m|s|ms)){0,4}$'",
        ),
        (route(retry={"codes": [404]}), "at '/httpRoute/retry/codes/0': minimum: got 404, want 500"),
        (route(redirect={"statusCode": 303}), "at '/httpRoute/redirect/statusCode': value must be one of 301, 302"),
        (
            route(paths=[{"path": f"/{i}"} for i in range(13)]),
            "at '/httpRoute/paths': maxItems: got 13, want 12",
        ),
    ],
)
def test_what_cannot_work_is_explained(values: dict[str, Any], message: str) -> None:
    assert refusal(values) == [message]


@pytest.mark.parametrize(
    "values",
    [
        route(parentRefs=[{"name": "public"}]),
        route(parentRefs=[{"name": "public", "port": 443}], redirect={"parentRefs": [{"name": "public", "port": 80}]}),
        route(enabled=False, parentRefs=[], hostnames=[]),
        route(hostnames=["*.example.com"], annotations=None, filters=None, paths=None),
    ],
)
def test_what_can_work_is_not_refused(values: dict[str, Any]) -> None:
    assert render(values)
