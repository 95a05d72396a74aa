"""Containers before and beside the app, and how the pods resolve names."""

from typing import Any

import pytest

from .helm import Object, pod, refusal, render

PROXY = {"name": "proxy", "image": "proxy:1", "restartPolicy": "Always"}
LOGS = {"name": "logs", "image": "logs:1", "securityContext": {"runAsUser": 1}}


def deployment(**values: Any) -> Object:
    return pod(render(values).one("Deployment"))


def job(**values: Any) -> Object:
    return pod(render({"migrations": {"enabled": True, **values.pop("migrations", {})}, **values}).one("Job"))


def test_the_app_is_alone_by_default() -> None:
    spec = deployment()
    assert [each["name"] for each in spec["containers"]] == ["app"]
    assert "initContainers" not in spec
    assert "initContainers" not in job()


def test_containers_before_and_beside_it() -> None:
    spec = deployment(initContainers=[PROXY], extraContainers=[LOGS])
    assert [each["name"] for each in spec["containers"]] == ["app", "logs"]
    assert [(each["name"], each["restartPolicy"]) for each in spec["initContainers"]] == [("proxy", "Always")]


def test_the_migrations_have_their_own() -> None:
    assert "initContainers" not in job(initContainers=[PROXY], extraContainers=[LOGS])
    spec = job(migrations={"initContainers": [PROXY]})
    assert [each["name"] for each in spec["initContainers"]] == ["proxy"]
    assert [each["name"] for each in spec["containers"]] == ["migrations"]


def test_they_meet_the_restricted_standard_unless_they_say_otherwise() -> None:
    spec = deployment(initContainers=[PROXY], extraContainers=[LOGS])
    app, logs = spec["containers"]
    assert spec["initContainers"][0]["securityContext"] == app["securityContext"]
    assert logs["securityContext"] == {"runAsUser": 1}
    (proxy,) = job(migrations={"initContainers": [PROXY]})["initContainers"]
    assert proxy["securityContext"] == app["securityContext"]

    (proxy,) = deployment(initContainers=[PROXY], securityContext=None)["initContainers"]
    assert proxy == PROXY


def test_a_sidecar_changes_nothing_about_how_the_pod_ends() -> None:
    assert (
        deployment(initContainers=[PROXY])["terminationGracePeriodSeconds"]
        == deployment()["terminationGracePeriodSeconds"]
    )


@pytest.mark.parametrize("kind", [deployment, job])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hostAliases", [{"ip": "192.0.2.1", "hostnames": ["db.example.com"]}]),
        ("dnsConfig", {"options": [{"name": "ndots", "value": "1"}]}),
        ("dnsPolicy", "Default"),
        ("runtimeClassName", "gvisor"),
    ],
)
def test_how_names_are_resolved_and_what_runs_the_containers(kind: Any, name: str, value: object) -> None:
    assert name not in kind()
    assert kind(**{name: value})[name] == value


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"extraContainers": [{"name": "app", "image": "a"}]},
            "extraContainers has a container app, of which the pod has one already: use another name",
        ),
        (
            {"initContainers": [PROXY], "extraContainers": [{"name": "proxy", "image": "a"}]},
            "initContainers has a container proxy, of which the pod has one already: use another name",
        ),
        (
            {"migrations": {"initContainers": [{"name": "migrations", "image": "a"}]}},
            "migrations.initContainers has a container migrations, of which the pod has one already: use another name",
        ),
        (
            {"extraVolumes": [{"name": "tmp", "emptyDir": {}}]},
            "extraVolumes has a volume tmp, of which the pod has one already: use another name",
        ),
        ({"dnsPolicy": "None"}, "dnsPolicy None knows no server to ask: list dnsConfig.nameservers"),
        ({"initContainers": [{"name": "a"}]}, "at '/initContainers/0': missing property 'image'"),
        ({"extraContainers": [{"image": "a"}]}, "at '/extraContainers/0': missing property 'name'"),
    ],
)
def test_what_cannot_work_is_explained(values: dict[str, Any], message: str) -> None:
    assert refusal(values) == [message]
