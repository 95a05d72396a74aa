"""What the scenarios of tests/e2e/faults are judged by."""

import xml.etree.ElementTree as ET
from typing import Any

import pytest

from tests import proof
from tests.e2e.faults import picture
from tests.e2e.faults.record import Fault
from tests.e2e.faults.watch import CUT, REFUSED, Watch
from tests.e2e.load import Load, Result

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def full_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("load", "faults.watch"):
        monkeypatch.setattr(f"tests.e2e.{module}.slowness", lambda: 1.0)


def watch(*failures: tuple[float, str], tmp_path: Any, sent: int = 1000) -> Watch:
    """Ten seconds of load, of which the third to the sixth had something done to it."""
    load = Load("https://links.localhost/", tmp_path, rate=100)
    answers = [(number / 100, 0.01) for number in range(sent - len(failures))]
    load.result = Result(sent, list(failures), answers, begin=500.0, seconds=10.0, made=["/links/one"])
    return Watch(load, began=503.0, ended=506.0)


def test_what_may_fail_may_fail(tmp_path: Any) -> None:
    found = watch((4.0, REFUSED[0]), (7.5, REFUSED[0]), tmp_path=tmp_path)
    found.judge(REFUSED, recovers=2)
    assert found.troubles == []
    assert found.recovery == 1.5
    found.judge(REFUSED, recovers=1)
    assert found.troubles == ["the last one failed 1.5 s after the end, 1 s allowed"]


def test_nothing_else_may(tmp_path: Any) -> None:
    found = watch((4.0, "status 502 of the ingress"), (4.1, CUT[0]), tmp_path=tmp_path)
    found.judge(CUT, recovers=0)
    (trouble,) = found.troubles
    assert trouble.startswith("{'status 502 of the ingress': 1} failed; in all 2 of 1000 failed")


def test_what_was_lost_and_what_was_not_sent(tmp_path: Any) -> None:
    found = watch(tmp_path=tmp_path, sent=800)
    found.lost = {"one"}
    found.judge((), recovers=0)
    assert found.troubles == [
        "only 80 requests a second were sent: nothing was proven",
        "1 of 1 writes were acknowledged and lost",
    ]


def test_how_long_requests_took_before_and_meanwhile(tmp_path: Any) -> None:
    found = watch(tmp_path=tmp_path)
    found.result.answers = [(1.0, 0.1), (4.0, 0.4), (5.0, 0.5), (8.0, 0.8)]
    assert (found.quantile(0.99, before=True), found.quantile(0.99, before=False)) == (0.1, 0.5)


def test_a_record_counts_each_second(tmp_path: Any) -> None:
    found = watch((4.2, CUT[0]), (4.9, CUT[1]), tmp_path=tmp_path).record("a fault", 2, passed=True)
    assert (found.failed, found.written, found.lost) == ({CUT[0]: 1, CUT[1]: 1}, 1, 0)
    assert (found.began, found.ended, found.recovery_seconds) == (3.0, 6.0, 0.0)
    assert found.each_second == [(100, 0)] * 4 + [(102, 2)] + [(100, 0)] * 4 + [(98, 0)]


def test_the_table_has_all_runs_and_the_worst(tmp_path: Any) -> None:
    first = watch((4.2, CUT[0]), tmp_path=tmp_path).record("a fault", 1, passed=True)
    second = watch((4.2, CUT[0]), (8.0, CUT[0]), tmp_path=tmp_path).record("a fault", 2, passed=True)
    row = proof.faults([first.__dict__, second.__dict__]).splitlines()[-1]
    assert row == f"| a fault | 2 | 2,000 | 2 | 3 x {CUT[0]} | 0 | 10 | 10 | 2.0 s |"


def test_the_picture_has_a_strip_for_each_scenario_with_the_worst_run() -> None:
    def fault(scenario: str, run: int, failed: int) -> Fault:
        seconds = [(50, 0), (50, failed), (50, 0)]
        return Fault(scenario, run, 150, 5, {"x": failed} if failed else {}, 0, 0.01, 0.1, 0, 1, 2, seconds, True)

    image = ET.fromstring(picture.svg([fault("a < b", 1, 0), fault("a < b", 2, 7), fault("other", 1, 0)]))  # noqa: S314
    texts = [each.text for each in image.iter(f"{SVG}text")]
    assert texts[:4] == ["a < b", "7 of 150 failed, 0 lost", "other", "0 of 150 failed, 0 lost"]
    colours = [each.get("fill") for each in image.iter(f"{SVG}rect")]
    assert (colours.count(picture.SENT), colours.count(picture.FAILED), colours.count(picture.BAND)) == (6, 1, 2)
