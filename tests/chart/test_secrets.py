"""Secrets as files or variables, from a Secret that exists or one that External Secrets makes."""

from typing import Any

import pytest

from .helm import Object, Objects, pod, refusal, render

DATA = [{"secretKey": "app_database_url", "remoteRef": {"key": "links", "property": "database_url"}}]
STORE = {"enabled": True, "storeRef": {"name": "vault"}, "data": DATA}
ON = {"migrations": {"enabled": True}}


def external(**values: Any) -> dict[str, Any]:
    return {"externalSecret": {**STORE, **values}}


def secret_of(workload: Object) -> str:
    (volume,) = (each for each in pod(workload)["volumes"] if each["name"] == "secrets")
    name: str = volume["secret"]["secretName"]
    return name


def env_of(workload: Object) -> dict[str, Any]:
    return {each["name"]: each for each in pod(workload)["containers"][0].get("env", [])}


def directory(objects: Objects) -> str | None:
    found: str | None = objects.one("ConfigMap", "demo-fastapi-service")["data"].get("APP_SECRETS_DIR")
    return found


def test_variables_from_the_existing_secret() -> None:
    objects = render({"secrets": {"existingSecret": "links", "env": {"DATABASE_URL": "database-url"}}, **ON})
    for kind in ("Deployment", "Job"):
        assert env_of(objects.one(kind))["DATABASE_URL"] == {
            "name": "DATABASE_URL",
            "valueFrom": {"secretKeyRef": {"name": "links", "key": "database-url"}},
        }
        assert secret_of(objects.one(kind)) == "links"


def test_other_variables_come_after_and_may_refer_to_them() -> None:
    values = {
        "secrets": {"existingSecret": "links", "env": {"B": "b", "A": "a"}},
        "env": [{"name": "C", "value": "$(A)"}],
    }
    assert [each["name"] for each in render(values).container["env"]] == ["A", "B", "C"]


def test_nothing_external_by_default() -> None:
    assert not render(ON).all("ExternalSecret")


def test_an_external_secret_is_read_as_an_existing_one_would_be() -> None:
    objects = render({**external(), "secrets": {"env": {"DATABASE_URL": "app_database_url"}}})
    spec = objects.one("ExternalSecret")["spec"]
    assert spec == {
        "refreshInterval": "1h",
        "secretStoreRef": {"kind": "SecretStore", "name": "vault"},
        "target": {"name": "demo-fastapi-service", "creationPolicy": "Owner"},
        "data": DATA,
    }
    deployment = objects.one("Deployment")
    assert secret_of(deployment) == spec["target"]["name"]
    assert env_of(deployment)["DATABASE_URL"]["valueFrom"]["secretKeyRef"]["name"] == spec["target"]["name"]
    assert directory(objects) == "/run/secrets/app"
    assert pod(deployment)["containers"][0]["volumeMounts"][1]["mountPath"] == "/run/secrets/app"


def test_another_store_interval_and_source() -> None:
    whole = [{"extract": {"key": "links"}}]
    values = external(
        storeRef={"kind": "ClusterSecretStore", "name": "aws"}, refreshInterval="1h30m", data=[], dataFrom=whole
    )
    spec = render(values).one("ExternalSecret")["spec"]
    assert spec["secretStoreRef"] == {"kind": "ClusterSecretStore", "name": "aws"}
    assert (spec["refreshInterval"], spec["dataFrom"]) == ("1h30m", whole)
    assert "data" not in spec


def test_migrations_have_one_of_their_own_that_is_there_before_the_release_and_gone_after_them() -> None:
    objects = render({**external(), "secrets": {"env": {"DATABASE_URL": "app_database_url"}}, **ON})
    of_release = objects.one("ExternalSecret", "demo-fastapi-service")
    of_job = objects.one("ExternalSecret", "demo-fastapi-service-migrations")
    job = objects.one("Job")

    assert "annotations" not in of_release["metadata"]
    annotations, of_hook = of_job["metadata"]["annotations"], job["metadata"]["annotations"]
    assert annotations["helm.sh/hook"] == of_hook["helm.sh/hook"]
    assert int(annotations["helm.sh/hook-weight"]) < int(of_hook.get("helm.sh/hook-weight", "0"))
    assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"

    name = "demo-fastapi-service-migrations"
    assert of_job["spec"] == {**of_release["spec"], "target": {"name": name, "creationPolicy": "Owner"}}
    assert secret_of(job) == name
    assert env_of(job)["DATABASE_URL"]["valueFrom"]["secretKeyRef"]["name"] == name
    assert env_of(job)["APP_SECRETS_DIR"]["value"] == "/run/secrets/app"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {**external(), "secrets": {"existingSecret": "links"}},
            "secrets.existingSecret and externalSecret.enabled are both set: "
            "keep the one for a Secret that exists, the other for one to be made",
        ),
        (external(storeRef={"name": ""}), "externalSecret.storeRef.name is empty: name the SecretStore to read"),
        (
            external(data=[]),
            "externalSecret takes nothing from the store: list externalSecret.data or externalSecret.dataFrom",
        ),
        (
            external(refreshInterval="1 hour"),
            'externalSecret.refreshInterval "1 hour" is no duration: write a number and s, m or h, such as 1h',
        ),
        (
            {"secrets": {"env": {"A": "a"}}},
            "secrets.env has no Secret to read: set secrets.existingSecret, or externalSecret.enabled to true",
        ),
        (
            {**external(), "secrets": {"env": {"APP_PORT": "a"}}},
            "secrets.env.APP_PORT is in the ConfigMap too: remove it here or there",
        ),
        (
            {**external(), "secrets": {"env": {"A": "a"}}, "config": {"A": "1"}},
            "secrets.env.A is in the ConfigMap too: remove it here or there",
        ),
        (
            {**external(), "secrets": {"env": {"A": "a"}}, "env": [{"name": "A", "value": "1"}]},
            "secrets.env.A is in env too: remove it here or there",
        ),
        (
            {**external(), "secrets": {"env": {"A-B": "a"}}},
            "secrets.env.A-B is no environment variable: write letters, digits and _ alone",
        ),
        (
            {**external(), "config": {"APP_SECRETS_DIR": "/a"}},
            "config.APP_SECRETS_DIR is set by the chart: set secrets.mountPath instead",
        ),
        (external(data=[{"secretKey": "a"}]), "at '/externalSecret/data/0': missing property 'remoteRef'"),
        (
            external(storeRef={"kind": "Store", "name": "a"}),
            "at '/externalSecret/storeRef/kind': value must be one of 'SecretStore', 'ClusterSecretStore'",
        ),
    ],
)
def test_what_cannot_work_is_explained(values: dict[str, Any], message: str) -> None:
    assert refusal(values) == [message]
