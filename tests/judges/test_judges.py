"""No judge finds anything but what explained.yaml gives a reason for."""

from collections.abc import Callable

import pytest

from tests.judges import explanations
from tests.judges.judges import JUDGES, ON_THE_CLUSTER
from tests.judges.scenarios import BAD
from tests.judges.verdict import Verdicts

# The first test builds the judges if nobody has.
pytestmark = pytest.mark.timeout(1800)

KNOWN = explanations.load()


@pytest.mark.parametrize(
    ("judge", "scenario"), [(name, scenario) for name, judge in JUDGES.items() for scenario in judge.scenarios]
)
def test_nothing_is_found_without_an_explanation(judge: str, scenario: str, ask: Callable[[str], Verdicts]) -> None:
    verdict = ask(judge)[scenario]
    assert verdict.passed or verdict.findings, "it looked at nothing"
    left = explanations.unexplained(verdict.findings, KNOWN)
    assert not left, "\n" + "\n".join(map(str, left))


@pytest.mark.parametrize("judge", JUDGES)
def test_no_explanation_outlives_what_it_explains(judge: str, ask: Callable[[str], Verdicts]) -> None:
    verdicts = [verdict for verdict in ask(judge).values() if verdict.scenario != BAD]
    if not all(verdict.whole for verdict in verdicts):
        return  # what it explains may be in the part that is not here
    found = [finding for verdict in verdicts for finding in verdict.findings]
    assert not explanations.stale([each for each in KNOWN if each.judge == judge], found)


@pytest.mark.parametrize("judge", JUDGES)
def test_what_is_bad_is_found(judge: str, ask: Callable[[str], Verdicts]) -> None:
    assert JUDGES[judge].sees <= {(each.check, each.on) for each in ask(judge)[BAD].findings}


def test_every_explanation_names_a_judge() -> None:
    assert {each.judge for each in KNOWN} <= JUDGES.keys() | ON_THE_CLUSTER
