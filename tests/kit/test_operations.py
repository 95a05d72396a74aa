"""What domains bring for those who operate them: values for the chart, and a load."""

import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from keel import cli, load
from keel.chart_values import OperationsError, chart_values
from keel.domain import Domain
from keel.load import LoadError, Mix
from keel.operations import Call, Kind, LoadProfile, Operations, SmokeRequest
from keel.service import Service
from tests.kit.subject import PRODUCT, SERVICE
from tests.probe.domain import THINGS, ThingsLoad
from tests.support.processes import App

URL = "http://127.0.0.1:1"


class OtherLoad(LoadProfile):
    def kinds(self) -> dict[str, Kind]:
        return {"other": Kind(1, lambda: Call(path="/other", expected=(404,)))}


def other(**operations: object) -> Domain:
    return replace(THINGS, name="others", operations=Operations(**operations))  # type: ignore[arg-type]


def test_two_domains_bring_the_values_of_one_release(tmp_path: Path) -> None:
    dashboard = tmp_path / "others.json"
    dashboard.write_text('{\n  "title": "Others: {{job}}"\n}\n')
    request = SmokeRequest(name="others", path="/others?a=1&b=%20")
    text = chart_values("app", [THINGS, other(requests=[request], dashboards={"others": dashboard})])
    assert text.startswith("# What the service's domains bring to the chart: written by `python -m app values`")
    assert yaml.safe_load(text) == {
        "dashboards": {"extra": {"others": dashboard.read_text().rstrip()}},
        "tests": {
            "requests": [
                {"name": "route", "path": "/", "status": 200},
                {
                    "name": "none",
                    "path": "/api/v1/things/none",
                    "status": 404,
                    "contentType": "application/problem+json",
                },
                {"name": "others", "path": "/others?a=1&b=%20", "status": 200},
            ]
        },
    }


def test_the_values_by_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(SERVICE, ["values"]) == 0
    assert list(yaml.safe_load(capsys.readouterr().out)) == ["tests"]


def test_what_two_domains_call_the_same_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = SmokeRequest(name="none", path="/")
    with pytest.raises(OperationsError, match="Two domains bring a request none: rename one"):
        chart_values("app", [THINGS, other(requests=[request])])
    missing = Service(PRODUCT, [other(dashboards={"others": tmp_path / "missing.json"})])
    assert cli.main(missing, ["values"]) == 1
    assert "The dashboard others of others cannot be read" in capsys.readouterr().err


def test_a_mix_has_all_kinds_in_their_shares() -> None:
    mix = Mix.of(Service(PRODUCT, [THINGS, other(load=OtherLoad)]), ["token"], random.Random(1))  # noqa: S311
    chosen = Counter(mix.choose()[0] for _ in range(1000))
    # Nothing was made yet, so nothing can be read.
    assert chosen.keys() == {"make", "other"}
    assert chosen["make"] / chosen["other"] == pytest.approx(5, rel=0.3)
    assert mix.with_token == pytest.approx(5 / 10)
    assert mix.kinds.keys() == {"make", "read", "other"}


def test_a_mix_of_nothing_or_of_the_same_twice_is_refused() -> None:
    with pytest.raises(LoadError, match="No domain brings a load"):
        Mix.of(Service(PRODUCT, [other()]), [])
    with pytest.raises(LoadError, match="Two domains bring a load of the kind make: rename one"):
        Mix.of(Service(PRODUCT, [THINGS, other(load=ThingsLoad)]), [])


def test_a_load_is_sent_to_the_service_that_runs_here(
    start: Callable[..., App], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = start()
    monkeypatch.setenv("APP_DEV_KEY_FILE", str(app.directory / "probe" / "dev-key.json"))
    target = ["tests.probe.main:SERVICE", f"http://{app.public}", "--rate=40", "--seconds=2"]
    assert load.main(target) == 0
    *rows, last = capsys.readouterr().out.splitlines()
    assert last == "Every response was as it should be."
    assert [row.split()[0] for row in rows[1:]] == ["make", "read"]
    assert sum(int(row.split()[1]) for row in rows[1:]) == 80
    app.get("/metrics")
    made = int(rows[1].split()[1])
    assert f"\nthings_made_total {made}.0\n" in app.body.decode()
    monkeypatch.setenv("APP_JWT_AUDIENCE", "somebody-else")
    assert load.main(target) == 1
    assert "Not as they should be: " in (said := capsys.readouterr().out)
    assert " x status 401" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tests.probe.main:SERVICE", URL], "does not answer"),
        (["tests.probe.main:SERVICE", "https://example.com"], "https://example.com is not this machine"),
        (["tests.probe.main:SERVICE", "127.0.0.1:1"], "is not this machine"),
        (["tests.probe.main:SERVICE", URL, "--rate=0"], "Give a rate"),
        (["tests.probe.main:SERVICE", URL, "--seconds=1e9"], "Give a rate"),
        (["tests.probe.nothing", URL], "tests.probe.nothing is no service"),
        (["tests.probe.main:NONE", URL], "tests.probe.main:NONE is no service"),
        (["tests.probe.main:PRODUCT", URL], "is no keel.service.Service"),
    ],
)
def test_what_cannot_be_sent_is_a_sentence(
    arguments: Sequence[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("APP_DEV_KEY_FILE", str(tmp_path / "key.json"))
    assert load.main(arguments) == 2
    assert said in capsys.readouterr().err


def test_no_server_imports_what_only_a_load_needs() -> None:
    program = "import sys, tests.probe.main; print([name for name in ('httpx', 'keel.load') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
