"""What Helm says after an install: commands that fit this release."""

import json
from typing import Any

import pytest

from .helm import CHART, DIGEST, IMAGE, helm


def notes(**values: Any) -> str:
    given = {"image": {**IMAGE, "digest": DIGEST}, **values}
    options = ("--dry-run=client", "--namespace=prod", "--values=-")
    done = helm("install", "demo", CHART, *options, stdin=json.dumps(given))
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("\nNOTES:\n")[2]


def test_without_ingress() -> None:
    said = notes(ports={"http": 8080, "management": 9090}, service={"port": 81})
    assert "kubectl --namespace prod rollout status deployment/demo-fastapi-service\n" in said
    assert "port-forward deployment/demo-fastapi-service 9090 &\n  curl http://127.0.0.1:9090/readyz\n" in said
    assert "port-forward service/demo-fastapi-service 8080:81 &\n  curl http://127.0.0.1:8080/" in said
    assert "migrations" not in said


def test_with_ingress() -> None:
    hosts = [{"host": "a.example"}, {"host": "b.example"}]
    said = notes(ingress={"enabled": True, "hosts": hosts, "tls": [{"secretName": "a", "hosts": ["a.example"]}]})
    assert "\n  https://a.example/\n  http://b.example/" in said
    assert "port-forward service/" not in said


def test_with_migrations() -> None:
    assert "logs job/demo-fastapi-service-migrations\n" in notes(migrations={"enabled": True})


@pytest.mark.parametrize(
    ("values", "warned"),
    [
        ({}, False),
        ({"autoscaling": {"minReplicas": 1}}, "set autoscaling.minReplicas to 2 or more"),
        ({"autoscaling": {"enabled": False}, "replicas": 1}, "set replicas to 2 or more"),
        ({"autoscaling": {"enabled": False}, "replicas": 2}, False),
    ],
)
def test_a_single_replica_is_warned_about(values: dict[str, Any], warned: str | bool) -> None:
    said = notes(**values)
    assert warned in said if isinstance(warned, str) else "single replica" not in said


def test_a_tag_without_digest_is_warned_about() -> None:
    assert "image.digest" not in notes()
    assert "deploy by image.digest what was tested" in notes(image=IMAGE)
