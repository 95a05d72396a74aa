"""What holds of every object in every scenario: names, labels, selectors, security."""

from pathlib import Path
from typing import Any

import pytest

from .helm import CHART, COMPONENTS, DIGEST, ENVIRONMENTS, SCENARIOS, Objects, component, pod, render

ALL_FILES = pytest.mark.parametrize("file", [*SCENARIOS, *ENVIRONMENTS], ids=lambda file: file.stem)
EVERYTHING = CHART / "ci" / "everything-values.yaml"
# The canary, workers, cron jobs and jobs of the scenarios.
WORKLOADS = ("announce", "canary", "clean-up", "mail", "prepare", "thumbnails", "worker")


def test_every_kind_is_of_a_version_that_is_there_to_stay() -> None:
    assert {each["kind"]: each["apiVersion"] for each in render(None, EVERYTHING)} == {
        "Certificate": "cert-manager.io/v1",
        "ClusterRole": "rbac.authorization.k8s.io/v1",
        "ClusterRoleBinding": "rbac.authorization.k8s.io/v1",
        "ConfigMap": "v1",
        "CronJob": "batch/v1",
        "Deployment": "apps/v1",
        "GrafanaDashboard": "grafana.integreatly.org/v1beta1",  # there is no other
        "HorizontalPodAutoscaler": "autoscaling/v2",
        "HTTPRoute": "gateway.networking.k8s.io/v1",
        "Ingress": "networking.k8s.io/v1",
        "Job": "batch/v1",
        "Middleware": "traefik.io/v1alpha1",  # there is no other
        "NetworkPolicy": "networking.k8s.io/v1",
        "PersistentVolumeClaim": "v1",
        "Pod": "v1",
        "PodMonitor": "monitoring.coreos.com/v1",
        "PodDisruptionBudget": "policy/v1",
        "PrometheusRule": "monitoring.coreos.com/v1",
        "Role": "rbac.authorization.k8s.io/v1",
        "RoleBinding": "rbac.authorization.k8s.io/v1",
        "ScaledObject": "keda.sh/v1alpha1",
        "Service": "v1",
        "ServiceAccount": "v1",
        "ServiceMonitor": "monitoring.coreos.com/v1",
        "VerticalPodAutoscaler": "autoscaling.k8s.io/v1",
    }


@ALL_FILES
def test_every_object_says_what_it_belongs_to(file: Path) -> None:
    for each in render(None, file):
        labels = each["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "demo"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert labels["helm.sh/chart"] == "fastapi-service-0.1.0"
        assert labels["app.kubernetes.io/component"] in (*COMPONENTS, *WORKLOADS)
        assert labels.keys() >= {"app.kubernetes.io/name", "app.kubernetes.io/version"}


@ALL_FILES
def test_selectors_find_the_pods_and_never_the_migrations(file: Path) -> None:
    objects = render({"migrations": {"enabled": True}}, file)
    app = objects.one("Deployment")["spec"]["template"]["metadata"]["labels"].items()
    job = objects.one("Job")["spec"]["template"]["metadata"]["labels"].items()
    ours = [each for each in objects if component(each) in COMPONENTS and "-canary" not in each["metadata"]["name"]]
    selectors = [selector_of(each) for each in ours if selector_of(each)]
    assert len(selectors) >= 3
    for selector in selectors:
        assert selector.items() <= app
        assert not selector.items() <= job


def selector_of(each: dict[str, Any]) -> dict[str, str]:
    """What pods an object selects."""
    if each["kind"] not in ("Deployment", "Service", "PodDisruptionBudget"):
        return {}
    selector: dict[str, str] = each["spec"]["selector"]
    return selector if each["kind"] == "Service" else selector["matchLabels"]  # type: ignore[return-value]


def test_selectors_outlive_any_other_change() -> None:
    def selector(objects: Objects) -> dict[str, str]:
        found: dict[str, str] = objects.one("Deployment")["spec"]["selector"]["matchLabels"]
        return found

    changed = render({"image": {"tag": "2"}, "commonLabels": {"a": "b"}, "podLabels": {"c": "d"}})
    assert selector(changed) == selector(render())
    assert selector(render()) == {
        "app.kubernetes.io/name": "fastapi-service",
        "app.kubernetes.io/instance": "demo",
        "app.kubernetes.io/component": "app",
    }


def test_common_labels_are_on_every_object_and_pod() -> None:
    objects = render({"commonLabels": {"team": "links"}}, EVERYTHING)
    for each in objects:
        assert each["metadata"]["labels"]["team"] == "links"
    for kind in ("Deployment", "Job"):
        assert objects.one(kind)["spec"]["template"]["metadata"]["labels"]["team"] == "links"


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ({}, "0.1.0"),
        ({"tag": "1.2"}, "1.2"),
        ({"tag": "1.2", "digest": DIGEST}, "1.2"),
        ({"digest": DIGEST}, "sha256-0123456789ab"),
        ({"tag": "a" * 62 + ".b"}, "a" * 62),
        ({"tag": "_a-"}, "a"),
    ],
)
def test_the_version_is_that_of_the_image(image: dict[str, str], version: str) -> None:
    deployment = render({"image": image}).one("Deployment")
    assert deployment["metadata"]["labels"]["app.kubernetes.io/version"] == version
    assert deployment["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/version"] == version


