"""Who says how many pods: Helm, an autoscaler, or somebody by hand. docs/decisions/0008-replicas.md.

Helm looks at the live Deployment. Here a copy of the chart is given one, with its managers as Kubernetes lists them.
"""

import functools
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from .helm import CHART, IMAGE, helm, render

# Where the templates look for it, and what they are given instead: of the app, and of a worker.
LOOKUPS = {
    "_workload.tpl": (
        'lookup "apps/v1" "Deployment" .Release.Namespace (include "fastapi-service.fullname" .)',
        ".Values.global.live",
    ),
    "workers.yaml": ('lookup "apps/v1" "Deployment" $.Release.Namespace .object', "$.Values.global.worker"),
}

FIXED = {"autoscaling": {"enabled": False}, "replicas": 3}
KEDA = {"autoscaling": {"enabled": False}, "keda": {"enabled": True, "prometheus": {"serverAddress": "http://p"}}}

REPLICAS: dict[str, Any] = {"f:spec": {"f:replicas": {}}}
LABELS: dict[str, Any] = {"f:metadata": {"f:labels": {".": {}, "f:helm.sh/chart": {}}}}
RELEASE = {"manager": "helm", "operation": "Apply", "fieldsV1": {**LABELS, **REPLICAS}}
RELEASE_WITHOUT = {**RELEASE, "fieldsV1": {**LABELS, "f:spec": {"f:selector": {}}}}
RELEASE_CLIENT_SIDE = {**RELEASE, "operation": "Update"}
SCALED = {"manager": "kubectl", "operation": "Update", "subresource": "scale", "fieldsV1": REPLICAS}
AUTOSCALER = {**SCALED, "manager": "kube-controller-manager"}
STATUS = {
    "manager": "kube-controller-manager",
    "operation": "Update",
    "subresource": "status",
    "fieldsV1": {"f:status": {"f:replicas": {}}},
}


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("chart") / CHART.name
    shutil.copytree(CHART, copy)
    for name, (lookup, given) in LOOKUPS.items():
        file = copy / "templates" / name
        text = file.read_text(encoding="utf-8")
        assert text.count(lookup) == 1
        file.write_text(text.replace(lookup, given), encoding="utf-8")
    return copy


def live(replicas: int, *managers: dict[str, Any], declared: str = "") -> dict[str, Any]:
    annotations = {"annotations": {"fastapi-service/replicas": declared}} if declared else {}
    return {"metadata": {"managedFields": [STATUS, *managers], **annotations}, "spec": {"replicas": replicas}}


