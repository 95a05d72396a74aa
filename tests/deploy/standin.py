"""Helm and kubectl as programs, with a cluster that is a file: what a deploy does to a real one is for `make e2e`.

Installed by `install`, they keep Helm's revisions and the lock in state.json, and show the pods that the values of the
last revision ask for, at once. `Script` says what goes wrong.
"""

import fcntl
import hashlib
import json
import os
import re
import signal
import stat
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Object = dict[str, Any]
REPLICAS = 3
# As Helm 4 writes them (pkg/action/upgrade.go).
HOOK = "Error: UPGRADE FAILED: {when}-upgrade hooks failed: resource Job/links/links-{name} not ready. status: Failed"


@dataclass
class Script:
    """What goes wrong. Images are known by their digests."""

    crashing: list[str] = field(default_factory=list)
    """Images whose pods crash again and again."""
    crashing_workers: list[str] = field(default_factory=list)
    """The same of their workers alone."""
    failing: list[str] = field(default_factory=list)
    """Images that answer every second request with an error."""
    unjudged: list[str] = field(default_factory=list)
    """Images whose metrics do not tell by a status which requests failed."""
    job: str = ""
    """A job that fails."""
    signal: tuple[str, int] | None = None
    """Sent to the deploy when Helm makes a revision whose description has this text."""
    mutated: bool = False
    """Whether somebody changes the images of cron jobs."""


@dataclass(frozen=True)
class Cluster:
    """What a test knows of it, and may change."""

    folder: Path

    @property
    def state(self) -> Object:
        found: Object = json.loads((self.folder / "state.json").read_text())
        return found

    @property
    def revisions(self) -> list[Object]:
        found: list[Object] = self.state["revisions"]
        return found

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()

    def release(self, values: Object, description: str) -> None:
        """One more revision, as somebody else's `helm upgrade` would make it."""
        state = self.state
        add(state, values, description)
        save(self.folder, state)

    def play(self, script: Script) -> None:
        state = {**self.state, "script": asdict(script)}
        save(self.folder, state)


def install(folder: Path) -> Cluster:
    """The two programs in a folder for the PATH."""
    save(folder, {"revisions": [], "lease": None, "version": 0, "asked": 0, "script": asdict(Script())})
    (folder / "calls").touch()
    for name in ("helm", "kubectl"):
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__)} {folder} {name} "$@"\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return Cluster(folder)


def save(folder: Path, state: Object) -> None:
    draft = folder / "state.tmp"
    draft.write_text(json.dumps(state))
    draft.replace(folder / "state.json")


def add(state: Object, values: Object, description: str, status: str = "deployed") -> None:
    number = len(state["revisions"]) + 1
    for each in state["revisions"]:
        each["status"] = "superseded" if each["status"] == "deployed" else each["status"]
    revision = {"revision": number, "updated": f"at {number}", "status": status, "description": description}
    state["revisions"].append({**revision, "values": values})


def merged(under: Object, over: Object) -> Object:
    both = {**under, **over}
    for key in under.keys() & over.keys():
        if isinstance(under[key], dict) and isinstance(over[key], dict):
            both[key] = merged(under[key], over[key])
    return both


def image_of(values: Object) -> str:
    return f"{values['image']['repository']}@{values['image']['digest']}"


