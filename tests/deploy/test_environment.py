import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from delivery.deploy import environment
from delivery.deploy.environment import Environment, Signature
from k8s import facts
from toolkit.process import Failure

URL = "https://links.example.com"


@pytest.fixture(autouse=True)
def no_context(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBE_CONTEXT", raising=False)


def load(tmp_path: Path, **settings: Any) -> Environment:
    file = tmp_path / "deploy.yaml"
    base = {"namespace": "links", "release": "links", "values": ["own.yaml"], "url": URL}
    file.write_text(yaml.safe_dump({"test": {**base, **settings}}))
    return environment.load("test", file)


def refusal(tmp_path: Path, **settings: Any) -> str:
    with pytest.raises(Failure) as refused:
        load(tmp_path, **settings)
    first, *lines = str(refused.value).splitlines()
    assert first.endswith("deploy.yaml is wrong:")
    return "\n".join(line.strip() for line in lines)


@pytest.mark.parametrize("name", ["staging", "production"])
def test_those_of_the_repository(name: str) -> None:
    found = environment.load(name)
    assert [file.name for file in found.values] == ["domains.yaml", "common.yaml", f"{name}.yaml"]
    assert all(file.is_file() for file in found.values)
    assert found.url == f"https://links{'.staging' if name == 'staging' else ''}.example.com"
    assert found.plain == found.url.replace("https", "http")
    assert found.signature
    assert found.signature.issuer == "https://token.actions.githubusercontent.com"
    assert found.prometheus
    assert found.bake.seconds > 0


def test_the_local_one_is_where_make_up_has_brought_it(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {
        "url": "https://links.localhost:8443",
        "plain": "http://links.localhost:8080",
        "ca": "/somewhere/ca.crt",
        "context": "kind-shipshape",
        "namespace": "links",
        "release": "links",
        "prometheus": "",
        "alertmanager": "",
        "token": "",
        "config.APP_PUBLIC_URL": "https://links.localhost:8443",
        "config.APP_OTLP_ENDPOINT": "",
    }
    monkeypatch.setattr(facts, "load", lambda: known)
    found = environment.load("local")
    assert (found.context, found.namespace, found.release) == ("kind-shipshape", "links", "links")
    assert (found.url, found.plain) == (known["url"], known["plain"])
    assert (found.smoke.connect, found.smoke.ca) == ("127.0.0.1", Path("/somewhere/ca.crt"))
    assert found.set == {"config": {"APP_PUBLIC_URL": known["url"], "APP_OTLP_ENDPOINT": ""}}
    old = {name: value for name, value in known.items() if not name.startswith("config.")}
    monkeypatch.setattr(facts, "load", lambda: old)
    with pytest.raises(Failure, match="written again by `make up`"):
        environment.load("local")


def test_files_are_named_from_where_the_environments_are(tmp_path: Path) -> None:
    found = load(tmp_path, signature={"key": "cosign.pub"}, smoke={"ca": "ca.crt"}, values=["a.yaml", "/b.yaml"])
    assert found.values == [tmp_path / "a.yaml", Path("/b.yaml")]
    assert found.signature == Signature(key=tmp_path / "cosign.pub")
    assert found.smoke.ca == tmp_path / "ca.crt"


def test_the_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(tmp_path).context is None
    assert load(tmp_path, context="cluster").context == "cluster"
    monkeypatch.setenv("KUBE_CONTEXT", "another")
    assert load(tmp_path, context="cluster").context == "another"


def test_the_address_is_the_values_own_where_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(json.dumps({"config": {"APP_PUBLIC_URL": "https://own.example.com:444/"}}))
    found = load(tmp_path, url="")
    assert found.url == "https://own.example.com:444"
    assert found.plain is None
    (tmp_path / "own.yaml").write_text("{}")
    with pytest.raises(Failure, match=r"^The environment test has no public address: set `url: https://...`, or "):
        load(tmp_path, url="")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"namespaec": "x"}, "namespaec is no setting; there are up, context, namespace, release, values, set, url, "),
        (
            {"bake": {"second": 1}},
            "bake.second is no setting; there are seconds, every, burn_rate, minimum_bad, minimum_",
        ),
        ({"bake": {"seconds": -1}}, "bake.seconds: Input should be greater than or equal to 0."),
        ({"prometheus": {"namespace": "monitoring", "port": 9090}}, "prometheus.service is missing."),
        (
            {"prometheus": {"namespace": "m", "service": "p", "prot": 1, "port": 1}},
            "prometheus.prot is no setting; there are",
        ),
        ({"bake": {"failed_tasks": 0}}, "bake.failed_tasks: Input should be greater than 0."),
        ({"canary": {"steps": []}}, "canary.steps: List should have at least 1 item"),
        ({"canary": {"steps": [50, 25]}}, "canary: write steps that rise from 1 to at most 100, such as [5, 25, 50]."),
        ({"canary": {"steps": [0, 50]}}, "canary: write steps that rise from 1 to at most 100, such as [5, 25, 50]."),
        ({"canary": {"steps": [50, 101]}}, "canary: write steps that rise from 1 to at most 100, such as [5, 25, 50]."),
        (
            {"canary": {"steps": [1, 2, 3]}, "history": 8},
            "it: each step of a canary is a revision, so history must be at least 9.",
        ),
        ({"signature": {"identity": "me"}}, "signature: give a key, or an identity and its issuer."),
        ({"signature": {}}, "signature: give a key, or an identity and its issuer."),
        ({"release": ""}, "it: name a namespace and a release."),
        ({"url": "http://links.example.com"}, "url: String should match pattern"),
        ({"values": []}, "values: List should have at least 1 item"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(tmp_path: Path, settings: dict[str, Any], sentence: str) -> None:
    assert refusal(tmp_path, **settings).startswith(sentence)


def test_no_such_environment() -> None:
    with pytest.raises(Failure, match=r"^ENV is not set: give one of local, staging, production \(ENV=...\)."):
        environment.load("")
    with pytest.raises(
        Failure,
        match=r"^ENV is 'prod', and k8s/environments/deploy.yaml has no such environment: give one of local, staging, ",
    ):
        environment.load("prod")


@pytest.mark.parametrize(("content", "sentence"), [("- a", "names no environment"), ("a: [", "cannot be read")])
def test_no_environments(tmp_path: Path, content: str, sentence: str) -> None:
    file = tmp_path / "deploy.yaml"
    file.write_text(content)
    with pytest.raises(Failure, match=sentence):
        environment.load("a", file)
    with pytest.raises(Failure, match="cannot be read"):
        environment.load("a", tmp_path / "missing.yaml")


def test_an_environment_that_is_no_map(tmp_path: Path) -> None:
    file = tmp_path / "deploy.yaml"
    file.write_text("test: 1\n")
    with pytest.raises(Failure, match="it is no map"):
        environment.load("test", file)
