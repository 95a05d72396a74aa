"""What is read from objects as the API server gives them."""

from typing import Any

import pytest

from delivery.deploy.rollout import State, pod, state
from toolkit.process import Failure

Object = dict[str, Any]


def labels(component: str, name: str = "links") -> dict[str, str]:
    return {"app.kubernetes.io/name": name, "app.kubernetes.io/component": component}


def a_pod(name: str, template: Any = "new", component: Any = "app", **status: Any) -> Object:
    ready = status.pop("ready", True)
    leaving = {"deletionTimestamp": "2026-01-01T00:00:00Z"} if status.pop("leaving", False) else {}
    container = {"name": "app", "restartCount": 0, "state": {"running": {}}, **status.pop("container", {})}
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}, *status.pop("conditions", [])]
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "uid": name,
            "labels": {"pod-template-hash": template, **labels(component)},
            **leaving,
        },
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


def a_deployment(component: str = "app", uid: str = "d", chart: str = "links", **status: Any) -> Object:
    found = {"observedGeneration": 2, "updatedReplicas": 2, "availableReplicas": 2, **status}
    return {
        "kind": "Deployment",
        "metadata": {
            "name": "links" if component == "app" else f"links-{component}",
            "uid": uid,
            "labels": labels(component, chart),
            "generation": 2,
            "annotations": {"deployment.kubernetes.io/revision": "2"},
        },
        "spec": {
            "replicas": 2,
            "template": {
                "spec": {"containers": [{"name": "proxy", "image": "p"}, {"name": component, "image": "links@x"}]}
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


class TestWorkers:
    """Deployments of the same chart beside the API's."""

    SETS = (*SETS, a_replica_set("mail-new", 2, owner="m"), a_replica_set("mail-old", 1, owner="m"))

    def mail(self, *pods: Object, **status: Any) -> State:
        worker = a_deployment("mail", "m", **status)
        return state([worker, a_deployment(), *self.SETS, a_pod("a"), a_pod("b"), *pods])

    def test_each_has_its_own_pods(self) -> None:
        found = self.mail(a_pod("m1", "mail-new", "mail"), a_pod("m2", "mail-new", "mail"))
        assert found.whole
        assert [each.name for each in found.pods] == ["a", "b"]
        (worker,) = found.workers
        assert (worker.deployment, worker.component, worker.image) == ("links-mail", "mail", "links@x")
        assert [each.name for each in worker.new] == ["m1", "m2"]

    def test_none_is_whole_before_all_are(self) -> None:
        found = self.mail(a_pod("m1", "mail-new", "mail"), a_pod("m0", "mail-old", "mail"), updatedReplicas=1)
        assert found.complete
        assert not found.whole
        assert found.spelled() == "2 of 2 new pods ready, 0 old ones left"
        assert found.workers[0].spelled() == "worker mail: 1 of 2 new pods ready, 1 old ones left"

    def test_one_may_want_no_pods(self) -> None:
        worker = a_deployment("mail", "m", updatedReplicas=0, availableReplicas=0)
        worker["spec"]["replicas"] = 0
        assert state([worker, a_deployment(), *self.SETS, a_pod("a")]).whole

    @pytest.mark.parametrize(("component", "chart"), [("extra", "links"), ("cache", "another"), ("", "links")])
    def test_what_is_no_worker(self, component: str, chart: str) -> None:
        other = a_deployment(component, "m", chart, updatedReplicas=0)
        assert state([other, a_deployment(), *self.SETS, a_pod("a")]).workers == []

    def test_a_canary_is_none(self) -> None:
        canary = a_deployment("canary", "m", updatedReplicas=1)
        found = state([canary, a_deployment(), *self.SETS, a_pod("a"), a_pod("b"), a_pod("c", "mail-new", "canary")])
        assert (found.whole, found.workers) == (True, [])
        assert found.canary
        assert found.canary.spelled() == "canary: 1 of 2 new pods ready, 0 old ones left"

    def test_what_is_wrong_with_one(self) -> None:
        waiting = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 3}
        found = self.mail(a_pod("m1", "mail-new", "mail", ready=False, container=waiting), updatedReplicas=1)
        assert found.trouble == ""
        assert found.workers[0].trouble == "the pod m1 crashes again and again (CrashLoopBackOff)"
        before = self.mail(a_pod("m1", "mail-new", "mail", container=waiting), observedGeneration=1)
        assert before.workers[0].trouble == ""


def test_no_node_for_a_pod() -> None:
    """A new node may come, so it ends nothing before its time."""
    reason = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes: no memory"}
    pods = [a_pod("a"), a_pod("b", ready=False, conditions=[reason])]
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "too late"}
    waiting = state([a_deployment(availableReplicas=1), *SETS, *pods])
    assert waiting.trouble == ""
    said = "; no node takes the pod b (0/3 nodes: no memory)"
    assert waiting.late(90) == f"after 90 s there are 1 of 2 new pods ready, 0 old ones left{said}"
    assert state([a_deployment(conditions=[late]), *SETS, *pods]).trouble == f"too late{said}"


def test_nothing_there() -> None:
    assert not State().whole
    assert State().new == []
