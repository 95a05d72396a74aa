"""The real Helm, run on the chart."""

import copy
import functools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "fastapi-service"
SCENARIOS = sorted((CHART / "ci").glob("*-values.yaml"))
# Which files of values make an environment: deploy.yaml says so of each.
_FOLDER = ROOT / "k8s" / "environments"
_LISTED = yaml.safe_load((_FOLDER / "deploy.yaml").read_text(encoding="utf-8"))
_FILES = {_FOLDER / each["values"][-1]: [_FOLDER / name for name in each["values"]] for each in _LISTED.values()}
# The file of each that is its own.
ENVIRONMENTS = sorted(_FILES)

IMAGE = {"repository": "registry.example.com/team/app"}
DIGEST = "sha256:" + "0123456789abcdef" * 4

Object = dict[str, Any]


# What `app.kubernetes.io/component` says of all but workers, cron jobs and jobs, which are called as their values say.
COMPONENTS = ("app", "dashboard", "extra", "management", "migrations", "refused", "test")


class Objects(list[Object]):
    """What the chart makes of its values."""

    def all(self, kind: str) -> list[Object]:
        return [each for each in self if each["kind"] == kind]

    def one(self, kind: str, name: str = "") -> Object:
        """The only object of a kind that is of no worker, cron job or job; or the only one of this name."""
        found = [each for each in self.all(kind) if name in ("", each["metadata"]["name"])]
        if not name:
            found = [each for each in found if component(each) in COMPONENTS]
        assert len(found) == 1, f"{len(found)} objects are a {kind} {name}"
        return found[0]

    @property
    def container(self) -> Object:
        """The app's container."""
        (container,) = pod(self.one("Deployment"))["containers"]
        return copy.copy(container)


def component(each: Object) -> str:
    found: str = each["metadata"].get("labels", {}).get("app.kubernetes.io/component", "app")
    return found


def template_of(workload: Object) -> Object:
    """The template of the pods of a Deployment, Job or CronJob."""
    spec = workload["spec"]
    found: Object = spec["jobTemplate"]["spec"]["template"] if workload["kind"] == "CronJob" else spec["template"]
    return found


def pod(workload: Object) -> Object:
    """The pod specification of a Deployment, Job or CronJob."""
    spec: Object = template_of(workload)["spec"]
    return spec


def render(values: Object | None = None, *files: Path, release: str = "demo", options: tuple[str, ...] = ()) -> Objects:
    """`helm template` with an image and these values, on top of files of values."""
    rendered = template(values, *files, release=release, options=options)
    return Objects(each for each in yaml.load_all(rendered, Loader=yaml.CSafeLoader) if each)


def template(values: Object | None = None, *files: Path, release: str = "demo", options: tuple[str, ...] = ()) -> str:
    """The text of `helm template`."""
    done = _template(release, json.dumps(_with_image(values)), files, options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refusal(values: Object, *files: Path, release: str = "demo", options: tuple[str, ...] = ()) -> list[str]:
    """The lines with which values are refused, one a mistake."""
    done = _template(release, json.dumps(_with_image(values)), files, options)
    assert done.returncode != 0, "these values were not refused"
    return [line.strip().removeprefix("- ") for line in done.stderr.splitlines() if line.strip().startswith("- ")]


def with_shared(file: Path) -> list[Path]:
    """A file of values, after what an environment shares with others."""
    return _FILES.get(file, [file])


def helm(*arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run Helm. Without Go's garbage collector, which takes a third of its time, and memory that it has not."""
    environment = {**os.environ, "GOGC": "off"}
    return subprocess.run(
        [helm_program(), *arguments],
        input=stdin,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@functools.cache
def helm_program() -> str:
    """Where Helm is: HELM in the environment, else on the PATH."""
    named = os.environ.get("HELM", "helm")
    found = shutil.which(named)
    if found is None:
        pytest.fail(f"{named} is no program: install Helm 4, or set HELM to where it is", pytrace=False)
    return found


@functools.cache
def _template(
    release: str, values: str, files: tuple[Path, ...], options: tuple[str, ...]
) -> subprocess.CompletedProcess[str]:
    chosen = [f"--values={each}" for file in files for each in with_shared(file)]
    return helm("template", release, CHART, *chosen, "--values=-", *options, stdin=values)


def _with_image(values: Object | None) -> Object:
    values = values or {}
    return {**values, "image": {**IMAGE, **values.get("image", {})}}


def notes(**values: Any) -> str:
    """What Helm says after an install of the chart as `demo`, in the namespace prod."""
    given = {"image": {**IMAGE, "digest": DIGEST}, **values}
    options = ("--dry-run=client", "--namespace=prod", "--values=-")
    done = helm("install", "demo", CHART, *options, stdin=json.dumps(given))
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("\nNOTES:\n")[2]
