"""What is looked at before anything is changed. Whatever is wrong is said at once, all of it where that is possible."""

import re
import shutil
import subprocess
from pathlib import Path

from delivery.deploy import values
from delivery.deploy.access import Access
from delivery.deploy.environment import Environment
from delivery.deploy.values import Values
from toolkit.paths import CHART, shown
from toolkit.process import Failure, output


def programs() -> None:
    """Raises Failure where kubectl is missing, or Helm in a version that knows how to wait for hooks alone."""
    if missing := [name for name in ("kubectl", "helm") if shutil.which(name) is None]:
        raise Failure(f"{' and '.join(missing)} cannot be found: `make tools` provides what is missing.")
    version = output(["helm", "version", "--template={{.Version}}"]).strip()
    if not version.startswith("v4."):
        raise Failure(f"Helm is {version}, and version 4 is needed: `make tools` provides it, `make doctor` says more.")


def chart(environment: Environment, files: list[Path]) -> None:
    """The values, by the chart's own schema and sentences. Raises Failure with one line a mistake."""
    options = [f"--values={file}" for file in files]
    argv = ["helm", "lint", "--strict", str(CHART), *options, "--namespace", environment.namespace]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    said = done.stdout + done.stderr
    mistakes = re.findall(r"(?:^|\] )(?:values\.yaml: )?\s*- (.+)$", said, flags=re.MULTILINE)
    mistakes = mistakes or re.findall(r"^\[(?:ERROR|WARNING)\] (.+)$", said, flags=re.MULTILINE) or [said.strip()]
    lines = "\n".join(f"  - {each}" for each in dict.fromkeys(mistakes))
    names = ", ".join(shown(file) for file in environment.values)
    raise Failure(f"The values of {environment.name} ({names}) are refused by the chart:\n{lines}")


def rights(access: Access, environment: Environment, *, changing: bool, cron_jobs: bool = False) -> None:
    """Raises Failure naming what this account may not do. The objects themselves are tried by the diff.

    `cron_jobs` says whether the release has some, which are looked at.
    """
    namespace = environment.namespace
    wanted = [
        ("list", "", "secrets", namespace),  # Helm's own store
        ("list", "", "pods", namespace),
        ("list", "apps", "deployments", namespace),
        ("list", "apps", "replicasets", namespace),
        ("list", "coordination.k8s.io", "leases", namespace),
    ]
    if changing:
        wanted += [
            ("create", "", "secrets", namespace),
            ("update", "", "secrets", namespace),
            ("delete", "", "secrets", namespace),
            ("get", "", "pods/log", namespace),
            ("patch", "apps", "deployments", namespace),
            ("create", "batch", "jobs", namespace),
            ("delete", "batch", "jobs", namespace),
            ("create", "", "pods", namespace),
            ("create", "coordination.k8s.io", "leases", namespace),
            ("update", "coordination.k8s.io", "leases", namespace),
        ]
        wanted += [("list", "batch", "cronjobs", namespace)] if cron_jobs else []
        if environment.canary:
            wanted += [
                ("create", "apps", "deployments", namespace),
                ("create", "", "services", namespace),
                ("patch", "gateway.networking.k8s.io", "httproutes", namespace),
            ]
    if missing := access.refused(wanted):
        raise Failure(
            f"The cluster's account may not {', '.join(missing)}: give it these rights, as "
            "k8s/environments/access/deployer.yaml does."
        )


def canary(environment: Environment, merged: Values) -> None:
    """Raises Failure where the environment asks for a canary and the values have no route that could weigh it."""
    if environment.canary and not merged["httpRoute"]["enabled"]:
        raise Failure(
            f"The environment {environment.name} has a `canary`, which needs the weights of an HTTPRoute, and its "
            "values have none: set httpRoute.enabled and name a Gateway, or leave `canary` out."
        )


def drains(environment: Environment, merged: Values) -> None:
    """Raises Failure where the old pods of a worker may take longer to end than a rollout may take."""
    for name, worker in values.enabled(merged, "workers").items():
        seconds = worker.get("drainSeconds", merged["drain"]["timeoutSeconds"])
        if worker.get("strategy") == "Recreate" and seconds >= environment.timeout:
            raise Failure(
                f"The new pods of the worker {name} wait up to {seconds} s for the old ones (workers.{name}.strategy "
                f"is Recreate), and the rollout has {environment.timeout} s: set `timeout` of the environment "
                f"{environment.name} higher than that, or workers.{name}.drainSeconds lower."
            )


def secrets(access: Access, environment: Environment, merged: Values) -> None:
    """Raises Failure naming the Secrets that the values speak of and that are not there."""
    wanted = values.secrets(merged)
    there = {each["metadata"]["name"] for each in access.get("secrets")} if wanted else set()
    if missing := [each for each in wanted if each not in there]:
        raise Failure(
            f"There is no Secret {', no Secret '.join(missing)} in the namespace {environment.namespace}, and the "
            f"values of {environment.name} name it: make it first (`kubectl --namespace {environment.namespace} create "
            "secret generic NAME --from-file=KEY=FILE`), or have External Secrets make it (externalSecret.enabled)."
        )
