"""The routing example: by amtool, and by a real Alertmanager for what silences what."""

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from k8s.kind.paths import PLATFORM
from tests.rules import programs
from tests.rules.programs import run
from tests.rules.rendered import EVERY_ALERT, alerts_of, groups
from tests.unit.servers import free_port

FOLDER = PLATFORM / "monitoring"
CONFIG = FOLDER / "alertmanager-config.yaml"
ALERTS = {rule["alert"]: rule for rule in alerts_of(groups(EVERY_ALERT))}
RECEIVERS = {"critical": "page", "warning": "ticket", "info": "note"}

Labels = dict[str, str]


def test_amtool_finds_no_mistake() -> None:
    done = run("amtool", "check-config", CONFIG)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_goes_where_its_severity_says(alert: str) -> None:
    for severity, receiver in RECEIVERS.items():
        labels = {**ALERTS[alert]["labels"], "alertname": alert, "severity": severity}
        words = [f"{name}={value}" for name, value in labels.items()]
        options = [f"--config.file={CONFIG}", f"--verify.receivers={receiver}"]
        done = run("amtool", "config", "routes", "test", *options, *words)
        assert done.returncode == 0, done.stdout + done.stderr


def test_inhibit_rules_name_alerts_that_exist() -> None:
    rules = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["inhibit_rules"]
    matchers = [each for rule in rules for each in rule["source_matchers"] + rule["target_matchers"]]
    named = [re.search(r'alertname =~? "(.*)"', each) for each in matchers]
    for match in filter(None, named):
        prefix, _, rest = match[1].partition("(")
        names = [prefix + name for name in rest.rstrip(")").split("|")] if rest else prefix.split("|")
        assert set(names) <= set(ALERTS)


def test_the_operator_is_given_this_file() -> None:
    (alertmanager, *_) = yaml.safe_load_all((FOLDER / "alertmanager.yaml").read_text(encoding="utf-8"))
    kustomization = yaml.safe_load((FOLDER / "kustomization.yaml").read_text(encoding="utf-8"))
    (secret,) = kustomization["secretGenerator"]
    assert secret["name"] == alertmanager["spec"]["configSecret"]
    assert secret["files"] == [f"alertmanager.yaml={CONFIG.name}"]


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address. Nobody receives what it sends, as on a cluster without the receiver."""
    port = free_port()
    folder = tmp_path_factory.mktemp("alertmanager")
    options = [f"--config.file={CONFIG}", f"--storage.path={folder}", "--cluster.listen-address="]
    options.append(f"--web.listen-address=127.0.0.1:{port}")
    argv = [*programs.alertmanager(), *options]
    with (folder / "log").open("wb") as log, subprocess.Popen(argv, stdout=log, stderr=log) as process:
        try:
            address = f"http://127.0.0.1:{port}"
            wait_until_ready(address, process, folder / "log")
            yield address
        finally:
            process.terminate()


def wait_until_ready(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{address}/-/ready").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    pytest.fail(log.read_text(encoding="utf-8"))


def alert(name: str, severity: str, release: str) -> Labels:
    """Its labels; with the rule's own severity if none is given."""
    labels = {**ALERTS[name]["labels"], "alertname": name, "job": release}
    return {**labels, "severity": severity or labels["severity"]}


PAGE, TICKET = ("ServiceAvailabilityBurn", "critical"), ("ServiceAvailabilityBurn", "warning")


@pytest.mark.parametrize(
    ("source", "target", "silenced"),
    [
        (PAGE, TICKET, True),
        (TICKET, PAGE, False),
        (PAGE, ("ServiceLatencyBurn", "warning"), False),
        (PAGE, ("ServiceDatabaseUnavailable", ""), False),
        (("ServiceDown", ""), PAGE, True),
        (("ServiceDown", ""), ("ServiceTargetsMissing", ""), True),
        (("ServiceDown", ""), ("ServiceCrashLoop", ""), False),
        (("ServiceTargetsMissing", ""), ("ServiceTargetDown", ""), True),
        (("ServiceRolloutStuck", ""), ("ServiceReplicasShort", ""), True),
        (("ServiceDatabaseUnavailable", ""), ("ServiceDatabasePoolExhausted", ""), True),
        (("ServiceCertificateExpired", ""), ("ServiceCertificateExpiring", ""), True),
    ],
)
def test_what_silences_what(
    source: tuple[str, str], target: tuple[str, str], silenced: bool, alertmanager: str, request: pytest.FixtureRequest
) -> None:
    release = re.sub(r"\W", "-", request.node.name)
    ours, others = alert(*target, release), alert(*target, f"{release}-2")
    sent = [alert(*source, release), ours, others]
    assert httpx.post(f"{alertmanager}/api/v2/alerts", json=[{"labels": labels} for labels in sent]).status_code == 200
    assert inhibited(alertmanager, ours) is silenced
    assert inhibited(alertmanager, others) is False, "another release's is not silenced"


def test_a_pod_that_crashes_silences_only_that_itself_does_not_answer(alertmanager: str) -> None:
    crashing = alert("ServiceCrashLoop", "", "crashing") | {"pod": "a"}
    own, others = (alert("ServiceTargetDown", "", "crashing") | {"pod": pod} for pod in ("a", "b"))
    sent = [{"labels": labels} for labels in (crashing, own, others)]
    assert httpx.post(f"{alertmanager}/api/v2/alerts", json=sent).status_code == 200
    assert inhibited(alertmanager, own) is True
    assert inhibited(alertmanager, others) is False


def inhibited(alertmanager: str, labels: Labels) -> bool:
    """Whether an alert is silenced by another one, once Alertmanager has looked at it."""
    wanted = {"filter": [f'{name}="{value}"' for name, value in labels.items()]}
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = httpx.get(f"{alertmanager}/api/v2/alerts", params=wanted).json()
        states = [each["status"] for each in found if each["labels"] == labels]
        if states and states[0]["state"] != "unprocessed":
            return bool(states[0]["inhibitedBy"])
        time.sleep(0.05)
    pytest.fail(f"Alertmanager has not looked at {labels}")
