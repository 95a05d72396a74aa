"""A volume that outlives the pods, for as many of them as can share it."""

from typing import Any

import pytest

from .helm import Object, pod, refusal, render

ONE = {"autoscaling": {"enabled": False}, "replicas": 1, "strategy": "Recreate"}
SHARED = {"enabled": True, "accessMode": "ReadWriteMany"}


def claim(**values: Any) -> Object:
    return render({"persistence": {**SHARED, **values}}).one("PersistentVolumeClaim")


def test_none_without_being_asked() -> None:
    objects = render({"persistence": {"mountPath": "/var/lib/app"}})
    assert not objects.all("PersistentVolumeClaim")
    assert [each["name"] for each in pod(objects.one("Deployment"))["volumes"]] == ["tmp"]


def test_the_app_has_it_and_the_migrations_do_not() -> None:
    """Those of a first install run before it is there."""
    values = {"persistence": {**SHARED, "mountPath": "/srv/files", "subPath": "a"}, "migrations": {"enabled": True}}
    objects = render(values)
    mount = {"name": "data", "mountPath": "/srv/files", "subPath": "a"}
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "demo-fastapi-service"}}
    assert objects.one("PersistentVolumeClaim")["metadata"]["name"] == "demo-fastapi-service"
    assert mount in objects.container["volumeMounts"]
    assert volume in pod(objects.one("Deployment"))["volumes"]
    job = pod(objects.one("Job"))
    assert [each["name"] for each in job["volumes"]] == ["tmp"]
    assert [each["name"] for each in job["containers"][0]["volumeMounts"]] == ["tmp"]


def test_what_is_claimed() -> None:
    assert claim()["spec"] == {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    assert claim(size="20Gi")["spec"]["resources"] == {"requests": {"storage": "20Gi"}}


@pytest.mark.parametrize(("given", "written"), [("fast", "fast"), ("-", "")])
def test_the_class_of_storage(given: str, written: str) -> None:
    assert claim(storageClass=given)["spec"]["storageClassName"] == written


def test_what_it_holds_outlives_the_release() -> None:
    assert claim()["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert claim(annotations={"a": "b"})["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep", "a": "b"}
    assert "annotations" not in claim(retain=False)["metadata"]


def test_a_claim_that_exists() -> None:
    objects = render({"persistence": {**SHARED, "existingClaim": "files"}})
    assert not objects.all("PersistentVolumeClaim")
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "files"}}
    assert volume in pod(objects.one("Deployment"))["volumes"]


def test_pods_only_read_what_is_read_only() -> None:
    objects = render({"persistence": {"enabled": True, "accessMode": "ReadOnlyMany", "existingClaim": "files"}})
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "files", "readOnly": True}}
    assert volume in pod(objects.one("Deployment"))["volumes"]


@pytest.mark.parametrize("mode", ["ReadWriteOnce", "ReadWriteOncePod"])
@pytest.mark.parametrize(
    "values",
    [ONE, {**ONE, "strategy": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}],
    ids=["recreated", "without-surge"],
)
def test_one_pod_can_have_a_volume_of_one_node(mode: str, values: dict[str, Any]) -> None:
    objects = render({"persistence": {"enabled": True, "accessMode": mode}, **values})
    assert objects.one("PersistentVolumeClaim")["spec"]["accessModes"] == [mode]


SEVERAL = (
    "persistence.accessMode ReadWriteOnce is for one node or pod, and up to {} pods would wait for the volume: "
    "write ReadWriteMany where the storage can do it, or set replicas to 1 and no autoscaler"
)
FIXED = {"autoscaling": {"enabled": False}}
KEDA = {**FIXED, "keda": {"enabled": True, "maxReplicas": 7, "triggers": [{"type": "cron", "metadata": {}}]}}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, SEVERAL.format(10)),
        ({"existingClaim": "files"}, SEVERAL.format(10)),
        ({"values": FIXED}, SEVERAL.format(3)),
        ({"values": KEDA}, SEVERAL.format(7)),
        (
            {"values": {**FIXED, "replicas": 1}},
            "persistence.accessMode ReadWriteOnce is for one node or pod, and in a rollout the new pod would wait for "
            "the volume of the old one: set strategy to Recreate",
        ),
        (
            {"accessMode": "ReadOnlyMany"},
            "persistence.accessMode ReadOnlyMany would make a volume that stays empty: "
            "name a claim that has something in persistence.existingClaim",
        ),
        (
            {**SHARED, "mountPath": "/"},
            "persistence.mountPath / would hide what the image holds: write a directory such as /data",
        ),
        *(
            (
                {**SHARED, "mountPath": path},
                f"persistence.mountPath {path} is another volume's already: write another directory, such as /data",
            )
            for path in ("/tmp/", "/run/secrets/app")  # noqa: S108
        ),
        (
            {**SHARED, "values": {"extraVolumes": [{"name": "data", "emptyDir": {}}]}},
            "extraVolumes has a volume data, of which the pod has one already: use another name",
        ),
        (
            {"accessMode": "ReadWrite"},
            "at '/persistence/accessMode': value must be one of 'ReadWriteOnce', "
            "'ReadWriteOncePod', 'ReadWriteMany', 'ReadOnlyMany'",
        ),
        ({"subPath": "/a"}, "at '/persistence/subPath': '/a' does not match pattern '^([^/].*)?$'"),
    ],
)
def test_what_cannot_work_is_explained(values: dict[str, Any], message: str) -> None:
    more = values.pop("values", {}) if "values" in values else {}
    assert refusal({"persistence": {"enabled": True, **values}, **more}) == [message]
