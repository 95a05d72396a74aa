"""The pods of a release while one version gives way to another: how far it is, and whether it can still succeed."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

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


@dataclass(frozen=True)
class State:
    """The Deployment and its pods at one moment."""

    deployment: str = ""
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

    @property
    def new(self) -> list[Pod]:
        """The pods of the version that is wanted, without those that leave."""
        return [each for each in self.pods if each.template == self.template and not each.leaving]

    @property
    def old(self) -> list[Pod]:
        return [each for each in self.pods if each.template != self.template and not each.leaving]

    @property
    def whole(self) -> bool:
        """Whether only the wanted version serves, with as many pods as wanted."""
        return self.observed and 0 < self.wanted == self.updated == self.available and not self.old

    def spelled(self) -> str:
        return f"{sum(each.ready for each in self.new)} of {self.wanted} new pods ready, {len(self.old)} old ones left"


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
    )


def _hopeless(container: Object) -> str:
    waiting = container["state"].get("waiting", {})
    if waiting.get("reason") not in HOPELESS:
        return ""
    message = waiting.get("message", "")
    return f"{HOPELESS[waiting['reason']]} ({waiting['reason']}{f': {message}' if message else ''})"


def state(items: list[Object]) -> State:
    """Of a Deployment, its ReplicaSets and its pods. Raises Failure unless there is exactly one Deployment."""
    deployments = [each for each in items if each["kind"] == "Deployment"]
    if len(deployments) != 1:
        raise Failure(f"The release has {len(deployments)} Deployments with the component `app`, and one is watched.")
    (deployment,) = deployments
    status = deployment.get("status", {})
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
    return State(
        deployment=deployment["metadata"]["name"],
        image=next((each["image"] for each in containers if each["name"] == "app"), containers[0]["image"]),
        template=template,
        wanted=deployment["spec"].get("replicas", 1),
        updated=status.get("updatedReplicas", 0),
        available=status.get("availableReplicas", 0),
        observed=status.get("observedGeneration", 0) >= deployment["metadata"]["generation"] and bool(template),
        stuck=next((why for each in status.get("conditions", []) if (why := _stuck(each))), ""),
        pods=[pod(each) for each in items if each["kind"] == "Pod"],
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

    def selector(self, component: str) -> str:
        return f"--selector=app.kubernetes.io/instance={self.release},app.kubernetes.io/component={component}"

    def look(self) -> State:
        """Raises Failure where there is no Deployment."""
        return state(self.access.get("deployments,replicasets,pods", self.selector("app")))

    def pods(self, component: str) -> list[Pod]:
        """The pods of another component: of `migrations`, or of `test`."""
        return [pod(each) for each in self.access.get("pods", self.selector(component))]

    def wait(self, meanwhile: Callable[[State], None]) -> State:
        """Until only the wanted version serves. Raises Failure as soon as it will not, with the pods' last words."""
        deadline = time.monotonic() + self.timeout
        while True:
            now = self.look()
            if now.whole:
                return now
            meanwhile(now)
            # What a Deployment says of an older generation is not about this one.
            trouble = now.stuck if now.observed else ""
            for each in now.new if now.observed else []:
                if each.hopeless:
                    trouble = f"the pod {each.name} {each.hopeless}"
            if not trouble and time.monotonic() > deadline:
                trouble = f"after {self.timeout:.0f} s there are {now.spelled()}"
            if trouble:
                raise Failure(f"The rollout fails: {trouble}.\n{self.last_words(now.new)}".rstrip())
            time.sleep(POLL_SECONDS)

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
