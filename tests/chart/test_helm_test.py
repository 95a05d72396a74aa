"""`helm test`: pods that ask the installed release, with the program that they run."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from k8s.kind.cluster import free_ports

from .helm import CHART, DIGEST, Object, refusal, render

PROGRAM = CHART / "files" / "check.py"
INGRESS = {"enabled": True, "hosts": [{"host": "*.a.example"}, {"host": "b.example"}]}


def pods(values: dict[str, Any] | None = None) -> dict[str, Object]:
    prefix = "demo-fastapi-service-test-"
    return {each["metadata"]["name"].removeprefix(prefix): each for each in render(values).all("Pod")}


def arguments(values: dict[str, Any], test: str = "route") -> list[str]:
    found: list[str] = pods(values)[test]["spec"]["containers"][0]["args"]
    assert found[0] == "/checks/check.py"
    return found[1:]


def test_none_when_not_wanted() -> None:
    objects = render({"tests": {"enabled": False}})
    assert not objects.all("Pod")
    assert [each["metadata"]["name"] for each in objects.all("ConfigMap")] == ["demo-fastapi-service"]


def test_the_public_service_and_the_metrics_are_asked() -> None:
    found = pods({"service": {"port": 81}, "ports": {"management": 9090}})
    assert found.keys() == {"route", "metrics"}
    asked = {name: pod["spec"]["containers"][0]["args"][1] for name, pod in found.items()}
    assert asked == {
        "route": "http://demo-fastapi-service.default.svc:81/",
        "metrics": "http://demo-fastapi-service-management.default.svc:9090/metrics",
    }


@pytest.mark.parametrize(
    "values", [{"serviceMonitor": {"path": "/stats"}}, {"podMonitor": {"enabled": True, "path": "/stats"}}]
)
def test_the_metrics_are_where_they_are_scraped(values: dict[str, Any]) -> None:
    url, host, status, *_ = arguments(values, "metrics")
    assert url.endswith(":9000/stats")
    assert (host, status) == ("demo-fastapi-service-management.default.svc", "200")


@pytest.mark.parametrize(
    ("values", "host"),
    [
        ({}, "localhost"),
        ({"config": {"APP_PUBLIC_URL": "https://links.example.com:8443/a"}}, "links.example.com"),
        ({"ingress": INGRESS, "config": {"APP_PUBLIC_URL": "https://links.example.com"}}, "test.a.example"),
        (
            {"httpRoute": {"enabled": True, "hostnames": ["c.example"], "parentRefs": [{"name": "public"}]}},
            "c.example",
        ),
    ],
)
def test_the_service_is_asked_for_a_host_that_it_knows(values: dict[str, Any], host: str) -> None:
    assert arguments(values)[1] == host


def test_own_requests() -> None:
    token = {"name": "token", "path": "/a?b=c", "status": 401, "contentType": "application/problem+json", "host": "d"}
    found = {"tests": {"requests": [token]}}
    assert pods(found).keys() == {"token", "metrics"}
    url = "http://demo-fastapi-service.default.svc:80/a?b=c"
    assert arguments(found, "token") == [url, "d", "401", "application/problem+json", ""]


def test_tls_is_asked_where_the_ingress_is() -> None:
    tests: dict[str, Any] = {
        "tls": {"address": "traefik.ingress.svc:443"},
        "requests": [{"name": "a", "path": "/b", "status": 307}],
    }
    tls = [{"secretName": "own", "hosts": ["b.example"]}]
    values = {"ingress": {**INGRESS, "tls": tls}, "tests": tests}
    assert arguments(values, "tls") == [
        "https://test.a.example/b",
        "test.a.example",
        "307",
        "",
        tests["tls"]["address"],
    ]
    assert [each["name"] for each in pods(values)["tls"]["spec"]["volumes"]] == ["checks"]


@pytest.mark.parametrize(
    ("ingress", "tests", "secret"),
    [
        ({"selfSigned": True}, {}, "demo-fastapi-service-tls"),
        ({"selfSigned": True}, {"caSecret": "mine"}, "mine"),
        ({"tls": [{"secretName": "own", "hosts": ["b.example"]}]}, {"caSecret": "mine"}, "mine"),
    ],
)
def test_who_vouches_for_the_certificate(ingress: dict[str, Any], tests: dict[str, Any], secret: str) -> None:
    values = {"ingress": {**INGRESS, **ingress}, "tests": {"tls": {"address": "a:443", **tests}}}
    spec = pods(values)["tls"]["spec"]
    volume = spec["volumes"][1]["secret"]
    assert volume["secretName"] == secret
    assert [item["key"] for item in volume["items"]] == ["ca.crt"], "never the key"
    mount = spec["containers"][0]["volumeMounts"][1]
    assert f"{mount['mountPath']}/ca.crt" in PROGRAM.read_text(encoding="utf-8")


def test_the_program_is_there_before_the_pods_and_gone_after_them() -> None:
    objects = render()
    about = objects.one("ConfigMap", "demo-fastapi-service-test")
    assert about["data"] == {"check.py": PROGRAM.read_text(encoding="utf-8")}
    assert about["metadata"]["annotations"] == {
        "helm.sh/hook": "test",
        "helm.sh/hook-weight": "-5",
        "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded,hook-failed",
    }
    for each in objects.all("Pod"):
        assert each["metadata"]["annotations"] == {
            "helm.sh/hook": "test",
            "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded",
        }
        assert each["spec"]["volumes"][0]["configMap"]["name"] == about["metadata"]["name"]


def test_the_service_s_own_image_runs_them_or_another() -> None:
    own = pods({"image": {"digest": DIGEST, "pullSecrets": [{"name": "registry"}]}})["route"]["spec"]
    assert own["containers"][0]["image"] == f"registry.example.com/team/app@{DIGEST}"
    assert own["containers"][0]["command"] == ["python3"]
    assert own["imagePullSecrets"] == [{"name": "registry"}]
    other = pods({"tests": {"image": "python:3.13", "command": ["/bin/python", "-I"], "resources": None}})
    container = other["metrics"]["spec"]["containers"][0]
    assert (container["image"], container["command"]) == ("python:3.13", ["/bin/python", "-I"])
    assert "resources" not in container


def test_they_can_be_kept_out_of_a_mesh() -> None:
    own = {"podLabels": {"sidecar.istio.io/inject": "false"}, "podAnnotations": {"log": "none"}}
    for each in pods({"tests": own}).values():
        metadata = each["metadata"]
        assert metadata["labels"]["sidecar.istio.io/inject"] == "false"
        assert metadata["labels"]["app.kubernetes.io/component"] == "test"
        assert metadata["annotations"]["log"] == "none"
        assert metadata["annotations"]["helm.sh/hook"] == "test"


def test_a_quota_that_asks_for_every_request_and_limit_lets_them_in() -> None:
    for each in pods().values():
        resources = each["spec"]["containers"][0]["resources"]
        assert resources["requests"].keys() == resources["limits"].keys() == {"cpu", "memory"}


def test_where_they_run() -> None:
    spec = pods({"nodeSelector": {"a": "b"}, "tolerations": [{"key": "c"}]})["route"]["spec"]
    assert (spec["nodeSelector"], spec["tolerations"]) == ({"a": "b"}, [{"key": "c"}])


def test_they_meet_the_restricted_standard_and_are_no_target_of_the_service() -> None:
    objects = render()
    selectors = [each["spec"]["selector"].items() for each in objects.all("Service")]
    for each in objects.all("Pod"):
        spec = each["spec"]
        assert spec["restartPolicy"] == "Never"
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = spec["containers"]
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert not [selector for selector in selectors if selector <= each["metadata"]["labels"].items()]
    bare = render({"podSecurityContext": None, "securityContext": None}).all("Pod")[0]["spec"]
    assert "securityContext" not in bare
    assert "securityContext" not in bare["containers"][0]


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        known = self.headers["Host"] == "a.example"
        self.send_response(401 if self.path == "/token?a=b" else 200 if known else 421)
        self.send_header("Content-Type", "application/problem+json; charset=utf-8")
        self.end_headers()
        self.wfile.write(b"in words")

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Answers) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()


def check(*given: str, program: Path = PROGRAM) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, program, *given], capture_output=True, text=True, timeout=60, check=False)


class TestProgram:
    @pytest.mark.parametrize(
        ("path", "status", "content_type"),
        [("/", "200", ""), ("/", "200", "application/problem+json"), ("/token?a=b", "401", "")],
    )
    def test_the_answer_wanted(self, server: str, path: str, status: str, content_type: str) -> None:
        done = check(server + path, "a.example", status, content_type, "")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"GET {server}{path} for a.example: {status} application/problem+json\n"

    @pytest.mark.parametrize(
        ("host", "content_type", "sentence"),
        [
            ("b.example", "", "answered 421 instead of 200: in words"),
            ("a.example", "text/html", "answered with application/problem+json instead of text/html"),
        ],
    )
    def test_another_answer(self, server: str, host: str, content_type: str, sentence: str) -> None:
        done = check(f"{server}/", host, "200", content_type, "")
        assert done.returncode == 1
        assert done.stderr == f"{server}/ {sentence}\n"

    def test_at_another_address(self, server: str) -> None:
        assert check("http://a.example/", "a.example", "200", "", server.removeprefix("http://")).returncode == 0

    def test_nobody_there(self, tmp_path: Path) -> None:
        program = PROGRAM.read_text(encoding="utf-8").replace("PATIENCE = 30", "PATIENCE = 0")
        (tmp_path / "check.py").write_text(program, encoding="utf-8")
        port = free_ports()["http"]
        done = check(f"http://127.0.0.1:{port}/", "a", "200", "", "", program=tmp_path / "check.py")
        assert done.returncode == 1
        assert f"http://127.0.0.1:{port}/ cannot be reached at 127.0.0.1:{port}: " in done.stderr


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"tests": {"requests": [{"name": "metrics", "path": "/", "status": 200}]}},
            "tests.requests has metrics, and there is a test of that name already: give it another",
        ),
        (
            {"tests": {"requests": [{"name": "a", "path": "/", "status": 200}] * 2}},
            "tests.requests has a, and there is a test of that name already: give it another",
        ),
        (
            {"tests": {"tls": {"address": "a:443"}}, "ingress": INGRESS},
            "tests.tls.address is set, and no host has a certificate: "
            "set ingress.tls, certificate.enabled or httpRoute.enabled, or leave it empty",
        ),
        (
            {"tests": {"tls": {"address": "https://a"}}},
            "at '/tests/tls/address': 'https://a' does not match pattern '^([^:/]+:[0-9]+)?$'",
        ),
        (
            {"tests": {"podAnnotations": {"helm.sh/hook": "test"}}},
            "tests.podAnnotations has helm.sh/hook, by which the chart says when Helm makes and deletes the object: "
            "leave it out",
        ),
        (
            {"tests": {"podLabels": {"app.kubernetes.io/component": "app"}}},
            "tests.podLabels has app.kubernetes.io/component, by which the chart finds its objects: "
            "use a label of your own",
        ),
        ({"tests": {"requests": []}}, "at '/tests/requests': minItems: got 0, want 1"),
        ({"tests": {"command": []}}, "at '/tests/command': minItems: got 0, want 1"),
    ],
)
def test_what_cannot_work_is_explained(values: dict[str, Any], message: str) -> None:
    assert refusal(values) == [message]
