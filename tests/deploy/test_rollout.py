"""What is read from objects as the API server gives them."""

from typing import Any

import pytest

from delivery.deploy.rollout import State, pod, state
from toolkit.process import Failure

Object = dict[str, Any]


def a_pod(name: str, template: Any = "new", **status: Any) -> Object:
    ready = status.pop("ready", True)
    leaving = {"deletionTimestamp": "2026-01-01T00:00:00Z"} if status.pop("leaving", False) else {}
    container = {"name": "app", "restartCount": 0, "state": {"running": {}}, **status.pop("container", {})}
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {
        "kind": "Pod",
        "metadata": {"name": name, "uid": name, "labels": {"pod-template-hash": template}, **leaving},
        "status": {"conditions": conditions, "containerStatuses": [container], **status},
    }


def a_replica_set(template: str, revision: int, owner: str = "d") -> Object:
    return {
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"links-{template}",
            "labels": {"pod-template-hash": template},
            "annotations": {"deployment.kubernetes.io/revision": str(revision)},
            "ownerReferences": [{"uid": owner}],
        },
    }


def a_deployment(**status: Any) -> Object:
    found = {"observedGeneration": 2, "updatedReplicas": 2, "availableReplicas": 2, **status}
    return {
        "kind": "Deployment",
        "metadata": {
            "name": "links",
            "uid": "d",
            "generation": 2,
            "annotations": {"deployment.kubernetes.io/revision": "2"},
        },
        "spec": {
            "replicas": 2,
            "template": {
                "spec": {"containers": [{"name": "proxy", "image": "p"}, {"name": "app", "image": "links@x"}]}
            },
        },
        "status": found,
    }


SETS = [a_replica_set("old", 1), a_replica_set("other", 2, owner="another"), a_replica_set("new", 2)]


def test_whole() -> None:
    found = state([a_deployment(), *SETS, a_pod("a"), a_pod("b"), a_pod("o", "old", leaving=True)])
    assert found.whole
    assert (found.deployment, found.image, found.template, found.wanted) == ("links", "links@x", "new", 2)
    assert [each.name for each in found.new] == ["a", "b"]


@pytest.mark.parametrize(
    "objects",
    [
        [a_deployment(observedGeneration=1), *SETS],
        [a_deployment(updatedReplicas=1), *SETS],
        [a_deployment(availableReplicas=1), *SETS],
        [a_deployment(), *SETS, a_pod("o", "old")],
        [a_deployment(), *SETS[:2]],  # its ReplicaSet is not there yet
    ],
)
def test_not_whole(objects: list[Object]) -> None:
    assert not state([*objects, a_pod("a"), a_pod("b")]).whole


def test_none_wanted_is_not_served() -> None:
    deployment = a_deployment(updatedReplicas=0, availableReplicas=0)
    deployment["spec"]["replicas"] = 0
    assert not state([deployment, *SETS]).whole


@pytest.mark.parametrize("count", [0, 2])
def test_one_deployment_is_watched(count: int) -> None:
    with pytest.raises(Failure, match=f"The release has {count} Deployments with the component `app`"):
        state([a_deployment()] * count)


@pytest.mark.parametrize(
    ("waiting", "why"),
    [
        ({"reason": "ContainerCreating"}, ""),
        ({"reason": "ErrImagePull", "message": "timeout"}, ""),
        (
            {"reason": "CrashLoopBackOff", "message": "back-off 10s"},
            "crashes again and again (CrashLoopBackOff: back-off",
        ),
        ({"reason": "ImagePullBackOff"}, "cannot pull its image (ImagePullBackOff)"),
        (
            {"reason": "CreateContainerConfigError", "message": 'secret "x" not found'},
            "cannot be configured (CreateCont",
        ),
    ],
)
@pytest.mark.parametrize("where", ["containerStatuses", "initContainerStatuses"])
def test_what_is_hopeless(waiting: dict[str, str], why: str, where: str) -> None:
    statuses = {where: [{"name": "x", "restartCount": 1, "state": {"waiting": waiting}}]}
    assert pod(a_pod("a", **statuses)).hopeless.startswith(why) if why else pod(a_pod("a", **statuses)).hopeless == ""


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        ({"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "late"}, "late"),
        ({"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}, ""),
        ({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "forbidden"}, "forbidden"),
    ],
)
def test_what_the_deployment_says_of_itself(condition: Object, why: str) -> None:
    assert state([a_deployment(conditions=[condition]), *SETS]).stuck == why


def test_how_far_it_is() -> None:
    pods = [a_pod("a"), a_pod("b", ready=False), a_pod("o", "old"), a_pod("q", "old", leaving=True)]
    assert state([a_deployment(), *SETS, *pods]).spelled() == "1 of 2 new pods ready, 1 old ones left"


def test_nothing_there() -> None:
    assert not State().whole
    assert State().new == []
