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
    assert spec["containers"][0]["envFrom"] == [{"secretRef": {"name": "more"}}]
    assert [each["name"] for each in spec["volumes"]] == ["tmp", "secrets"]

    inline = {each["name"]: each["value"] for each in spec["containers"][0]["env"]}
    assert inline == {**objects.one("ConfigMap", "demo-fastapi-service")["data"], "Y": "2"}
    assert "envFrom" not in pod(job())["containers"][0]


def test_their_own_account_is_there_before_them_and_has_the_cloud_identity() -> None:
    """A first install has not made the app's yet; and as a hook, that would be deleted from under the pods."""
    account = {"name": "links-identity", "annotations": {"role": "links", "region": "a"}}
    objects = render(
        {"migrations": {**ON, "serviceAccount": {"annotations": {"role": "owner"}}}, "serviceAccount": account}
    )
    assert "helm.sh/hook" not in objects.one("ServiceAccount", "links-identity")["metadata"]["annotations"]
    own = objects.one("ServiceAccount", "demo-fastapi-service-migrations")
    assert own["automountServiceAccountToken"] is False
    assert pod(objects.one("Job"))["serviceAccountName"] == own["metadata"]["name"]
    annotations = own["metadata"]["annotations"]
    assert (annotations["role"], annotations["region"]) == ("owner", "a")
    its = objects.one("Job")["metadata"]["annotations"]
    assert annotations["helm.sh/hook"] == its["helm.sh/hook"]
    assert int(annotations["helm.sh/hook-weight"]) < int(its.get("helm.sh/hook-weight", "0"))
    assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded,hook-failed"


@pytest.mark.parametrize(
    ("values", "used"),
    [
        ({"serviceAccount": {"create": False, "name": "links-identity"}}, "links-identity"),
        ({"serviceAccount": {"create": False}}, "default"),
        ({"migrations": {"serviceAccount": {"name": "owner"}}}, "owner"),
        # Called as theirs would be; a hook of that name would delete it.
        (
            {"migrations": {"serviceAccount": {"name": "demo-fastapi-service-migrations"}}},
            "demo-fastapi-service-migrations",
        ),
        ({"migrations": {"serviceAccount": {"name": "owner"}}, "serviceAccount": {"create": False}}, "owner"),
    ],
)
def test_an_existing_account_is_used(values: dict[str, Any], used: str) -> None:
    objects = render({**values, "migrations": {**ON, **values.get("migrations", {})}})
    assert pod(objects.one("Job"))["serviceAccountName"] == used
    assert used not in [each["metadata"]["name"] for each in objects.all("ServiceAccount")]
    assert not [
        each for each in objects.all("ServiceAccount") if "helm.sh/hook" in each["metadata"].get("annotations", {})
    ]


def test_no_migrations_no_account_for_them() -> None:
    assert len(render({"migrations": {"enabled": False}}).all("ServiceAccount")) == 1


def test_their_own_variables_win_over_the_app_s() -> None:
    """Each is there once: a name that came twice would be refused by the API server."""
    own = {"name": "DATABASE_URL", "valueFrom": {"secretKeyRef": {"name": "owner", "key": "url"}}}
    values = {
        "config": {"APP_POOL": "10"},
        "env": [{"name": "ZONE", "value": "a"}],
        "secrets": {"existingSecret": "links", "env": {"DATABASE_URL": "url"}},
        "migrations": {"env": [own, {"name": "APP_POOL", "value": "1"}, {"name": "ONLY", "value": "here"}]},
    }
    (container,) = pod(job(**values))["containers"]
    by_name = {each["name"]: each for each in container["env"]}
    assert len(by_name) == len(container["env"])
    assert by_name["DATABASE_URL"] == own
    assert {name: by_name[name]["value"] for name in ("APP_POOL", "ZONE", "ONLY")} == {
        "APP_POOL": "1",
        "ZONE": "a",
        "ONLY": "here",
    }


def test_annotations_of_the_job() -> None:
    metadata = job(migrations={"annotations": {"team": "links"}})["metadata"]
    assert metadata["annotations"]["team"] == "links"
    assert metadata["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"migrations": {"annotations": {"helm.sh/hook-weight": "9"}}},
            "migrations.annotations has helm.sh/hook-weight, by which the chart says when Helm makes and deletes the "
            "object: leave it out",
        ),
        (
            {"serviceAccount": {"annotations": {"helm.sh/hook": "pre-install"}}},
            "serviceAccount.annotations has helm.sh/hook, by which the chart says when Helm makes and deletes the "
            "object: leave it out",
        ),
        (
            {"migrations": {"serviceAccount": {"name": "demo-fastapi-service"}}},
            "the migrations would run as demo-fastapi-service, which a first install makes only after them: give "
            "serviceAccount.name another name, or make that account yourself and set serviceAccount.create to false",
        ),
        (
            {"migrations": {"serviceAccount": {"name": "a", "annotations": {"b": "c"}}}},
            "migrations.serviceAccount.annotations are for an account that the chart makes, and the migrations run as "
            "a: annotate that one, or leave migrations.serviceAccount.name empty and set serviceAccount.create to true",
        ),
        (
            {"migrations": {"env": [{"name": "A", "value": "1"}] * 2}},
            "migrations.env has A twice: write it once",
        ),
        ({"env": [{"name": "A", "value": "1"}] * 2}, "env has A twice: write it once"),
    ],
)
def test_what_cannot_work_is_explained(values: dict[str, Any], message: str) -> None:
    assert refusal({**values, "migrations": {**ON, **values.get("migrations", {})}}) == [message]


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
