"""The pods of a release while one version gives way to another: how far it is, and whether it can still succeed."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from delivery.deploy.access import Access, Object
from toolkit.process import CommandFailed, Failure, output

POLL_SECONDS = 1.5
LAST_LINES = 15
# What a container waits for in vain (https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/). The first
# failed pull, ErrImagePull, is none: the next may succeed.
HOPELESS = {
    "CrashLoopBackOff": "crashes again and again",
    "ImagePullBackOff": "cannot pull its image",
    "InvalidImageName": "has an image name that is none",
    "CreateContainerConfigError": "cannot be configured",
    "CreateContainerError": "cannot be created",
    "RunContainerError": "cannot be run",
}
REVISION = "deployment.kubernetes.io/revision"
HASH = "pod-template-hash"
NAME, COMPONENT = "app.kubernetes.io/name", "app.kubernetes.io/component"
APP, CANARY = "app", "canary"
EXTRA = "extra"  # the component of extraObjects, which are nobody's workers


@dataclass(frozen=True)
class Pod:
    name: str
    uid: str
    template: str
    """Its ReplicaSet's hash; empty for a Job's."""
    ready: bool
    leaving: bool
    restarts: int
    hopeless: str = ""
    """Why it will never be ready, if that is known."""
    phase: str = ""
    component: str = ""
    unscheduled: str = ""
    """Why no node takes it, while none does: a new node may come."""


@dataclass(frozen=True)
class State:
    """A Deployment and its pods at one moment; the API's also has those of the release's workers."""

    deployment: str = ""
    component: str = APP
    generation: int = 0
    image: str = ""
    template: str = ""
    """The hash of the pods that are wanted."""
    wanted: int = 0
    updated: int = 0
    available: int = 0
    observed: bool = False
    stuck: str = ""
    """Why the Deployment itself does not go on, if it says so."""
    pods: list[Pod] = field(default_factory=list)
    workers: list["State"] = field(default_factory=list)
    canary: "State | None" = None

    @property
    def all(self) -> list["State"]:
        """The API's and its workers', each by itself; a canary is judged apart."""
        return [self, *self.workers]

    @property
    def new(self) -> list[Pod]:
        """The pods of the version that is wanted, without those that leave."""
        return [each for each in self.pods if each.template == self.template and not each.leaving]

    @property
    def old(self) -> list[Pod]:
        return [each for each in self.pods if each.template != self.template and not each.leaving]

    @property
    def complete(self) -> bool:
        """Whether this Deployment has the wanted version alone, with as many pods as wanted. A worker may want none."""
        enough = self.wanted > 0 or self.component != APP
        return self.observed and enough and self.wanted == self.updated == self.available and not self.old

    @property
    def whole(self) -> bool:
        """Whether this one and all workers are complete."""
        return all(each.complete for each in self.all)

    @property
    def trouble(self) -> str:
        """Why it will never be complete, if that is known."""
        if not self.observed:
            return ""  # what was said of an older generation is not about this one
        hopeless = [f"the pod {each.name} {each.hopeless}" for each in self.new if each.hopeless]
        return hopeless[-1] if hopeless else self._with_reason(self.stuck)

    def late(self, seconds: float) -> str:
        """What to say of it when it is not complete after that time."""
        return self._with_reason(f"after {seconds:.0f} s there are {self.counts}")

    def _with_reason(self, said: str) -> str:
        waiting = next((each for each in self.new if each.unscheduled), None)
        return f"{said}; no node takes the pod {waiting.name} ({waiting.unscheduled})" if said and waiting else said

    @property
    def counts(self) -> str:
        return f"{sum(each.ready for each in self.new)} of {self.wanted} new pods ready, {len(self.old)} old ones left"

    def spelled(self) -> str:
        """How far it is, by the worker's name if it is one's."""
        return f"{self.named}: {self.counts}" if self.component != APP else self.counts

    @property
    def named(self) -> str:
        return self.component if self.component in (APP, CANARY) else f"worker {self.component}"


def pod(found: Object) -> Pod:
    status = found["status"]
    containers = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    return Pod(
        name=found["metadata"]["name"],
        uid=found["metadata"]["uid"],
        template=found["metadata"]["labels"].get(HASH, ""),
        ready=any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", [])),
        leaving="deletionTimestamp" in found["metadata"],
        restarts=sum(each["restartCount"] for each in containers),
        hopeless=next((why for each in containers if (why := _hopeless(each))), ""),
        phase=status.get("phase", ""),
        component=found["metadata"]["labels"].get(COMPONENT, ""),
        unscheduled=next((why for each in status.get("conditions", []) if (why := _unscheduled(each))), ""),
    )


def _unscheduled(condition: Object) -> str:
    refused = condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable"
    return str(condition.get("message", condition.get("reason"))) if refused else ""


def _hopeless(container: Object) -> str:
    waiting = container["state"].get("waiting", {})
    if waiting.get("reason") not in HOPELESS:
        return ""
    message = waiting.get("message", "")
    return f"{HOPELESS[waiting['reason']]} ({waiting['reason']}{f': {message}' if message else ''})"


def state(items: list[Object]) -> State:
    """Of the Deployments of a release, their ReplicaSets and pods. Raises Failure unless exactly one is the API's.

    Workers are the Deployments of the same chart: an umbrella's release may have others.
    """
    deployments = [each for each in items if each["kind"] == "Deployment"]
    found = [each for each in deployments if _label(each, COMPONENT) == APP]
    if len(found) != 1:
        raise Failure(f"The release has {len(found)} Deployments with the component `app`, and one is watched.")
    (app,) = found
    workers = [
        each
        for each in deployments
        if _label(each, NAME) == _label(app, NAME) and _label(each, COMPONENT) not in ("", APP, EXTRA)
    ]
    others = [_one(each, items) for each in sorted(workers, key=lambda each: _label(each, COMPONENT))]
    return replace(
        _one(app, items),
        workers=[each for each in others if each.component != CANARY],
        canary=next((each for each in others if each.component == CANARY), None),
    )


def _label(found: Object, name: str) -> str:
    return str(found["metadata"].get("labels", {}).get(name, ""))


def _one(deployment: Object, items: list[Object]) -> State:
    status = deployment.get("status", {})
    component = _label(deployment, COMPONENT)
    present = deployment["metadata"].get("annotations", {}).get(REVISION)
    template = next(
        (
            each["metadata"]["labels"][HASH]
            for each in items
            if each["kind"] == "ReplicaSet"
            and each["metadata"].get("annotations", {}).get(REVISION) == present
            and any(o["uid"] == deployment["metadata"]["uid"] for o in each["metadata"].get("ownerReferences", []))
        ),
        "",
    )
    containers = deployment["spec"]["template"]["spec"]["containers"]
    mine = [each for each in items if each["kind"] == "Pod" and _label(each, COMPONENT) == component]
    return State(
        deployment=deployment["metadata"]["name"],
        component=component,
        generation=deployment["metadata"]["generation"],
        image=next((c["image"] for c in containers if c["name"] in (component, APP)), containers[0]["image"]),
        template=template,
        wanted=deployment["spec"].get("replicas", 1),
        updated=status.get("updatedReplicas", 0),
        available=status.get("availableReplicas", 0),
        observed=status.get("observedGeneration", 0) >= deployment["metadata"]["generation"] and bool(template),
        stuck=next((why for each in status.get("conditions", []) if (why := _stuck(each))), ""),
        pods=[pod(each) for each in mine if _label(each, NAME) == _label(deployment, NAME)],
    )


def _stuck(condition: Object) -> str:
    late = condition["type"] == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded"
    refused = condition["type"] == "ReplicaFailure" and condition["status"] == "True"
    return str(condition.get("message", condition.get("reason", ""))) if late or refused else ""


@dataclass(frozen=True)
class Rollout:
    """Looks at one release's pods."""

    access: Access
    release: str
    timeout: float

    def selector(self, *components: str) -> str:
        """Of these components' objects; without any, of the release's."""
        ours = f"--selector=app.kubernetes.io/instance={self.release}"
        return f"{ours},{COMPONENT} in ({','.join(components)})" if components else ours

    def look(self) -> State:
        """One question, however many workers there are. Raises Failure where there is no Deployment."""
        return state(self.access.get("deployments,replicasets,pods", self.selector()))

    def find(self) -> State:
        """The same, with nothing in it where there is no Deployment."""
        try:
            return self.look()
        except CommandFailed:
            raise
        except Failure:
            return State()

    def pods(self, *components: str) -> list[Pod]:
        """The pods of other components: of `migrations`, of `test`, or of jobs by their names."""
        return [pod(each) for each in self.access.get("pods", self.selector(*components))]

    def canary(self) -> State:
        """Of the canary alone. Raises Failure where there is none."""
        found = self.look().canary
        if found is None:
            raise Failure("The canary is gone: somebody has removed its Deployment.")
        return found

    def wait(self, meanwhile: Callable[[State], None], look: Callable[[], State] | None = None) -> State:
        """Until only the wanted version serves and works; `look` looks at something else than all of it. Raises Failure
        as soon as it will not, with the pods' last words."""
        deadline = time.monotonic() + self.timeout
        while True:
            now = (look or self.look)()
            if now.whole:
                return now
            meanwhile(now)
            self.judge(now.all, late=time.monotonic() > deadline)
            time.sleep(POLL_SECONDS)

    def judge(self, states: list[State], *, late: bool = False) -> None:
        """Raise Failure where one of these will not be complete; `late` gives them no more time."""
        for each in states:
            trouble = each.trouble or (each.late(self.timeout) if late and not each.complete else "")
            if trouble:
                of = "" if each.component == APP else f" of the {each.named}"
                raise Failure(f"The rollout{of} fails: {trouble}.\n{self.last_words(each.new)}".rstrip())

    def last_words(self, pods: list[Pod]) -> str:
        """The last lines of each pod that is not ready, and of what crashed in it."""
        said = []
        for each in pods:
            if each.ready:
                continue
            logs = [*self.access.kubectl, "logs", each.name, "--all-containers", f"--tail={LAST_LINES}"]
            for command in ([*logs, "--previous"], logs) if each.restarts else (logs,):
                try:
                    lines = output(command).strip()
                except CommandFailed:
                    continue  # it never ran
                if lines:
                    said.append(f"{each.name} says:\n" + "\n".join(f"  {line}" for line in lines.splitlines()))
                    break
        return "\n".join(said)
