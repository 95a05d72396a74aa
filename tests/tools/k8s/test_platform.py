import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from k8s import components
from k8s.components import Component
from k8s.kind.cluster import Cluster
from k8s.platform.apply import Platform
from k8s.service import LocalRelease
from offline.image_build import Built
from toolkit import versions
from toolkit.paths import PLATFORM
from toolkit.process import CommandFailed
from toolkit.progress import Progress

PORTS = {"http": 8080, "https": 8443, "prometheus": 9090, "alertmanager": 9093}
COMPONENTS = components.load()
WORKLOADS = {(space, name) for each in COMPONENTS for space, names in each.workloads.items() for name in names}


@pytest.fixture
def platform(progress: Progress) -> Platform:
    return Platform(Cluster("test", PORTS, "node:1"), versions.load(), progress)


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
    assert folders == {each.name for each in COMPONENTS}
    assert {name for each in COMPONENTS for name in each.upstream} == set(versions.load().manifests)


def test_everything_that_is_waited_for_is_applied(rendered: dict[str, str]) -> None:
    made = objects(rendered)
    for namespace, workload in WORKLOADS:
        kind, name = workload.split("/")
        own = {  # the operator makes a StatefulSet of each of these
            "statefulset/prometheus-prometheus": ("prometheus", "prometheus"),
            "statefulset/alertmanager-alertmanager": ("alertmanager", "alertmanager"),
        }.get(workload, (kind, name))
        assert (namespace, *own) in made


def test_everything_that_runs_is_waited_for(rendered: dict[str, str]) -> None:
    kinds = {"deployment", "statefulset", "daemonset"}
    runs = {(namespace, f"{kind}/{name}") for namespace, kind, name in objects(rendered) if kind in kinds}
    assert runs <= WORKLOADS


def test_a_component_that_is_left_out_is_neither_applied_nor_waited_for(progress: Progress) -> None:
    cluster = Cluster("test", PORTS, "node:1")
    whole = Platform(cluster, versions.load(), progress)
    less = Platform(cluster, versions.load(), progress, without=["traces"])
    assert set(whole.components) - set(less.components) == {"traces"}
    assert set(whole.workloads) - set(less.workloads) == {("traces", "deployment/jaeger")}


def test_what_is_left_out_leaves_nothing_behind_that_needs_it(rendered: dict[str, str]) -> None:
    """Else `make up WITHOUT=...` would wait for something that cannot come."""
    for name in components.optional():
        own = {metadata[0] for metadata in objects({name: rendered[name]}) if metadata[0]}
        others = {metadata[0] for metadata in objects({n: t for n, t in rendered.items() if n != name})}
        assert not own & others


def test_prometheus_reads_kubelets_as_the_operator_writes_them(rendered: dict[str, str]) -> None:
    assert "--kubelet-endpointslice=true" in rendered["operator"]
    assert "--kubelet-endpoints=false" in rendered["operator"]
    assert "serviceDiscoveryRole: EndpointSlice" in rendered["monitoring"]


@pytest.mark.parametrize("component", [each for each in COMPONENTS if each.ports], ids=lambda each: each.name)
def test_what_is_published_is_what_the_manifests_publish(rendered: dict[str, str], component: Component) -> None:
    text = rendered[component.name]
    found = {int(port) for port in re.findall(r"nodePort: (\d+)", text)}
    assert found == {port.node for port in component.ports.values()}


def test_definitions_come_first(rendered: dict[str, str]) -> None:
    first = {each.name for each in COMPONENTS if each.definitions} | {"cert-manager"}
    for name, text in rendered.items():
        # cert-manager's one resource is applied later, when its webhook answers.
        assert ("kind: CustomResourceDefinition" in text) == (name in first), name


def test_no_secret_is_in_the_manifests(rendered: dict[str, str]) -> None:
    """Passwords are made when the platform is applied. Alertmanager's operator wants its routes in a Secret."""
    secrets = {found for found in objects(rendered) if found[1] == "secret"}
    assert secrets <= {("monitoring", "secret", "alertmanager-config")}
    routes = (PLATFORM / "monitoring" / "alertmanager-config.yaml").read_text()
    assert not re.search(r"(?im)^\W*\w*(password|token|key|credentials|secret)\w*:", routes)


def test_a_service_is_told_what_the_cluster_lacks(progress: Progress) -> None:
    """No traces to a collector that is not there: one place says so, to `make up` and to `make deploy`."""
    cluster = Cluster("test", PORTS, "node:1")
    for without, told in (([], {}), (["traces"], {"APP_OTLP_ENDPOINT": ""})):
        service = LocalRelease(cluster, Platform(cluster, versions.load(), progress, without=without), progress)
        assert service.config == {"APP_PUBLIC_URL": "https://links.localhost:8443", **told}
        command = service.upgrade_command(Built("shipshape.local/links", "sha256:0"))
        assert ("config.APP_OTLP_ENDPOINT=" in command) == bool(told)


def test_traefik_knows_the_port_that_clients_use(rendered: dict[str, str]) -> None:
    port = 18080 + list(components.ports()).index("https")  # of the fixture
    assert f'PUBLIC_HTTPS_PORT: "{port}"' in rendered["ingress"]


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
