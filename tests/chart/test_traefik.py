"""Traefik's retries: made by the chart, and attached to both ways in."""

from typing import Any

import pytest

from .helm import refusal, render

ON = {"traefik": {"retry": {"enabled": True}}}
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
        (
            {"traefik": {"retry": {"enabled": True, "attempts": 1}}},
            "at '/traefik/retry/attempts': minimum: got 1, want 2",
        ),
    ],
)
def test_what_cannot_work_is_explained(values: dict[str, Any], message: str) -> None:
    assert refusal(values) == [message]
