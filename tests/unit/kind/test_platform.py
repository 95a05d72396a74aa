import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from k8s.kind import lock
from k8s.kind.cluster import Cluster
from k8s.kind.paths import PLATFORM
from k8s.kind.process import CommandFailed
from k8s.kind.progress import Progress
from k8s.platform.apply import (
    COMPONENTS,
    DEFINITIONS,
    PULLED_COMPONENTS,
    PULLED_WORKLOADS,
    UPSTREAM,
    WORKLOADS,
    Platform,
)

PORTS = {"http": 8080, "https": 8443, "prometheus": 9090, "alertmanager": 9093}


@pytest.fixture
def platform(progress: Progress) -> Platform:
    return Platform(Cluster("test", PORTS, "node:1"), lock.load(), progress)


def objects(rendered: dict[str, str]) -> set[tuple[str, str, str]]:
    """(namespace, kind, name) of everything that is rendered, definitions aside."""
    found = set()
    for text in rendered.values():
        for document in re.split(r"^---$", text, flags=re.M):
            if "\nkind: CustomResourceDefinition\n" not in document:
                about = yaml.safe_load(document)
                metadata = about["metadata"]
                found.add((metadata.get("namespace", ""), about["kind"].lower(), metadata["name"]))
    return found


def test_every_folder_is_applied() -> None:
    folders = {p.name for p in PLATFORM.iterdir() if (p / "kustomization.yaml").exists()}
    assert folders == {*DEFINITIONS, *COMPONENTS, *PULLED_COMPONENTS}
    assert set(UPSTREAM) <= folders
    assert {m for names in UPSTREAM.values() for m in names} == set(lock.load().manifests)


def test_everything_that_is_waited_for_is_applied(rendered: dict[str, str]) -> None:
    made = objects(rendered)
    for namespace, workload in [*WORKLOADS, *PULLED_WORKLOADS]:
        kind, name = workload.split("/")
        own = {  # the operator makes a StatefulSet of each of these
            "statefulset/prometheus-prometheus": ("prometheus", "prometheus"),
            "statefulset/alertmanager-alertmanager": ("alertmanager", "alertmanager"),
        }.get(workload, (kind, name))
        assert (namespace, *own) in made


def test_everything_that_runs_is_waited_for(rendered: dict[str, str]) -> None:
    kinds = {"deployment", "statefulset", "daemonset"}
    runs = {(namespace, f"{kind}/{name}") for namespace, kind, name in objects(rendered) if kind in kinds}
    assert runs <= {*WORKLOADS, *PULLED_WORKLOADS}


def test_definitions_come_first(rendered: dict[str, str]) -> None:
    for name, text in rendered.items():
        # cert-manager's one resource is applied later, when its webhook answers.
        assert ("kind: CustomResourceDefinition" in text) == (name in {*DEFINITIONS, "cert-manager"}), name


def test_no_secret_is_in_the_manifests(rendered: dict[str, str]) -> None:
    """Passwords are made when the platform is applied."""
    assert not [name for name, text in rendered.items() if "\nkind: Secret\n" in text]


def test_traefik_knows_the_port_that_clients_use(rendered: dict[str, str]) -> None:
    assert 'PUBLIC_HTTPS_PORT: "18081"' in rendered["ingress"]


def test_upstream_files_are_staged_so_that_they_can_be_replaced(platform: Platform) -> None:
    """The module cache's are read-only; a second run must take the first one's away."""
    target = platform._stage("gateway-api")
    for path in [target, *target.rglob("*")]:
        assert path.stat().st_mode & 0o200, path
    (target / "left-over").touch()
    assert not (platform._stage("gateway-api") / "left-over").exists()


KUBECTL = """
case "$*" in
  *" get secret kept") exit 0 ;;
  *" get "*) exit 1 ;;
  *" -f -") cat >> "{stdin}" ;;
esac"""


@pytest.fixture
def given(stand_in: Callable[[str, str], None], tmp_path: Path) -> Path:
    """What kubectl reads from its standard input."""
    file = tmp_path / "stdin"
    stand_in("kubectl", KUBECTL.format(stdin=file))
    return file


def test_a_secret_is_made_unless_there_is_one(platform: Platform, given: Path) -> None:
    platform._secret("data", "kept", {"password": "new"})
    assert not given.exists()
    platform._secret("data", "fresh", {"password": "hunter2"})
    manifest = json.loads(given.read_text())
    assert (manifest["kind"], manifest["metadata"]["name"]) == ("Secret", "fresh")
    assert manifest["stringData"] == {"password": "hunter2"}


def test_a_secret_is_in_no_log_and_no_list_of_processes(
    platform: Platform, given: Path, calls: Callable[[], list[str]], logs: Path
) -> None:
    platform._secret("data", "fresh", {"password": "hunter2"})
    assert "hunter2" in given.read_text()
    assert "hunter2" not in "\n".join(calls())
    for log in logs.iterdir():
        assert "hunter2" not in log.read_text()


def test_a_manifest_that_is_refused_says_why(platform: Platform, stand_in: Callable[[str, str], None]) -> None:
    stand_in("kubectl", 'case "$*" in kustomize*) echo "kind: X" ;; *) echo "field is immutable"; exit 1 ;; esac')
    with pytest.raises(CommandFailed, match=r"(?s)field is immutable.*platform-test\.log"):
        platform._apply("data")


def test_a_value_of_a_secret_is_decoded(platform: Platform, stand_in: Callable[[str, str], None]) -> None:
    stand_in("kubectl", r"""case "$*" in *'jsonpath={.data.valkey\.conf}') printf aHVudGVyMg== ;; *) exit 1 ;; esac""")
    assert platform.secret("data", "valkey", "valkey.conf") == "hunter2"
