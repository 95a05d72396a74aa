"""What is said of pods that do not become ready, by what kubectl answers."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from k8s.platform import pods

StandIn = Callable[[str, str], None]
KUBECTL = ["kubectl", "-n", "links"]


def pod(name: str, phase: str = "Running", ready: bool = False) -> dict[str, Any]:
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    return {"metadata": {"name": name}, "status": {"phase": phase, "conditions": [condition]}}


@pytest.fixture
def answers(stand_in: StandIn) -> Callable[..., None]:
    """Has kubectl answer with these pods, and with so many warnings. Only the pod `crashes` has a log."""

    def put(*found: dict[str, Any], warnings: int = 0) -> None:
        events = "\n".join(f"warning {number}" for number in range(warnings))
        body = f"""
            case "$*" in
              *"get pods -o wide") echo "NAME READY" ;;
              *"get pods -o json") echo '{json.dumps({"items": found})}' ;;
              *"logs crashes --tail=5") echo "no such table" ;;
              *" logs "*) echo "container is waiting to start: trying and failing to pull image" >&2; exit 1 ;;
              *"get events"*) echo "{events}" ;;
              *) echo "kubectl is asked for $*" >&2; exit 1 ;;
            esac"""
        stand_in("kubectl", body)

    return put


def test_the_state_of_all_and_the_last_lines_of_those_that_are_not_ready(
    answers: Callable[..., None], calls: Callable[[], list[str]]
) -> None:
    unscheduled = {"metadata": {"name": "waits"}, "status": {"phase": "Pending"}}
    answers(pod("serves", ready=True), pod("migrated", "Succeeded"), pod("crashes"), unscheduled)
    assert pods.say(KUBECTL).splitlines() == ["NAME READY", "", "crashes says:", "no such table", ""]
    asked = {call.split()[4] for call in calls() if " logs " in call}
    assert asked == {"crashes", "waits"}
    assert all(call.startswith("kubectl -n links ") for call in calls())


@pytest.mark.parametrize(("warnings", "first"), [(3, 0), (8, 0), (20, 12)])
def test_the_last_warnings(answers: Callable[..., None], warnings: int, first: int) -> None:
    answers(warnings=warnings)
    expected = [f"warning {number}" for number in range(first, warnings)]
    assert pods.say(KUBECTL).splitlines() == ["NAME READY", "", *expected]


def test_a_cluster_that_does_not_answer_hides_no_other_reason(stand_in: StandIn) -> None:
    """Whoever asks is telling why something is not ready."""
    stand_in("kubectl", 'echo "The connection to the server was refused" >&2; exit 1')
    assert "The connection to the server was refused" in pods.say(KUBECTL)
