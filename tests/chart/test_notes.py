"""What Helm says after an install: commands that fit this release."""

from typing import Any

import pytest

from .helm import IMAGE, notes

CRON = {"type": "cron", "metadata": {"start": "0 8 * * *"}}


def test_without_ingress() -> None:
    said = notes(ports={"http": 8080, "management": 9090}, service={"port": 81})
    assert "kubectl --namespace prod rollout status deployment/demo-fastapi-service\n" in said
    assert "port-forward deployment/demo-fastapi-service 9090 &\n  curl http://127.0.0.1:9090/readyz\n" in said
    assert "port-forward service/demo-fastapi-service 8080:81 &\n  curl http://localhost:8080/\n" in said
    assert "helm --namespace prod test demo --logs\n" in said
    assert "migrations" not in said


def test_with_ingress() -> None:
    hosts = [{"host": "a.example"}, {"host": "b.example"}]
    said = notes(ingress={"enabled": True, "hosts": hosts, "tls": [{"secretName": "a", "hosts": ["a.example"]}]})
    assert "\n  https://a.example/\n  http://b.example/" in said
    assert "port-forward service/" not in said


def test_the_service_is_asked_for_a_host_that_it_knows() -> None:
    said = notes(config={"APP_PUBLIC_URL": "https://links.example.com"})
    assert "curl --header 'Host: links.example.com' http://localhost:8000/\n" in said


def test_with_a_load_balancer() -> None:
    said = notes(service={"type": "LoadBalancer"})
    assert "get service/demo-fastapi-service --watch\n" in said
    assert "port-forward service/" not in said


def test_without_a_public_service() -> None:
    said = notes(service={"enabled": False, "type": "LoadBalancer"})
    assert "port-forward deployment/demo-fastapi-service 8000 &\n  curl http://localhost:8000/\n" in said
    assert "service/" not in said


def test_with_a_route() -> None:
    said = notes(httpRoute={"enabled": True, "hostnames": ["a.example"], "parentRefs": [{"name": "public"}]})
    assert "describe httproute/demo-fastapi-service\n" in said
    assert "\n  https://a.example/" in said
    assert "port-forward service/" not in said


def test_with_cert_manager() -> None:
    issued = {"enabled": True, "issuerRef": {"name": "letsencrypt"}}
    said = notes(ingress={"enabled": True, "hosts": [{"host": "a.example"}]}, certificate=issued)
    assert "wait --for=condition=Ready certificate/demo-fastapi-service\n" in said
    assert "describe certificate/demo-fastapi-service\n" in said
    assert "\n  https://a.example/" in said
    assert "certificateRefs" not in said

    said = notes(
        httpRoute={"enabled": True, "hostnames": ["a.example"], "parentRefs": [{"name": "public"}]}, certificate=issued
    )
    assert "It is in the Secret demo-fastapi-service-tls, which the Gateway's listener has to name" in said


def test_with_a_certificate_for_trials() -> None:
    said = notes(ingress={"enabled": True, "hosts": [{"host": "a.example"}], "selfSigned": True})
    assert "browsers refuse it" in said
    assert "get secret demo-fastapi-service-tls --output jsonpath='{.data.ca\\.crt}' | base64 --decode" in said
    assert "curl --cacert ca.crt https://a.example/\n" in said
    assert "\n  https://a.example/" in said


def test_with_a_network_policy() -> None:
    assert "networkPolicy" not in notes()
    assert "networkPolicy does not name are denied" in notes(
        networkPolicy={"enabled": True, "ingress": {"http": [{"podSelector": {}}]}}
    )


def test_without_tests() -> None:
    assert "helm --namespace" not in notes(tests={"enabled": False})


def test_the_log_of_the_migrations_is_printed_by_helm_itself() -> None:
    assert "migrations" not in notes(migrations={"enabled": True})


@pytest.mark.parametrize(
    ("values", "warned"),
    [
        ({}, False),
        ({"autoscaling": {"minReplicas": 1}}, "set autoscaling.minReplicas to 2 or more"),
        ({"autoscaling": {"enabled": False}, "replicas": 1}, "set replicas to 2 or more"),
        (
            {"autoscaling": {"enabled": False}, "keda": {"enabled": True, "minReplicas": 1, "triggers": [CRON]}},
            "set keda.minReplicas to 2 or more",
        ),
        ({"autoscaling": {"enabled": False}, "replicas": 2}, False),
    ],
)
def test_a_single_replica_is_warned_about(values: dict[str, Any], warned: str | bool) -> None:
    said = notes(**values)
    assert warned in said if isinstance(warned, str) else "single replica" not in said


def test_a_tag_without_digest_is_warned_about() -> None:
    assert "image.digest" not in notes()
    assert "deploy by image.digest what was tested" in notes(image=IMAGE)
