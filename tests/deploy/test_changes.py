import subprocess
from pathlib import Path
from typing import Any

import pytest

from delivery.deploy.changes import Changes, as_applied, images, jobs, parse, removed, spelled

LIVE = """
apiVersion: v1
kind: ConfigMap
metadata:
  generation: 1
  name: links
data:
  A: "1"
  B: "2"
"""


def differ(tmp_path: Path, file: str, live: str, merged: str) -> str:
    """As kubectl diff does: two folders, compared by diff."""
    for folder, text in (("LIVE-12", live), ("MERGED-34", merged)):
        (tmp_path / folder).mkdir(exist_ok=True)
        if text:
            (tmp_path / folder / file).write_text(text)
    argv = ["diff", "-u", "-N", str(tmp_path / "LIVE-12"), str(tmp_path / "MERGED-34")]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def test_the_diff_of_each_object(tmp_path: Path) -> None:
    differ(tmp_path, "v1.ConfigMap.links.links", LIVE, LIVE.replace('"2"', '"3"').replace("tion: 1", "tion: 2"))
    text = differ(tmp_path, "apps.v1.Deployment.links.web", "", "kind: Deployment\n")
    found = parse(text)
    assert list(found) == ["Deployment web", "ConfigMap links"]
    assert [line for line in found["ConfigMap links"] if line[0] in "+-"] == ['-  B: "2"', '+  B: "3"']
    assert "+kind: Deployment" in found["Deployment web"]


def test_a_generation_alone_is_no_change(tmp_path: Path) -> None:
    assert parse(differ(tmp_path, "v1.ConfigMap.links.links", LIVE, LIVE.replace("tion: 1", "tion: 2"))) == {}


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("v1.Service.links.links-management", "Service links-management"),
        ("monitoring.coreos.com.v1.ServiceMonitor.links.links", "ServiceMonitor links"),
        (
            "apiextensions.k8s.io.v1.CustomResourceDefinition..links.example.com",
            "CustomResourceDefinition links.example.com",
        ),
    ],
)
def test_names_of_objects(file: str, name: str) -> None:
    assert spelled(file) == name


def made(kind: str, name: str, **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, **metadata}}


def test_what_helm_removes() -> None:
    keep = {"annotations": {"helm.sh/resource-policy": "keep"}}
    before = [
        made("Deployment", "a"),
        made("Service", "a"),
        made("Secret", "a", **keep),
        made("Job", "a", annotations=None),
    ]
    assert removed(before, [made("Deployment", "a")]) == ["Service a", "Job a"]
    # Of another version it is the same object.
    assert removed([{**made("Job", "a"), "apiVersion": "apps/v1beta1"}], [made("Job", "a")]) == []


def test_what_helm_adds_is_no_change() -> None:
    before = made("Service", "a", annotations=None)
    found = as_applied(before, "links", "web")["metadata"]
    assert found["annotations"] == {"meta.helm.sh/release-name": "links", "meta.helm.sh/release-namespace": "web"}
    assert found["labels"] == {"app.kubernetes.io/managed-by": "Helm"}
    assert before["metadata"]["annotations"] is None


def test_for_people() -> None:
    found = Changes(
        made=["Service b"],
        changed={"ConfigMap a": ['-  B: "2"', '+  B: "3"'], "Service c": ["-x"]},
        removed=["Job d"],
        drifted=["Service c"],
        runs=["Job migrations"],
        runs_last=["Job warm-up"],
    )
    assert found
    assert found.spelled() == "1 made, 2 changed, 1 removed"
    assert found.lines() == [
        "runs first: Job migrations",
        "runs last: Job warm-up",
        "+ Service b",
        "- Job d",
        "~ ConfigMap a",
        '    -  B: "2"',
        '    +  B: "3"',
        "~ Service c   (changed by hand since the last release)",
        "    -x",
    ]


def test_nothing() -> None:
    assert not Changes(runs=["Job migrations"])
    assert Changes(runs=["Job migrations"]).lines() == ["runs first: Job migrations", "Nothing would change."]
    assert Changes().spelled() == "nothing would change"
    assert Changes().lines() == ["Nothing would change."]


def test_jobs_before_and_after() -> None:
    hooks = [
        f"kind: Job\nmetadata: {{name: {name}, annotations: {{helm.sh/hook: '{when}'}}}}"
        for name, when in {"migrations": "pre-install,pre-upgrade", "warm-up": "post-install,post-upgrade"}.items()
    ]
    account = "kind: ServiceAccount\nmetadata: {name: a, annotations: {helm.sh/hook: pre-install}}"
    assert jobs([account, *hooks]) == (["Job migrations"], ["Job warm-up"])


def test_what_cron_jobs_are_to_run() -> None:
    containers = [{"name": "clean-up", "image": "links@x"}]
    spec = {"jobTemplate": {"spec": {"template": {"spec": {"containers": containers}}}}}
    assert images([made("Deployment", "a"), {**made("CronJob", "b"), "spec": spec}]) == {"b": ["links@x"]}