def test_pods_carry_nothing_that_changes_with_the_chart() -> None:
    labels = render().one("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert "helm.sh/chart" not in labels


class TestNames:
    @pytest.mark.parametrize(
        ("release", "values", "name"),
        [
            ("demo", {}, "demo-fastapi-service"),
            ("my-fastapi-service", {}, "my-fastapi-service"),
            ("links", {"nameOverride": "links"}, "links"),
            ("demo", {"nameOverride": "links"}, "demo-links"),
            ("demo", {"fullnameOverride": "short"}, "short"),
            ("r" * 53, {"nameOverride": "n" * 63}, "r" * 53 + "-" + "n" * 9),
            ("r" * 53, {"nameOverride": "n" * 8 + "-m"}, "r" * 53 + "-" + "n" * 8),
        ],
    )
    def test_of_the_main_objects(self, release: str, values: dict[str, str], name: str) -> None:
        objects = render(values, release=release)
        kinds = ("ConfigMap", "Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget", "Service")
        for kind in kinds:
            assert objects.one(kind, name)
        assert objects.one("ServiceAccount")["metadata"]["name"] == name

    @pytest.mark.parametrize("full", ["short", "f" * 63, "f" * 51 + "-" + "f" * 11])
    def test_with_a_suffix_fit_too(self, full: str) -> None:
        on = {"enabled": True}
        objects = render({"fullnameOverride": full, "serviceMonitor": on, "migrations": on})
        (management,) = (each for each in objects.all("Service") if each["spec"].get("clusterIP") == "None")
        for each, suffix in ((management, "-management"), (objects.one("Job"), "-migrations")):
            name = each["metadata"]["name"]
            assert name.endswith(suffix)
            assert len(name) <= 63
            assert "--" not in name
            assert full.startswith(name.removesuffix(suffix))


class TestServiceAccount:
    def test_its_own_without_a_token(self) -> None:
        objects = render({"serviceAccount": {"annotations": {"role": "links"}}})
        account = objects.one("ServiceAccount")
        assert account["automountServiceAccountToken"] is False
        assert account["metadata"]["annotations"] == {"role": "links"}
        assert pod(objects.one("Deployment"))["serviceAccountName"] == account["metadata"]["name"]
        assert "annotations" not in render().one("ServiceAccount")["metadata"]

    @pytest.mark.parametrize(("name", "used"), [("existing", "existing"), ("", "default")])
    def test_an_existing_one(self, name: str, used: str) -> None:
        objects = render({"serviceAccount": {"create": False, "name": name}})
        assert not objects.all("ServiceAccount")
        assert pod(objects.one("Deployment"))["serviceAccountName"] == used

    def test_its_token_is_mounted_into_the_pods_alone_and_only_when_asked(self) -> None:
        objects = render({"serviceAccount": {"automountToken": True}, "migrations": {"enabled": True}})
        assert [each["automountServiceAccountToken"] for each in objects.all("ServiceAccount")] == [False, False]
        assert pod(objects.one("Deployment"))["automountServiceAccountToken"] is True
        assert pod(objects.one("Job"))["automountServiceAccountToken"] is False
        assert pod(render().one("Deployment"))["automountServiceAccountToken"] is False

    def test_a_chosen_name(self) -> None:
        objects = render({"serviceAccount": {"name": "links-identity"}})
        assert objects.one("ServiceAccount")["metadata"]["name"] == "links-identity"
        assert pod(objects.one("Deployment"))["serviceAccountName"] == "links-identity"


@ALL_FILES
@pytest.mark.parametrize("kind", ["Deployment", "Job"])
def test_pods_meet_the_restricted_standard_on_a_read_only_file_system(file: Path, kind: str) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/"""
    spec = pod(render({"migrations": {"enabled": True}}, file).one(kind))
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert spec["containers"][0]["volumeMounts"][0] == {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()


def test_security_contexts_can_be_left_to_the_cluster() -> None:
    objects = render({"podSecurityContext": None, "securityContext": None, "migrations": {"enabled": True}})
    for kind in ("Deployment", "Job"):
        spec = pod(objects.one(kind))
        assert "securityContext" not in spec
        assert "securityContext" not in spec["containers"][0]
