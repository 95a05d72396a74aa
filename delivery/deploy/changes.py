"""What a deploy would change in the live cluster, and what somebody has changed there by hand."""

import json
import re
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import yaml

from delivery.deploy.access import Access, Object
from delivery.deploy.release import LiveRelease, Rendered
from toolkit.process import CommandFailed

KEEP = "helm.sh/resource-policy"
# kubectl names the files it compares by group, version, kind, namespace and name.
FILE = re.compile(r"^diff .*/(?:LIVE|MERGED)-\d+/(\S+)$")
GENERATION = re.compile(r"^[-+]  generation: \d+$")
NOISE = re.compile(r"^(diff|---|\+\+\+) ")


@dataclass(frozen=True)
class Changes:
    """By object, as `Kind name`."""

    made: list[str] = field(default_factory=list)
    changed: dict[str, list[str]] = field(default_factory=dict)
    """The lines of a unified diff, from what is live to what would be."""
    removed: list[str] = field(default_factory=list)
    drifted: list[str] = field(default_factory=list)
    """Objects that are not as the present revision has them; those that become so again are under `changed`, too."""
    runs: list[str] = field(default_factory=list)
    """Jobs that run before the rest is applied."""
    runs_last: list[str] = field(default_factory=list)
    """Jobs that run when it serves."""
    cron_jobs: dict[str, list[str]] = field(default_factory=dict)
    """The images that each is to run, by its name."""

    def __bool__(self) -> bool:
        return bool(self.made or self.changed or self.removed)

    def spelled(self) -> str:
        """In a few words."""
        counts = {"made": len(self.made), "changed": len(self.changed), "removed": len(self.removed)}
        return ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "nothing would change"

    def lines(self) -> list[str]:
        """For people."""
        lines = [f"runs first: {each}" for each in self.runs]
        lines += [f"runs last: {each}" for each in self.runs_last]
        lines += [f"+ {each}" for each in self.made]
        lines += [f"- {each}" for each in self.removed]
        for name, diff in self.changed.items():
            by_hand = "   (changed by hand since the last release)" if name in self.drifted else ""
            lines += [f"~ {name}{by_hand}", *(f"    {line}" for line in diff)]
        return lines if self else [*lines, "Nothing would change."]


def identity(each: Object) -> tuple[str, str, str]:
    """What makes an object the same one: group, kind and name."""
    group = each["apiVersion"].rpartition("/")[0]
    return group, each["kind"], each["metadata"]["name"]


def name(each: Object) -> str:
    return f"{each['kind']} {each['metadata']['name']}"


def images(found: Iterable[Object]) -> dict[str, list[str]]:
    """The images of each CronJob among these objects, by its name."""
    pods = {
        each["metadata"]["name"]: each["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        for each in found
        if each["kind"] == "CronJob"
    }
    return {name: [container["image"] for container in spec["containers"]] for name, spec in pods.items()}


def objects(manifest: str) -> list[Object]:
    return [each for each in yaml.load_all(manifest, Loader=yaml.CSafeLoader) if each]


def as_applied(each: Object, release: str, namespace: str) -> Object:
    """With what Helm adds to every object of a release."""
    metadata = dict(each["metadata"])
    marks = {"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": namespace}
    metadata["annotations"] = {**(metadata.get("annotations") or {}), **marks}
    metadata["labels"] = {**(metadata.get("labels") or {}), "app.kubernetes.io/managed-by": "Helm"}
    return {**each, "metadata": metadata}


def removed(before: Iterable[Object], after: Iterable[Object]) -> list[str]:
    """What Helm removes: it leaves what is to be kept."""
    there = {identity(each) for each in after}
    gone = [each for each in before if identity(each) not in there]
    return [name(each) for each in gone if (each["metadata"].get("annotations") or {}).get(KEEP) != "keep"]


def parse(text: str) -> dict[str, list[str]]:
    """The diff of each object, from what `kubectl diff` prints."""
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in text.splitlines():
        if file := FILE.match(line):
            current = found.setdefault(spelled(file[1]), [])
        elif not NOISE.match(line) and not GENERATION.match(line):
            current.append(line)
    # Only the generation would be another where a change is no change.
    return {what: lines for what, lines in found.items() if any(line[:1] in "+-" for line in lines)}


def spelled(file: str) -> str:
    """`Kind name` of a file's name such as apps.v1.Deployment.links.web: names of objects may have dots."""
    parts = file.split(".")
    kind = next(number for number, part in enumerate(parts) if part[:1].isupper())
    return f"{parts[kind]} {'.'.join(parts[kind + 2 :])}"


def find(access: Access, release: LiveRelease, rendered: Rendered) -> Changes:
    """Raises CommandFailed with what the API server says against the objects."""
    runs, runs_last = jobs(rendered.hooks)
    wanted = objects(rendered.manifest)
    cron_jobs = images(each for each in wanted if "namespace" not in each["metadata"])
    before = objects(release.manifest())
    if not before:
        made = [name(each) for each in wanted]
        return Changes(made=made, runs=runs, runs_last=runs_last, cron_jobs=cron_jobs)
    known = {identity(each) for each in before}
    with ThreadPoolExecutor() as pool:
        drifting = pool.submit(diff, access, release.name, before)
        changed = diff(access, release.name, wanted)
        drifted = list(drifting.result())
    made = [name(each) for each in wanted if identity(each) not in known and name(each) in changed]
    return Changes(
        made=made,
        changed={what: lines for what, lines in changed.items() if what not in made},
        removed=removed(before, wanted),
        drifted=drifted,
        runs=runs,
        runs_last=runs_last,
        cron_jobs=cron_jobs,
    )


def jobs(hooks: Iterable[str]) -> tuple[list[str], list[str]]:
    """The Jobs among a release's hooks: those that run before its objects are applied, and those that run after."""
    first: list[str] = []
    last: list[str] = []
    for each in (found for hook in hooks for found in objects(hook) if found["kind"] == "Job"):
        (last if "post-" in each["metadata"]["annotations"]["helm.sh/hook"] else first).append(name(each))
    return first, last


def diff(access: Access, release: str, wanted: list[Object]) -> dict[str, list[str]]:
    """What applying these objects would change. The API server does as if, so it checks them, too."""
    items = [as_applied(each, release, access.namespace) for each in wanted]
    options = ["--server-side", "--force-conflicts", "--field-manager=helm", "--filename=-"]
    argv = [*access.kubectl, "diff", *options]
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    done = subprocess.run(argv, input=listed, capture_output=True, text=True, check=False)
    if done.returncode > 1 or (done.returncode and not done.stdout):
        raise CommandFailed(argv, done.returncode, done.stderr, None)
    return parse(done.stdout)