def template_of(values: Object) -> str:
    """Of the pods, as the hash of their ReplicaSet."""
    text = json.dumps([image_of(values), values.get("config")], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def helm(state: Object, arguments: list[str]) -> tuple[str, int]:
    """What Helm prints, and its exit code."""
    verb = next(each for each in arguments if each in {"list", "history", "get", "upgrade", "rollback", "test", "lint"})
    options = dict(each.split("=", 1) for each in arguments if each.startswith("--") and "=" in each)
    last = state["revisions"][-1] if state["revisions"] else None
    match verb:
        case "list":
            return json.dumps([{"name": "links"}] if last else []), 0
        case "history":
            return json.dumps([{k: v for k, v in each.items() if k != "values"} for each in state["revisions"]]), 0
        case "get":
            return (json.dumps(last["values"]) if last and "values" in arguments else ""), 0
        case "rollback":
            back = state["revisions"][int(arguments[arguments.index("rollback") + 2]) - 1]
            add(state, back["values"], f"Rollback to {back['revision']}")
        case "upgrade" if "--dry-run=server" in arguments:
            return json.dumps({"manifest": manifest(given(arguments)), "hooks": []}), 0
        case "upgrade":
            return upgrade(state, arguments, options["--description"])
    return "", 0


def given(arguments: list[str]) -> Object:
    import yaml  # noqa: PLC0415  # most calls need none, and are faster for it

    values: Object = {}
    for each in arguments:
        if each.startswith("--values="):
            values = merged(values, yaml.safe_load(Path(each.partition("=")[2]).read_text()) or {})
    return values


def upgrade(state: Object, arguments: list[str], description: str) -> tuple[str, int]:
    script = state["script"]
    if "--reset-then-reuse-values" in arguments:
        setting = next(each for each in arguments if each.startswith("--set=")).removeprefix("--set=")
        path, _, value = setting.partition("=")
        room, _, name = path.partition(".")
        values = merged(state["revisions"][-1]["values"], {room: {name: int(value)}})
    else:
        values = given(arguments)
    job = (values.get("jobs") or {}).get(script["job"])
    if job is not None and "--no-hooks" not in arguments:
        add(state, values, description, "failed")
        when = "pre" if job.get("when") == "before" else "post"
        state["failed"] = script["job"]
        return HOOK.format(when=when, name=script["job"]), 1
    add(state, values, description)
    return "", 0


def manifest(values: Object) -> str:
    """The cron jobs alone: of them a deploy looks at the images. JSON is YAML, too."""
    return "\n---\n".join(json.dumps(cron_job(name, image_of(values))) for name in values.get("cronJobs") or {})


def cron_job(name: str, image: str) -> Object:
    template = {"spec": {"template": {"spec": {"containers": [{"name": name, "image": image}]}}}}
    metadata = {"name": f"links-{name}"}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata, "spec": {"jobTemplate": template}}


def kubectl(state: Object, arguments: list[str], stdin: str) -> str:
    """What kubectl prints."""
    text = " ".join(arguments)
    answers: dict[str, Callable[[], str]] = {
        "get --raw /version": lambda: json.dumps({"gitVersion": "v1.36.0"}),
        "get --raw": lambda: prometheus(state, text),
        "get leases.coordination.k8s.io": lambda: listed([state["lease"]] if state["lease"] else []),
        "get namespace": lambda: "namespace/links",
        "get secrets": lambda: listed([{"metadata": {"name": "links-secrets"}}]),
        "get deployments,replicasets,pods": lambda: listed(workloads(state)),
        "get cronjobs": lambda: listed(cron_jobs(state)),
        "get pods": lambda: listed([a_pod("links-1", "", state["failed"], "Failed")] if "failed" in state else []),
        "create": lambda: written(state, stdin),
        "replace": lambda: written(state, stdin),
        "logs": lambda: "no such table",
    }
    return next((answer() for verb, answer in answers.items() if f" {verb} " in f" {text} "), "")


def written(state: Object, text: str) -> str:
    if "SelfSubjectAccessReview" in text:
        return "\n".join(json.dumps({"status": {"allowed": True}}) for _ in text.split("\n---\n"))
    state["version"] += 1
    state["lease"] = json.loads(text)
    state["lease"]["metadata"]["resourceVersion"] = str(state["version"])
    return json.dumps(state["lease"])


def cron_jobs(state: Object) -> list[Object]:
    values = state["revisions"][-1]["values"]
    image = "another" if state["script"]["mutated"] else image_of(values)
    return [cron_job(name, image) for name in values.get("cronJobs") or {}]


def listed(items: list[Object]) -> str:
    return json.dumps({"kind": "List", "items": items})


def workloads(state: Object) -> list[Object]:
    """The Deployments that the last revision asks for, with a ReplicaSet and pods each."""
    if not state["revisions"]:
        return []
    script, values = state["script"], state["revisions"][-1]["values"]
    wanted = [("app", values, REPLICAS)]
    wanted += [(name, values, 1) for name in values.get("workers") or {}]
    canary = values.get("canary") or {}
    if canary.get("enabled"):
        wanted.append(("canary", {"image": canary["image"], "config": canary["config"]}, canary["replicas"]))
    found = []
    for component, own, replicas in wanted:
        digest = own["image"]["digest"]
        workers = component not in {"app", "canary"} and digest in script["crashing_workers"]
        found += a_deployment(state, component, own, replicas, crashing=workers or digest in script["crashing"])
    return found


