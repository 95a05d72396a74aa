"""The three ways to a certificate: an existing Secret, cert-manager, and one of the chart's own making."""

import base64
import json
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from .helm import CHART, IMAGE, helm, refusal, render

HOSTS = [{"host": "a.example"}, {"host": "*.b.example"}]
INGRESS = {"enabled": True, "hosts": HOSTS}
ISSUED = {"enabled": True, "issuerRef": {"name": "letsencrypt"}}
ROUTE = {"enabled": True, "hostnames": ["c.example", "a.example"], "parentRefs": [{"name": "public"}]}
OWN = [{"secretName": "links-tls", "hosts": ["a.example"]}]


def test_none_without_being_asked() -> None:
    objects = render({"ingress": INGRESS})
    assert not objects.all("Certificate")
    assert not objects.all("Secret")
    assert "tls" not in objects.one("Ingress")["spec"]


def test_cert_manager_issues_one_for_all_hosts() -> None:
    objects = render({"ingress": INGRESS, "httpRoute": ROUTE, "certificate": ISSUED})
    assert objects.one("Certificate")["spec"] == {
        "secretName": "demo-fastapi-service-tls",
        "dnsNames": ["a.example", "*.b.example", "c.example"],
        "issuerRef": {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": "letsencrypt"},
        "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
        "usages": ["digital signature", "server auth"],
    }
    assert objects.one("Ingress")["spec"]["tls"] == [
        {"secretName": "demo-fastapi-service-tls", "hosts": ["a.example", "*.b.example"]}
    ]


def test_its_secret_issuer_and_times() -> None:
    given = {
        "enabled": True,
        "issuerRef": {"group": "example.com", "kind": "Issuer", "name": "internal"},
        "secretName": "links-tls",
        "duration": "2160h",
        "renewBefore": "720h",
    }
    objects = render({"ingress": INGRESS, "certificate": given})
    spec = objects.one("Certificate")["spec"]
    assert {key: spec[key] for key in ("issuerRef", "secretName", "duration", "renewBefore")}.items() <= given.items()
    assert objects.one("Ingress")["spec"]["tls"][0]["secretName"] == "links-tls"


@pytest.mark.parametrize(
    ("given", "key", "more"),
    [
        ({"algorithm": "RSA"}, {"algorithm": "RSA", "size": 2048}, ["key encipherment"]),
        ({"algorithm": "RSA", "size": 4096}, {"algorithm": "RSA", "size": 4096}, ["key encipherment"]),
        ({"size": 384}, {"algorithm": "ECDSA", "size": 384}, []),
        ({"algorithm": "Ed25519"}, {"algorithm": "Ed25519"}, []),
    ],
)
def test_its_key(given: dict[str, Any], key: dict[str, Any], more: list[str]) -> None:
    spec = render({"ingress": INGRESS, "certificate": {**ISSUED, "privateKey": given}}).one("Certificate")["spec"]
    assert spec["privateKey"] == {**key, "rotationPolicy": "Always"}
    assert spec["usages"] == ["digital signature", *more, "server auth"]


def test_a_gateway_s_certificate_needs_no_ingress() -> None:
    objects = render({"httpRoute": ROUTE, "certificate": ISSUED})
    assert objects.one("Certificate")["spec"]["dnsNames"] == ["c.example", "a.example"]
    assert not objects.all("Ingress")


def self_made(hosts: list[dict[str, str]]) -> dict[str, Any]:
    objects = render({"ingress": {"enabled": True, "hosts": hosts, "selfSigned": True}})
    (tls,) = objects.one("Ingress")["spec"]["tls"]
    secret = objects.one("Secret", tls["secretName"])
    assert tls["hosts"] == [each["host"] for each in hosts]
    return secret


def test_the_chart_makes_one_for_trials() -> None:
    secret = self_made(HOSTS)
    assert secret["type"] == "kubernetes.io/tls"
    assert secret["data"].keys() == {"ca.crt", "tls.crt", "tls.key"}
    assert secret["metadata"]["annotations"]["fastapi-service/hosts"] == '["a.example","*.b.example"]'


@pytest.fixture
def upgraded(tmp_path: Path) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The Secret that follows a live one. Helm looks that up in the cluster; here a copy of the chart is given it."""
    copy = shutil.copytree(CHART, tmp_path / "chart")
    template = copy / "templates" / "tls-secret.yaml"
    lookup = 'lookup "v1" "Secret" .Release.Namespace $name'
    text = template.read_text(encoding="utf-8")
    assert text.count(lookup) == 1
    template.write_text(text.replace(lookup, ".Values.global.live"), encoding="utf-8")

    def render_after(live: dict[str, Any]) -> dict[str, Any]:
        ingress = {**INGRESS, "selfSigned": True}
        given = json.dumps({"image": IMAGE, "ingress": ingress, "global": {"live": live}})
        done = helm("template", "demo", copy, "--show-only=templates/tls-secret.yaml", "--values=-", stdin=given)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = yaml.safe_load(done.stdout)
        return found

    return render_after


def test_it_is_kept_over_upgrades(upgraded: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    live = self_made(HOSTS)
    after = upgraded(live)
    assert after["data"] == live["data"]
    assert after["metadata"]["annotations"] == live["metadata"]["annotations"]


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        ("fastapi-service/hosts", '["a.example"]'),
        ("fastapi-service/until", str(int(time.time() + 29 * 86400))),
    ],
    ids=["other hosts", "about to end"],
)
def test_it_is_made_anew(annotation: str, value: str, upgraded: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    live = self_made(HOSTS)
    live["metadata"]["annotations"][annotation] = value
    after = upgraded(live)
    assert after["data"]["tls.key"] != live["data"]["tls.key"]
    assert int(after["metadata"]["annotations"]["fastapi-service/until"]) > time.time() + 364 * 86400


def test_a_secret_of_somebody_else_is_not_taken_for_it(upgraded: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    assert upgraded({"metadata": {"name": "own"}, "data": {"tls.crt": "YQ=="}})["data"]["tls.crt"] != "YQ=="


class Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.mark.parametrize(("host", "trusted"), [("a.example", True), ("x.b.example", True), ("c.example", False)])
def test_it_is_good_for_its_hosts_alone(host: str, trusted: bool, tmp_path: Path) -> None:
    """As `helm test` verifies it, from Python 3.13 strictly."""
    files = {name: tmp_path / name for name in ("ca.crt", "tls.crt", "tls.key")}
    data = self_made(HOSTS)["data"]
    for name, file in files.items():
        file.write_bytes(base64.b64decode(data[name]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["tls.crt"], files["tls.key"])
    with HTTPServer(("127.0.0.1", 0), Hello) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        program = (CHART / "files" / "check.py").read_text(encoding="utf-8")
        strictly = program.replace("/run/secrets/ca/ca.crt", str(files["ca.crt"])).replace(
            "        made.sock = trust",
            "        trust.verify_flags |= ssl.VERIFY_X509_STRICT\n        made.sock = trust",
        )
        assert strictly.count("STRICT") == 1
        arguments = [f"https://{host}/", host, "200", "", f"127.0.0.1:{server.server_port}"]
        done = subprocess.run(
            [sys.executable, "-c", strictly, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        server.shutdown()
    assert done.returncode == (0 if trusted else 1), done.stderr
    if not trusted:
        assert "https://c.example/ has no certificate for c.example that is trusted: " in done.stderr


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"ingress": {**INGRESS, "tls": OWN}, "certificate": ISSUED},
            "ingress.tls and certificate.enabled are ways to one certificate: set one of them",
        ),
        (
            {"ingress": {**INGRESS, "tls": OWN, "selfSigned": True}},
            "ingress.tls and ingress.selfSigned are ways to one certificate: set one of them",
        ),
        (
            {"ingress": {**INGRESS, "selfSigned": True}, "certificate": ISSUED},
            "ingress.selfSigned and certificate.enabled are ways to one certificate: set one of them",
        ),
        (
            {"ingress": {"selfSigned": True}},
            "ingress.selfSigned is for the Ingress, and there is none: "
            "set ingress.enabled to true, or ingress.selfSigned to false",
        ),
        (
            {"ingress": INGRESS, "certificate": {"enabled": True}},
            "certificate.issuerRef.name is empty: name the issuer, as `kubectl get clusterissuers` lists them",
        ),
        (
            {"certificate": ISSUED},
            "certificate.enabled is true, and there is no host to certify: "
            "enable ingress or httpRoute and name hosts, or set it to false",
        ),
        (
            {"ingress": INGRESS, "certificate": {**ISSUED, "duration": "720h", "renewBefore": "720h"}},
            "certificate.renewBefore 720h is not below certificate.duration 720h, so it would be renewed for ever: "
            "lower it",
        ),
        (
            {"ingress": INGRESS, "certificate": {**ISSUED, "privateKey": {"algorithm": "RSA", "size": 256}}},
            "certificate.privateKey.size 256 is none of RSA: write 2048, 4096, 8192",
        ),
        (
            {"ingress": INGRESS, "certificate": {**ISSUED, "privateKey": {"algorithm": "Ed25519", "size": 256}}},
            "certificate.privateKey.size 256 is none of Ed25519: write null",
        ),
        (
            {"ingress": INGRESS, "certificate": {**ISSUED, "duration": "90d"}},
            "at '/certificate/duration': '90d' does not match pattern '^([1-9][0-9]*h)?$'",
        ),
    ],
)
def test_what_cannot_work_is_explained(values: dict[str, Any], message: str) -> None:
    assert refusal(values) == [message]


def test_what_is_off_is_no_second_way() -> None:
    assert render({"ingress": {"tls": OWN}, "httpRoute": ROUTE, "certificate": ISSUED})
