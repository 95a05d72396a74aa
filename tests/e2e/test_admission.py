"""A real API server takes every scenario's objects, with the definitions of all custom resources installed."""

import json
from pathlib import Path

import pytest

from k8s import up
from tests.judges import scenarios, tools
from toolkit.process import Failure, output, run

pytestmark = pytest.mark.nightly
NAMESPACE = "dry-run"
# In the Gateway API's experimental channel alone; the cluster has the standard one.
EXPERIMENTAL = ["--set=httpRoute.retry.attempts=null"]


@pytest.fixture(scope="module")
def kubectl(stack: up.Stack) -> list[str]:
    """kubectl for a namespace in which Pods, and what makes them, must meet the Pod Security Standard "restricted"."""
    labels = "".join(f"\n    pod-security.kubernetes.io/{mode}: restricted" for mode in ("enforce", "warn"))
    manifest = f"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAMESPACE}\n  labels:{labels}\n"
    stack.cluster.apply(manifest, "e2e-admission")
    for file in tools.definitions():
        stack.cluster.apply(file.read_text(encoding="utf-8"), "e2e-admission")
    wait = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]
    run([*stack.cluster.kubectl, *wait], log="e2e-admission")
    return [str(word) for word in (*stack.cluster.kubectl, "--namespace", NAMESPACE)]


@pytest.mark.parametrize("name", scenarios.NAMES)
def test_scenario_is_admitted(kubectl: list[str], name: str, tmp_path: Path) -> None:
    (minor,) = (v for v in tools.versions() if v.startswith(kubernetes(kubectl)))
    text = scenarios.rendered(scenarios.FILES[name], minor, namespace=NAMESPACE, more=EXPERIMENTAL)
    assert text
    file = tmp_path / "manifests.yaml"
    scenarios.write(file, text, namespace=NAMESPACE)
    dry_run = ["apply", "--server-side", "--dry-run=server", "--validate=strict", f"--filename={file}"]
    said = output(["sh", "-c", 'exec "$@" 2>&1', "kubectl", *kubectl, *dry_run])
    assert "Warning" not in said
    assert said.count("serverside-applied") == len(scenarios.documents(file.read_text(encoding="utf-8")))


def test_what_is_wrong_is_not(kubectl: list[str]) -> None:
    """Else the others would prove nothing."""
    file = scenarios.BAD_FILES / "manifests.yaml"
    with pytest.raises(Failure):
        output([*kubectl, "apply", "--server-side", "--dry-run=server", "--validate=strict", f"--filename={file}"])


def kubernetes(kubectl: list[str]) -> str:
    """The server's minor version, such as v1.36."""
    version: str = json.loads(output([*kubectl, "version", "--output=json"]))["serverVersion"]["gitVersion"]
    return version.rpartition(".")[0]
