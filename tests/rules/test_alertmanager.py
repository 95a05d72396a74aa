"""The routing example: by amtool, and by a real Alertmanager for what silences what, and what is told in the end."""

import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.rules import programs
from tests.rules.programs import run
from tests.rules.rendered import EVERY_ALERT, Rule, alerts_of, groups
from tests.support.servers import free_port
from toolkit.paths import PLATFORM

FOLDER = PLATFORM / "monitoring"
CONFIG = FOLDER / "alertmanager-config.yaml"
# Of those that are also about workers, the app's, which comes first.
ALERTS = {rule["alert"]: rule for rule in reversed(alerts_of(groups(EVERY_ALERT)))}
RECEIVERS = {"critical": "page,ticket", "warning": "ticket", "info": "note"}

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


def matching(matchers: list[str]) -> list[Rule]:
    """The alerts that these matchers choose, as they are shipped."""

    def chosen(rule: Rule) -> bool:
        labels = {**rule["labels"], "alertname": rule["alert"]}
        for each in matchers:
            match = re.fullmatch(r'(\w+) *(=~|!=|=) *"(.*)"', each)
            assert match is not None
            name, operator, wanted = match.groups()
            found = labels.get(name, "")
            if not {"=": found == wanted, "!=": found != wanted, "=~": re.fullmatch(wanted, found)}[operator]:
                return False
        return True

    return [rule for rule in alerts_of(groups(EVERY_ALERT)) if chosen(rule)]


def test_who_is_told_of_what_is_silenced_is_told_of_what_silences_it() -> None:
    """Else nobody would tell them that it is over."""
    for rule in yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["inhibit_rules"]:
        sources, targets = matching(rule["source_matchers"]), matching(rule["target_matchers"])
        assert sources
        assert targets
        for source in sources:
            told = RECEIVERS[source["labels"]["severity"]]
            for target in targets:
                assert set(RECEIVERS[target["labels"]["severity"]].split(",")) <= set(told.split(",")), target["alert"]


def test_the_operator_is_given_this_file() -> None:
    (alertmanager, *_) = yaml.safe_load_all((FOLDER / "alertmanager.yaml").read_text(encoding="utf-8"))
    kustomization = yaml.safe_load((FOLDER / "kustomization.yaml").read_text(encoding="utf-8"))
    (secret,) = kustomization["secretGenerator"]
    assert secret["name"] == alertmanager["spec"]["configSecret"]
    assert secret["files"] == [f"alertmanager.yaml={CONFIG.name}"]


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address. Nobody receives what it sends, as on a cluster without the receiver."""
    with running(CONFIG, tmp_path_factory.mktemp("alertmanager")) as address:
        yield address


@contextmanager
def running(config: Path, folder: Path) -> Iterator[str]:
    port = free_port()
    options = [f"--config.file={config}", f"--storage.path={folder}", "--cluster.listen-address="]
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
        (("ServiceTaskQueueStalled", ""), ("ServiceTasksLate", ""), True),
        (("ServiceTaskQueueStalled", ""), ("ServiceWorkerIdle", ""), False),
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


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("ServiceWorkerDown", "ServiceReplicasShort"),
        ("ServiceWorkerTargetsMissing", "ServiceTargetDown"),
        ("ServiceCrashLoop", "ServiceReplicasShort"),
        ("ServiceRolloutStuck", "ServiceTargetDown"),
    ],
)
def test_what_is_wrong_with_a_worker_silences_nothing_of_other_pods(
    source: str, target: str, alertmanager: str, request: pytest.FixtureRequest
) -> None:
    release = re.sub(r"\W", "-", request.node.name)
    its = alert(source, "", release) | {"worker": "mail"}
    own, others = alert(target, "", release) | {"worker": "mail"}, alert(target, "", release) | {"worker": "report"}
    api = alert(target, "", release)
    assert "worker" not in api
    sent = [{"labels": labels} for labels in (its, own, others, api)]
    assert httpx.post(f"{alertmanager}/api/v2/alerts", json=sent).status_code == 200
    assert [inhibited(alertmanager, labels) for labels in (own, others, api)] == [True, False, False]


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


class Receiver(ThreadingHTTPServer):
    """Keeps what Alertmanager posts, by the receiver's path."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Posted)
        self.told: dict[str, list[Any]] = {"page": [], "ticket": [], "note": []}


class Posted(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.told[self.path.strip("/")].append(message)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


def test_a_ticket_is_closed_though_its_alert_ended_while_it_was_silenced(receiver: Receiver, tmp_path: Path) -> None:
    """Alertmanager never tells of that end; it tells of the end of what silenced it, to the same group."""
    host, port = receiver.server_address[:2]
    text = CONFIG.read_text(encoding="utf-8").replace("alert-receiver.monitoring.svc:8080", f"{host!s}:{port}")
    config = yaml.safe_load(text)
    config["route"] |= {"group_wait": "0s", "group_interval": "2s"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    short, down = (alert(name, "", "links") for name in ("ServiceReplicasShort", "ServiceDown"))
    tickets = receiver.told["ticket"]
    with running(tmp_path / "config.yaml", tmp_path) as address:

        def post(labels: Labels, **more: str) -> None:
            assert httpx.post(f"{address}/api/v2/alerts", json=[{"labels": labels, **more}]).status_code == 200

        def silenced() -> int:
            """How often it was left out of a message."""
            found = re.findall(
                r"^alertmanager_notifications_suppressed_total{.*inhibition.*} (\d+)",
                metrics(address),
                flags=re.MULTILINE,
            )
            return sum(map(int, found))

        post(short)
        wait_for(lambda: tickets and tickets[-1]["alerts"][0]["labels"] == short)
        post(down)
        wait_for(lambda: receiver.told["page"] and tickets[-1]["alerts"][0]["labels"] == down)
        before = silenced()
        wait_for(lambda: silenced() > before)  # a moment ago: it ends well before the next message
        before = silenced()
        post(short, endsAt=now())
        wait_for(lambda: silenced() > before)
        post(down, endsAt=now())
        wait_for(lambda: {receiver.told[each][-1]["status"] for each in ("page", "ticket")} == {"resolved"})
    ended = [
        each["labels"]["alertname"] for ticket in tickets for each in ticket["alerts"] if each["status"] == "resolved"
    ]
    assert ended == ["ServiceDown"], "its own end is told now: the comment in the example is out of date"
    assert len({ticket["groupKey"] for ticket in tickets}) == 1


def metrics(address: str) -> str:
    return httpx.get(f"{address}/metrics").text


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def wait_for(met: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not met():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)