def a_deployment(state: Object, component: str, values: Object, replicas: int, *, crashing: bool) -> list[Object]:
    template, uid = template_of(values), f"uid-{component}"
    labels = {"app.kubernetes.io/name": "links", "app.kubernetes.io/component": component}
    generation = len(state["revisions"])
    revision = {"deployment.kubernetes.io/revision": "1"}
    containers = [{"name": "app", "image": image_of(values)}]
    metadata = {"name": f"links-{component}", "uid": uid, "labels": labels, "generation": generation}
    ready = 0 if crashing else replicas
    deployment = {
        "kind": "Deployment",
        "metadata": {**metadata, "annotations": revision},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": containers}}},
        "status": {"observedGeneration": generation, "updatedReplicas": replicas, "availableReplicas": ready},
    }
    replica_set = {
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"links-{component}-{template}",
            "labels": {"pod-template-hash": template},
            "annotations": revision,
            "ownerReferences": [{"uid": uid}],
        },
    }
    names = [f"links-{component}-{template}-{number}" for number in range(replicas)]
    pods = [a_pod(name, template, component, "Running", crashing=crashing) for name in names]
    return [deployment, replica_set, *pods]


def a_pod(name: str, template: str, component: str, phase: str, *, crashing: bool = False) -> Object:
    labels = {"app.kubernetes.io/name": "links", "app.kubernetes.io/component": component}
    state: Object = {"waiting": {"reason": "CrashLoopBackOff"}} if crashing else {"running": {}}
    ready = "True" if phase == "Running" and not crashing else "False"
    return {
        "kind": "Pod",
        "metadata": {"name": name, "uid": name, "labels": {**labels, "pod-template-hash": template}},
        "status": {
            "phase": phase,
            "conditions": [{"type": "Ready", "status": ready}],
            "containerStatuses": [{"name": "app", "restartCount": 0, "state": state}],
        },
    }


def prometheus(state: Object, text: str) -> str:
    """Counters of the pods that are asked about, higher at each question."""
    state["asked"] += 1
    values = [each["values"] for each in state["revisions"]]
    bad = {template_of(each) for each in values if each["image"]["digest"] in state["script"]["failing"]}
    unjudged = {template_of(each) for each in values if each["image"]["digest"] in state["script"]["unjudged"]}
    canaries = [each["canary"] for each in values if (each.get("canary") or {}).get("enabled")]
    bad |= {template_of(each) for each in canaries if each["image"]["digest"] in state["script"]["failing"]}
    found = re.search(r"pod%3D~%22(.+?)%22", text)
    result = []
    for name in found[1].split("%7C") if found else []:
        wrong = any(template in name for template in bad)
        counts = {"200": 1000, "500": 1000 if wrong else 0, "fast": 1000, "counting": 1, "up": 1}
        if any(template in name for template in unjudged):
            counts = {"": 1000, "up": 1}  # a label that is empty is none
        result += [
            {"metric": {"pod": name, "status": status}, "value": [0, str(count * state["asked"])]}
            for status, count in counts.items()
        ]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}})


def main() -> int:
    folder, name, *arguments = sys.argv[1:]
    stdin = sys.stdin.read() if "--filename=-" in arguments else ""
    # The lock is renewed while something else runs.
    with (Path(folder) / "calls").open("a") as calls:
        fcntl.flock(calls, fcntl.LOCK_EX)
        calls.write(f"{name} {' '.join(arguments)}\n")
        before, state = Cluster(Path(folder)).state, Cluster(Path(folder)).state
        said, code = helm(state, arguments) if name == "helm" else (kubectl(state, arguments, stdin), 0)
        if state != before:
            save(Path(folder), state)
    if "--wait=watcher" in arguments and any("waiting" in str(each) for each in workloads(state)):
        signal.pause()  # until the deploy ends it
    made = state["revisions"][-1]["description"] if len(state["revisions"]) > len(before["revisions"]) else ""
    if state["script"]["signal"] and state["script"]["signal"][0] in made:
        os.kill(os.getppid(), state["script"]["signal"][1])
    print(said, file=sys.stderr if code else sys.stdout)
    return code


if __name__ == "__main__":
    sys.exit(main())
