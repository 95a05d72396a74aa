"""A test that fails takes a release back; one that could not run does not. Programs stand in for Helm and kubectl."""

import json
from pathlib import Path
from typing import Any

import pytest

from delivery.deploy.bake import Bake, Limits
from delivery.deploy.environment import Environment
from delivery.deploy.pipeline import Pipeline
from delivery.deploy.release import not_made
from delivery.deploy.summary import Summary
from delivery.deploy.values import Objectives
from toolkit.paths import ROOT
from toolkit.process import Failure
from toolkit.progress import Progress

QUOTA = 'pods "links-test-route" is forbidden: failed quota: all: must specify limits.cpu for: route'
# As Helm 4 writes it (pkg/action/hooks.go, pkg/kube/client.go).
REFUSED = (
    "Error: warning: Hook test fastapi-service/templates/tests/requests.yaml failed: server-side apply failed for "
    f"object links/links-test-route /v1, Kind=Pod: {QUOTA}"
)
FAILED = "Error: pod links-test-route failed"


def a_pod(name: str, phase: str, reason: str = "") -> dict[str, Any]:
    state = {"waiting": {"reason": reason}} if reason else {}
    container = {"name": "route", "restartCount": 0, "state": state}
    return {
        "kind": "Pod",
        "metadata": {"name": name, "uid": name, "labels": {}},
        "status": {"phase": phase, "containerStatuses": [container]},
    }


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    environment = Environment(
        name="test",
        namespace="links",
        release="links",
        url="https://links.example.com",
        values=[ROOT / "k8s" / "environments" / name for name in ("common.yaml", "staging.yaml")],
    )
    return Pipeline(environment, Summary("deploy", "test"), Progress())


def run(pipeline: Pipeline, folder: Path, said: str, before: list[Any], after: list[Any]) -> str:
    """`helm test` fails and says that, with these pods there before and after. Returns how kubectl was called."""
    for name, pods in (("before", before), ("after", after)):
        (folder / name).write_text(json.dumps({"kind": "List", "items": pods}))
    programs = {
        "helm": f"mv {folder}/after {folder}/before; cat >&2 <<'END'\n{said}\nEND\nexit 1",
        "kubectl": f'echo "$@" >>{folder}/calls\n'
        f'case "$*" in *" get "*) cat {folder}/before;; *" logs "*) echo no;; esac',
    }
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    limits = Limits(Objectives(0.001, 0.01, "0.5", 14.4, 10), 14.4, 10, 100)
    pipeline._test(Bake(None, "links", limits, 5, set()))
    return (folder / "calls").read_text()


@pytest.mark.parametrize(
    ("said", "before", "after", "why"),
    [
        (REFUSED, [], [], QUOTA),
        (REFUSED, [a_pod("old", "Failed")], [a_pod("old", "Failed"), a_pod("metrics", "Succeeded")], QUOTA),
        (
            "Error: context deadline exceeded",
            [],
            [a_pod("metrics", "Succeeded"), a_pod("route", "Pending", "ImagePullBackOff")],
            "the pod route cannot pull its image (ImagePullBackOff)",
        ),
        (
            "Error: context deadline exceeded",
            [],
            [a_pod("route", "Pending")],
            "the pod route did not begin to run in time",
        ),
    ],
    ids=["refused", "refused after others", "no image", "no place"],
)
def test_what_could_not_run_takes_nothing_back(
    pipeline: Pipeline, tmp_path: Path, said: str, before: list[Any], after: list[Any], why: str
) -> None:
    calls = run(pipeline, tmp_path, said, before, after)
    assert pipeline.summary.untested == why
    assert ("helm test", f"did not run: {why}") in pipeline.summary.rows()
    assert pipeline.summary.steps[-1].passed
    assert "delete pods,configmaps" in calls


@pytest.mark.parametrize(
    ("said", "after"),
    [
        (FAILED, [a_pod("route", "Failed")]),
        ("Error: context deadline exceeded", [a_pod("route", "Running")]),
        ("Error: Kubernetes cluster unreachable", []),
    ],
    ids=["failed", "hangs", "nobody knows"],
)
def test_a_test_that_fails_does(pipeline: Pipeline, tmp_path: Path, said: str, after: list[Any]) -> None:
    with pytest.raises(Failure) as raised:
        run(pipeline, tmp_path, said, [], after)
    assert said in str(raised.value)
    assert all(f"{each['metadata']['name']} says:\n  no" in str(raised.value) for each in after)
    assert not pipeline.summary.untested


def test_helm_s_own_words_of_what_it_could_not_make() -> None:
    assert not_made(REFUSED) == QUOTA
    assert not_made(FAILED) == ""
