"""What becomes of an alert that fires when Prometheus is started again: by a real one, with the platform's settings."""

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
import yaml

from tests.rules.programs import command, run
from tests.rules.rendered import EVERY_ALERT, alerts_of, groups
from tests.support.servers import free_port
from toolkit.paths import PLATFORM

RULE = {"alert": "Down", "expr": "vector(1)", "for": "5m"}
EVALUATIONS = 6  # from the third on, what was is known again


def grace_period() -> str:
    (_, _, _, prometheus, _) = yaml.safe_load_all(
        (PLATFORM / "monitoring" / "prometheus.yaml").read_text(encoding="utf-8")
    )
    found: str = prometheus["spec"]["rules"]["alert"]["forGracePeriod"]
    return found


@pytest.mark.parametrize(("platform", "state"), [(True, "firing"), (False, "pending")])
def test_an_alert_of_five_minutes_goes_on_as_the_platform_has_it(platform: bool, state: str, tmp_path: Path) -> None:
    options = [f"--rules.alert.for-grace-period={grace_period()}"] if platform else []
    assert state_after_restart(tmp_path, options) == state


def test_the_platform_s_setting_is_for_all_alerts_of_the_chart() -> None:
    assert grace_period() == "1m"
    assert not [rule["alert"] for rule in alerts_of(groups(EVERY_ALERT)) if rule["for"].endswith("s")]


def state_after_restart(folder: Path, options: Sequence[str]) -> str:
    """Of the alert, which had fired for five minutes until some seconds ago."""
    now = int(time.time())
    samples = [f'ALERTS_FOR_STATE{{alertname="Down"}} {now - 600} {at}' for at in range(now - 300, now - 5, 5)]
    (folder / "before").write_text("\n".join([*samples, "# EOF", ""]), encoding="utf-8")
    done = run("promtool", "tsdb", "create-blocks-from", "openmetrics", folder / "before", folder / "data")
    assert done.returncode == 0, done.stdout + done.stderr
    config, rules = folder / "prometheus.yml", folder / "rules.yaml"
    rules.write_text(yaml.safe_dump({"groups": [{"name": "own", "rules": [RULE]}]}), encoding="utf-8")
    config.write_text(
        yaml.safe_dump({"global": {"evaluation_interval": "1s"}, "rule_files": [str(rules)]}), encoding="utf-8"
    )
    address = f"127.0.0.1:{free_port()}"
    argv = [*command("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    log = folder / "log"
    with (
        log.open("wb") as out,
        subprocess.Popen([*argv, f"--web.listen-address={address}", *options], stdout=out, stderr=out) as process,
    ):
        try:
            deadline = time.monotonic() + 90
            while time.monotonic() < deadline:
                if evaluations(address) >= EVALUATIONS:
                    found = httpx.get(f"http://{address}/api/v1/rules").json()["data"]["groups"][0]["rules"][0]
                    return str(found["state"])
                time.sleep(0.1)
        finally:
            process.terminate()
    pytest.fail(log.read_text(encoding="utf-8"))


def evaluations(address: str) -> int:
    try:
        lines = httpx.get(f"http://{address}/metrics").text.splitlines()
    except httpx.TransportError:
        return 0
    found = [line for line in lines if line.startswith("prometheus_rule_group_iterations_total{")]
    return int(float(found[0].split()[-1])) if found else 0
