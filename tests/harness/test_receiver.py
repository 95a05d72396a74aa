"""The end-to-end tests' receiver of alerts: its program as a process, and what is made of what it kept."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from k8s.kind.cluster import free_ports
from offline.image_build import Built
from tests.e2e import receiver
from tests.support.processes import until

# As in https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
NOTIFICATION: dict[str, Any] = {
    "version": "4",
    "groupKey": '{}:{alertname="ServiceErrors"}',
    "status": "firing",
    "receiver": "tests",
    "alerts": [
        {
            "status": status,
            "labels": {"alertname": "ServiceErrors", "namespace": "links", "pod": pod},
            "annotations": {"summary": "Requests fail."},
            "startsAt": "2026-01-01T00:00:00Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus",
            "fingerprint": "1",
        }
        for status, pod in (("firing", "a"), ("resolved", "b"))
    ],
}


@pytest.fixture
def url() -> Iterator[str]:
    port = next(iter(free_ports().values()))
    found = f"http://127.0.0.1:{port}/"
    command = [sys.executable, str(receiver.PROGRAM), "127.0.0.1", str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            until(lambda: listens(port))
            yield found
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=20)
            assert (process.returncode, said) == (0, "")
        finally:
            process.kill()


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_what_comes_is_kept_in_its_order_until_it_is_forgotten(url: str) -> None:
    assert httpx.get(url).json() == []
    before = time.time()
    with httpx.Client() as client:  # over one connection
        for number in range(3):
            assert client.post(url, json={**NOTIFICATION, "number": number}).status_code == 200
        kept = client.get(url).json()
        assert [each["notification"]["number"] for each in kept] == [0, 1, 2]
        assert before <= kept[0]["received"] <= kept[2]["received"] <= time.time()
        assert client.delete(url).json() == []
        assert client.get(url).json() == []


def test_it_does_not_grow_without_end(url: str) -> None:
    with httpx.Client() as client:
        for number in range(1010):
            client.post(url, json={"number": number})
        kept = client.get(url).json()
    assert [each["notification"]["number"] for each in kept] == list(range(10, 1010))


@pytest.mark.parametrize(
    ("body", "length", "status"),
    [
        *((b"{", "1", 400), (b"\xff", "1", 400), (b"", "0", 400)),
        *((b"{}", "1048577", 413), (b"{}", "-1", 413), (b"{}", "", 413)),
    ],
)
def test_anything_else_is_refused_and_not_kept(url: str, body: bytes, length: str, status: int) -> None:
    connection = HTTPConnection(urlsplit(url).netloc, timeout=20)
    connection.request("POST", "/", body, {"Content-Length": length})
    assert connection.getresponse().status == status
    connection.close()
    assert httpx.get(url).json() == []


def test_alerts_of_notifications(url: str) -> None:
    httpx.post(url, json=NOTIFICATION)
    first, second = receiver.alerts(httpx.get(url).json())
    assert (first.name, first.status, first.labels["pod"]) == ("ServiceErrors", "firing", "a")
    assert (second.status, second.annotations) == ("resolved", {"summary": "Requests fail."})
    assert first.received > 1e9


def test_the_manifests_belong_together() -> None:
    config, deployment, service = receiver.manifests(Built("shipshape.local/links", "sha256:0"))
    assert json.dumps([config, deployment, service])
    pod = deployment["spec"]["template"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    (container,) = pod["spec"]["containers"]
    assert container["image"] == "shipshape.local/links@sha256:0"
    name, port = container["command"][1], container["command"][3]
    (mount,) = container["volumeMounts"]
    assert Path(name).parent == Path(mount["mountPath"])
    assert config["data"][Path(name).name] == receiver.PROGRAM.read_text()
    assert f"http://{service['metadata']['name']}.{service['metadata']['namespace']}.svc:{port}/" == receiver.URL
