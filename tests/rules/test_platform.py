"""The platform's own alerts: by promtool, and by a Prometheus that is given a rule which it refuses."""

import re
import subprocess
import time
from pathlib import Path

import httpx
import pytest
import yaml

from tests.rules.programs import command, run
from tests.rules.rendered import alerts_of, platform, write
from tests.rules.unit import Firing, check
from tests.support.servers import free_port
from toolkit.paths import PLATFORM, ROOT

ALERT = "PrometheusReloadFailed"
METRIC = "prometheus_config_last_reload_successful"
POD = {"namespace": "monitoring", "job": "prometheus", "pod": "prometheus-prometheus-0"}
SERIES = METRIC + "{" + ",".join(f'{name}="{value}"' for name, value in POD.items()) + "}"


def test_promtool_finds_nothing(tmp_path: Path) -> None:
    done = run("promtool", "check", "rules", "--lint=all", "--lint-fatal", write(platform(), tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_has_what_alertmanager_and_people_need() -> None:
    for rule in alerts_of(platform()):
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert (ROOT / rule["annotations"]["runbook_url"]).is_file()
        assert Path(rule["annotations"]["runbook_url"]).stem == rule["alert"]


def test_a_reload_that_failed_is_told(tmp_path: Path) -> None:
    shown = {"$labels.pod": POD["pod"], "$labels.namespace": POD["namespace"], "$value": "0"}
    alerts = [("9m", ALERT, []), ("11m", ALERT, [Firing(shown, POD)]), ("25m", ALERT, [])]
    check(tmp_path, platform(), {SERIES: "1x10 0x30 1x20"}, alerts=alerts)


def test_what_is_mended_at_once_is_not(tmp_path: Path) -> None:
    check(tmp_path, platform(), {SERIES: "1x10 0x8 1x40"}, alerts=[(f"{at}m", ALERT, []) for at in range(25)])


def test_the_metric_is_scraped_by_the_operator_s_service() -> None:
    folder = PLATFORM / "monitoring"
    monitor = yaml.safe_load((folder / "prometheus.servicemonitor.yaml").read_text(encoding="utf-8"))["spec"]
    (keep,) = monitor["endpoints"][0]["metricRelabelings"]
    assert re.fullmatch(keep["regex"], METRIC)
    service = list(yaml.safe_load_all((folder / "prometheus.yaml").read_text(encoding="utf-8")))[-1]
    assert service["kind"] == "Service"
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] in {each["name"] for each in service["spec"]["ports"]}


def test_prometheus_itself_says_so_and_does_not_start_again(tmp_path: Path) -> None:
    """With one rule that it refuses: the other new one is not in force, either."""
    config, rules = tmp_path / "prometheus.yml", tmp_path / "rules.yaml"
    config.write_text(yaml.safe_dump({"rule_files": [str(rules)]}), encoding="utf-8")
    rules.write_text(yaml.safe_dump({"groups": [group("old", "vector(1)")]}), encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    options = [f"--config.file={config}", f"--storage.tsdb.path={tmp_path}", f"--web.listen-address={address}"]
    argv = [*command("prometheus"), *options, "--web.enable-lifecycle"]
    log = tmp_path / "log"
    with log.open("wb") as out, subprocess.Popen(argv, stdout=out, stderr=out) as process:
        try:
            wait_until_ready(f"http://{address}", log)
            groups = [group("new", "vector(2)"), group("wrong", "no_such_function(up)")]
            rules.write_text(yaml.safe_dump({"groups": groups}), encoding="utf-8")
            assert httpx.post(f"http://{address}/-/reload", timeout=30).status_code == 500
            assert f"{METRIC} 0" in httpx.get(f"http://{address}/metrics", timeout=30).text
            in_force = httpx.get(f"http://{address}/api/v1/rules", timeout=30).json()["data"]["groups"]
            assert [each["name"] for each in in_force] == ["old"]
        finally:
            process.terminate()
    again = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert again.returncode != 0
    assert "no_such_function" in again.stdout + again.stderr


def group(name: str, expression: str) -> dict[str, object]:
    return {"name": name, "rules": [{"record": f"own:{name}", "expr": expression}]}


def wait_until_ready(address: str, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{address}/-/ready", timeout=30).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    pytest.fail(log.read_text(encoding="utf-8"))