def upgrade(chart: Path, values: dict[str, Any], deployment: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    given = {"image": IMAGE, **values, "global": {"live": deployment}}
    return helm("template", "demo", chart, "--is-upgrade", "--values=-", stdin=json.dumps(given))


def replicas(chart: Path, values: dict[str, Any], deployment: dict[str, Any]) -> int | None:
    """What the Deployment asks for; None when it leaves that to others."""
    done = upgrade(chart, values, deployment)
    assert done.returncode == 0, done.stderr
    objects = yaml.load_all(done.stdout, Loader=yaml.CSafeLoader)
    (spec,) = (each["spec"] for each in objects if each and each["kind"] == "Deployment")
    found: int | None = spec.get("replicas")
    return found


AUTOSCALED = pytest.mark.parametrize("values", [{}, KEDA], ids=["hpa", "keda"])


@AUTOSCALED
def test_an_autoscaler_finds_no_number_in_its_way(chart: Path, values: dict[str, Any]) -> None:
    asked = functools.partial(replicas, chart, values)
    assert asked({}) is None, "a first install"
    assert asked(live(1, RELEASE_WITHOUT)) is None, "just after it"
    assert asked(live(5, RELEASE_WITHOUT, AUTOSCALER)) is None
    assert asked(live(5, RELEASE_WITHOUT, SCALED)) is None
    assert asked(live(5)) is None, "with managedFields cleared"


@AUTOSCALED
def test_the_number_is_held_until_an_autoscaler_has_taken_it(chart: Path, values: dict[str, Any]) -> None:
    assert replicas(chart, values, live(4, RELEASE, declared="4")) == 4
    assert replicas(chart, values, live(4, RELEASE, SCALED, declared="4")) is None, "no pod is lost without it"


@AUTOSCALED
@pytest.mark.parametrize("managers", [[RELEASE_CLIENT_SIDE], [RELEASE_CLIENT_SIDE, SCALED]])
def test_a_release_applied_on_the_clients_side_is_told_to_change_that_first(
    chart: Path, values: dict[str, Any], managers: list[dict[str, Any]]
) -> None:
    done = upgrade(chart, values, live(4, *managers, declared="4"))
    assert done.returncode != 0
    assert (
        "\n  - turning autoscaling on would drop this release to one pod, "
        "because Helm applies it on the client's side: first upgrade it as it is with --server-side=true" in done.stderr
    )


def test_a_client_side_release_that_was_always_autoscaled_goes_on(chart: Path) -> None:
    assert replicas(chart, {}, live(4, {**RELEASE_WITHOUT, "operation": "Update"}, AUTOSCALER)) is None


def test_a_fixed_number_is_asked_for(chart: Path) -> None:
    assert replicas(chart, FIXED, {}) == 3
    assert replicas(chart, FIXED, live(3, RELEASE, declared="3")) == 3
    assert replicas(chart, FIXED, live(2, RELEASE, declared="2")) == 3
    assert replicas(chart, FIXED, live(5, RELEASE, declared="3")) == 3, "else there would be one pod"


@pytest.mark.parametrize("number", [5, 0])
def test_a_number_set_by_hand_is_kept(chart: Path, number: int) -> None:
    assert replicas(chart, FIXED, live(number, RELEASE_WITHOUT, SCALED, declared="3")) is None


def test_what_was_kept_is_said(chart: Path) -> None:
    def notes(deployment: dict[str, Any]) -> str:
        given = {"image": IMAGE, **FIXED, "global": {"live": deployment}}
        done = helm("install", "demo", chart, "--dry-run=client", "--values=-", stdin=json.dumps(given))
        assert done.returncode == 0, done.stderr
        return done.stdout.partition("\nNOTES:\n")[2]

    said = notes(live(5, RELEASE_WITHOUT, SCALED, declared="3"))
    assert "Somebody has set 5 pods by hand, and this was kept. For those of `replicas`:" in said
    assert "kubectl --namespace default scale deployment/demo-fastapi-service --replicas=3" in said
    assert "by hand" not in notes(live(3, RELEASE, declared="3"))
    assert "by hand" not in notes({})


def test_a_changed_number_is_asked_for_so_that_helm_reports_the_conflict(chart: Path) -> None:
    assert replicas(chart, {**FIXED, "replicas": 4}, live(5, RELEASE_WITHOUT, SCALED, declared="3")) == 4
    assert replicas(chart, FIXED, live(5, RELEASE_WITHOUT, AUTOSCALER)) == 3, "autoscaling was turned off"


def test_the_same_number_is_no_conflict(chart: Path) -> None:
    assert replicas(chart, FIXED, live(3, RELEASE_WITHOUT, SCALED, declared="3")) == 3


def test_on_the_clients_side_there_is_no_conflict_and_leaving_it_out_would_be_one_pod(chart: Path) -> None:
    assert replicas(chart, FIXED, live(5, RELEASE_CLIENT_SIDE, declared="3")) == 3
    without = {**RELEASE_WITHOUT, "operation": "Update"}
    assert replicas(chart, FIXED, live(5, without, SCALED, declared="3")) == 3


def test_another_program_than_helm_may_apply_the_release(chart: Path) -> None:
    assert replicas(chart, {}, live(4, {**RELEASE, "manager": "helm-controller"}, declared="4")) == 4


def test_the_deployment_remembers_the_number_that_was_asked_for() -> None:
    def annotations(values: dict[str, Any]) -> Any:
        return render(values).one("Deployment")["metadata"].get("annotations")

    assert annotations(FIXED) == {"fastapi-service/replicas": "3"}
    assert annotations({**FIXED, "deploymentAnnotations": {"a": "b"}}) == {"fastapi-service/replicas": "3", "a": "b"}
    assert annotations({}) is None
    assert annotations(KEDA) is None


def worker_replicas(chart: Path, values: dict[str, Any], deployment: dict[str, Any]) -> int | None:
    """What the Deployment of a worker asks for, beside an app that has none yet."""
    given = {
        "image": IMAGE,
        "workers": {"mail": {"args": ["work"], **values}},
        "global": {"live": {}, "worker": deployment},
    }
    done = helm("template", "demo", chart, "--is-upgrade", "--values=-", stdin=json.dumps(given))
    assert done.returncode == 0, done.stderr
    objects = [each for each in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if each]
    (spec,) = (
        each["spec"]
        for each in objects
        if each["kind"] == "Deployment" and each["metadata"]["labels"]["app.kubernetes.io/component"] == "mail"
    )
    found: int | None = spec.get("replicas")
    return found


def test_a_worker_s_number_belongs_to_whoever_set_it_last(chart: Path) -> None:
    asked = functools.partial(worker_replicas, chart)
    three = {"replicas": 3}
    assert asked(three, {}) == 3, "a first install"
    assert asked(three, live(7, RELEASE_WITHOUT, SCALED, declared="3")) is None, "scaled by hand"
    assert asked(three, live(7, RELEASE_WITHOUT, SCALED, declared="2")) == 3, "and changed since"
    keda = {"keda": {"maxReplicas": 9, "triggers": [{"type": "redis", "metadata": {}}]}}
    assert asked(keda, live(0, RELEASE_WITHOUT, AUTOSCALER)) is None
    assert asked(keda, live(3, RELEASE)) == 3, "turning it on takes no pod away"
    assert asked(keda, live(0, RELEASE)) == 0
    assert asked({"autoscaling": {"maxReplicas": 9}}, live(5, RELEASE_WITHOUT, AUTOSCALER)) is None
