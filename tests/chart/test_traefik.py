"""Traefik's middlewares: made by the chart, and attached to both ways in."""

from typing import Any

import pytest

from .helm import refusal, render

ON = {"traefik": {"retry": {"enabled": True}}}
LIMITED = {"traefik": {"inFlight": {"enabled": True, "amount": 40}}}
BOTH = {"traefik": {**ON["traefik"], **LIMITED["traefik"]}}
INGRESS = {"ingress": {"enabled": True, "hosts": [{"host": "a.example"}]}}
ROUTE = {"httpRoute": {"enabled": True, "hostnames": ["a.example"], "parentRefs": [{"name": "public"}]}}
ATTACHED = "traefik.ingress.kubernetes.io/router.middlewares"


def test_none_without_being_asked() -> None:
    assert not render({**INGRESS, **ROUTE}).all("Middleware")


def test_what_is_retried() -> None:
    """By default what no pod has seen; by its status what a pod may have seen, but never POST and PATCH."""
    retry = render({**ON, **INGRESS}).one("Middleware")["spec"]["retry"]
    assert retry == {"attempts": 5, "status": ["502"], "maxRequestBodyBytes": 4096}
    given = {"traefik": {"retry": {"enabled": True, "attempts": 2, "maxBodyBytes": 10}}}
    retry = render({**given, **INGRESS}).one("Middleware")["spec"]["retry"]
    assert retry == {"attempts": 2, "status": ["502"], "maxRequestBodyBytes": 10}


def test_requests_in_flight_are_counted_by_host() -> None:
    """Without a criterion of its own Traefik would do the same; it is said so that no default of theirs changes it."""
    limit = render({**LIMITED, **INGRESS}).one("Middleware")["spec"]
    assert limit == {"inFlightReq": {"amount": 40, "sourceCriterion": {"requestHost": True}}}


def test_what_is_refused_is_not_tried_again() -> None:
    """The limit comes before the retries on both ways in, and the user's own middlewares and filters before both."""
    values = {**BOTH, "ingress": {**INGRESS["ingress"], "annotations": {ATTACHED: "prod-own@kubernetescrd"}}, **ROUTE}
    objects = render(values, options=("--namespace=prod",))
    names = ["demo-fastapi-service-in-flight", "demo-fastapi-service-retry"]
    assert sorted(m["metadata"]["name"] for m in objects.all("Middleware")) == names
    attached = objects.one("Ingress")["metadata"]["annotations"][ATTACHED].split(",")
    assert attached == ["prod-own@kubernetescrd", *(f"prod-{name}@kubernetescrd" for name in names)]
    (rule,) = objects.one("HTTPRoute")["spec"]["rules"]
    assert [f["extensionRef"]["name"] for f in rule["filters"]] == names


def test_the_ingress_is_told_by_an_annotation() -> None:
    objects = render({**ON, **INGRESS}, options=("--namespace=prod",))
    name = objects.one("Middleware")["metadata"]["name"]
    assert objects.one("Ingress")["metadata"]["annotations"] == {ATTACHED: f"prod-{name}@kubernetescrd"}


def test_after_the_middlewares_that_are_there() -> None:
    annotations = {ATTACHED: "prod-limit@kubernetescrd", "a": "b"}
    values = {**ON, "ingress": {**INGRESS["ingress"], "annotations": annotations}}
    assert render(values, options=("--namespace=prod",)).one("Ingress")["metadata"]["annotations"] == {
        ATTACHED: "prod-limit@kubernetescrd,prod-demo-fastapi-service-retry@kubernetescrd",
        "a": "b",
    }


def test_the_route_is_told_by_a_filter() -> None:
    added = {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"remove": ["Server"]}}
    objects = render({**ON, "httpRoute": {**ROUTE["httpRoute"], "filters": [added]}})
    (rule,) = objects.one("HTTPRoute")["spec"]["rules"]
    reference = {"group": "traefik.io", "kind": "Middleware", "name": objects.one("Middleware")["metadata"]["name"]}
    assert rule["filters"] == [added, {"type": "ExtensionRef", "extensionRef": reference}]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (ON, "traefik.retry.enabled has nothing to attach to: enable ingress or httpRoute, or set it to false"),
        (LIMITED, "traefik.inFlight.enabled has nothing to attach to: enable ingress or httpRoute, or set it to false"),
        (
            {"traefik": {"inFlight": {"enabled": True, "amount": 0}}},
            "at '/traefik/inFlight/amount': minimum: got 0, want 1",
        ),
        (
            {"traefik": {"retry": {"enabled": True, "attempts": 1}}},
            "at '/traefik/retry/attempts': minimum: got 1, want 2",
        ),
    ],
)
def test_what_cannot_work_is_explained(values: dict[str, Any], message: str) -> None:
    assert refusal(values) == [message]
