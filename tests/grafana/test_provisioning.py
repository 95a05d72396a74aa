"""What Grafana is started with: the same dashboards on the local cluster, and data sources that lead to one another."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana.dashboards import files
from k8s.kind import cluster
from k8s.kind.cluster import NODE_PORTS, Cluster
from k8s.platform.apply import Platform
from toolkit import versions
from toolkit.paths import ROOT
from toolkit.progress import Progress

PROVISIONING = ROOT / "grafana" / "provisioning"
SOURCES = {each["uid"]: each for each in yaml.safe_load((PROVISIONING / "datasources.yaml").read_text())["datasources"]}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Grafana's objects on the local cluster, by the start of their name."""
    with pytest.MonkeyPatch.context() as patch, Progress() as progress:
        patch.setattr(cluster, "BUILD", tmp_path_factory.mktemp("build"))
        ports = dict(zip(NODE_PORTS, range(18080, 18080 + len(NODE_PORTS)), strict=True))
        text = Platform(Cluster("rendered", ports, "node:1"), versions.load(), progress).render("grafana")
    objects = [each for each in yaml.safe_load_all(text) if each["kind"] in ("ConfigMap", "Deployment")]
    return {each["metadata"]["name"].rsplit("-", 1)[0]: each for each in objects}


def test_the_cluster_has_all_dashboards(rendered: dict[str, dict[str, Any]]) -> None:
    data = rendered["grafana-dashboards"]["data"]
    assert data == {file.name: file.read_text(encoding="utf-8") for file in files()}
    provider = yaml.safe_load(rendered["grafana-provider"]["data"]["dashboards.yaml"])
    pod = rendered["grafana"]["spec"]["template"]["spec"]
    mounts = {each["name"]: each["mountPath"] for each in pod["containers"][0]["volumeMounts"]}
    assert mounts["dashboards"] == provider["providers"][0]["options"]["path"]
    volumes = {each["name"]: each.get("configMap", {}).get("name", "") for each in pod["volumes"]}
    assert volumes["dashboards"] == rendered["grafana-dashboards"]["metadata"]["name"]
    assert volumes["provider"] == rendered["grafana-provider"]["metadata"]["name"]
    assert volumes["datasources"] == rendered["grafana-datasources"]["metadata"]["name"]


def test_data_sources_lead_to_one_another() -> None:
    prometheus, logs, traces = (SOURCES[uid]["jsonData"] for uid in ("prometheus", "logs", "traces"))
    assert [(each["name"], each["datasourceUid"]) for each in prometheus["exemplarTraceIdDestinations"]] == [
        ("trace_id", "traces")
    ]
    assert {each["datasourceUid"] for each in logs["derivedFields"]} == {"traces"}
    assert traces["tracesToLogsV2"]["datasourceUid"] == "logs"
    assert prometheus["timeInterval"] == "15s"


def test_they_are_where_the_platform_has_them() -> None:
    for uid, folder in (("logs", "logs"), ("traces", "traces"), ("prometheus", "monitoring")):
        name, namespace, _ = SOURCES[uid]["url"].removeprefix("http://").split(".")
        port = int(SOURCES[uid]["url"].rsplit(":", 1)[1])
        objects = [each for path in Path(ROOT / "k8s/platform" / folder).glob("*.yaml") for each in _objects(path)]
        (service,) = [each for each in objects if each.get("kind") == "Service" and each["metadata"]["name"] == name]
        assert port in [each["port"] for each in service["spec"]["ports"]]
        assert service["metadata"].get("namespace", folder) == namespace


def _objects(path: Path) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if each]
