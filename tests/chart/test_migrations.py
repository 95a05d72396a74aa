"""The Job that migrates before an install or upgrade, when nothing of the release exists yet."""

from typing import Any

import pytest

from .helm import pod, refusal, render

ON = {"enabled": True}


def job(**values: Any) -> dict[str, Any]:
    migrations = {**ON, **values.pop("migrations", {})}
    return render({"migrations": migrations, **values}).one("Job")


def test_off_by_default() -> None:
    assert not render().all("Job")


def test_a_hook_whose_log_is_printed_and_whose_last_failure_is_kept() -> None:
    metadata = job()["metadata"]
    assert metadata["name"] == "demo-fastapi-service-migrations"
    assert metadata["annotations"] == {
        "helm.sh/hook": "pre-install,pre-upgrade",
        "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded",
        "helm.sh/hook-output-log-policy": "hook-succeeded,hook-failed",
    }


def test_it_ends() -> None:
    spec = job()["spec"]
    assert pod(job())["restartPolicy"] == "Never"
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"], spec["ttlSecondsAfterFinished"]) == (
        2,
        240,
        86400,
    )
    assert spec["podFailurePolicy"]["rules"] == [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    ]

    spec = job(migrations={"backoffLimit": 0, "activeDeadlineSeconds": 60, "ttlSecondsAfterFinished": 61})["spec"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"], spec["ttlSecondsAfterFinished"]) == (
        0,
        60,
        61,
    )


def test_it_is_there_until_helm_has_seen_the_end_of_it() -> None:
    assert refusal({"migrations": {"ttlSecondsAfterFinished": 0}}) == [
        "at '/migrations/ttlSecondsAfterFinished': minimum: got 0, want 60"
    ]


def test_the_image_is_told_to_migrate() -> None:
    (container,) = pod(job())["containers"]
    assert container["args"] == ["migrate"]
    assert "command" not in container

    (container,) = pod(job(migrations={"command": ["alembic"], "args": ["upgrade", "head"]}))["containers"]
    assert (container["command"], container["args"]) == (["alembic"], ["upgrade", "head"])
    (container,) = pod(job(migrations={"command": ["migrate"], "args": []}))["containers"]
    assert "args" not in container


def test_it_needs_no_object_of_the_release() -> None:
    objects = render(
        {
            "migrations": ON,
            "config": {"X": "1"},
            "env": [{"name": "Y", "value": "2"}],
            "envFrom": [{"secretRef": {"name": "more"}}],
            "secrets": {"existingSecret": "links-secrets"},
        }
    )
    spec = pod(objects.one("Job"))
    assert spec["serviceAccountName"] == "default"
    assert spec["containers"][0]["envFrom"] == [{"secretRef": {"name": "more"}}]
    assert [each["name"] for each in spec["volumes"]] == ["tmp", "secrets"]

    inline = {each["name"]: each["value"] for each in spec["containers"][0]["env"]}
    assert inline == {**objects.one("ConfigMap", "demo-fastapi-service")["data"], "Y": "2"}
    assert "envFrom" not in pod(job())["containers"][0]


def test_an_existing_service_account_is_used() -> None:
    spec = pod(job(serviceAccount={"create": False, "name": "links-identity"}))
    assert spec["serviceAccountName"] == "links-identity"
    assert pod(job(serviceAccount={"create": False}))["serviceAccountName"] == "default"
    assert pod(job(serviceAccount={"name": "links-identity"}))["serviceAccountName"] == "default"


def test_a_dollar_sign_means_itself_as_in_a_config_map() -> None:
    (container,) = pod(job(config={"X": "$(HOME) $HOME $$(A)"}))["containers"]
    assert {"name": "X", "value": "$$(HOME) $HOME $$$(A)"} in container["env"]


def test_labels_and_annotations_of_its_pods() -> None:
    metadata = job(podLabels={"tier": "web"}, podAnnotations={"on": "pod"})["spec"]["template"]["metadata"]
    assert "tier" not in metadata["labels"]
    assert "annotations" not in metadata

    own = {"podLabels": {"database": "yes"}, "podAnnotations": {"sidecar": "no"}}
    metadata = job(migrations=own)["spec"]["template"]["metadata"]
    assert metadata["labels"]["database"] == "yes"
    assert metadata["annotations"] == {"sidecar": "no"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("nodeSelector", {"kubernetes.io/os": "linux"}),
        ("tolerations", [{"key": "dedicated", "operator": "Exists"}]),
        ("priorityClassName", "web-high"),
    ],
)
def test_it_runs_where_the_pods_run(name: str, value: object) -> None:
    assert name not in pod(job())
    assert pod(job(**{name: value}))[name] == value


def test_of_the_affinity_only_what_is_about_nodes_holds_for_it() -> None:
    nodes: dict[str, Any] = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}
    assert "affinity" not in pod(job(affinity={"podAntiAffinity": {}}))
    assert pod(job(affinity={"podAntiAffinity": {}, "nodeAffinity": nodes}))["affinity"] == {"nodeAffinity": nodes}


def test_it_is_pulled_like_the_pods() -> None:
    spec = pod(job(image={"pullPolicy": "Always", "pullSecrets": [{"name": "registry"}]}))
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["containers"][0]["imagePullPolicy"] == "Always"


def test_it_has_the_resources_of_the_app() -> None:
    objects = render({"migrations": ON})
    assert pod(objects.one("Job"))["containers"][0]["resources"] == objects.container["resources"]
    assert "resources" not in pod(job(resources=None, autoscaling={"enabled": False}))["containers"][0]
