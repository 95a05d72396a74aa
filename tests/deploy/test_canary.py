"""How far a canary goes, with how many pods."""

import pytest

from delivery.deploy.canary import Step, plan, steps
from delivery.deploy.environment import Canary
from toolkit.reference import Image

IMAGE = Image("registry.example.com/team/links", "sha256:" + "a" * 64)


@pytest.mark.parametrize(
    ("wanted", "pods", "found"),
    [
        (Canary(), 3, [(0, 1), (5, 1), (25, 2), (50, 2)]),
        # Those for the next step are there before it begins.
        (Canary(steps=[10, 50, 100]), 10, [(0, 1), (10, 5), (50, 10), (100, 10)]),
        (Canary(steps=[50]), 0, [(0, 1), (50, 1)]),
        (Canary(steps=[5, 50], replicas=4), 10, [(0, 4), (5, 4), (50, 4)]),
    ],
)
def test_pods_for_each_share(wanted: Canary, pods: int, found: list[tuple[int, int]]) -> None:
    assert steps(wanted, pods) == [Step(*each) for each in found]


def test_what_serves_keeps_its_values() -> None:
    present = {
        "image": {"repository": IMAGE.repository, "tag": "1"},
        "httpRoute": {"enabled": True},
        "canary": {"enabled": True, "weight": 7},
    }
    found = plan(Canary(), present, {"config": {"A": "1"}}, IMAGE, 3)
    assert found
    assert found.present == {key: value for key, value in present.items() if key != "canary"}
    assert found.values(Step(5, 2)) == {
        "canary": {
            "enabled": True,
            "image": {"repository": IMAGE.repository, "tag": "", "digest": IMAGE.digest},
            "config": {"A": "1"},
            "weight": 5,
            "replicas": 2,
        }
    }


@pytest.mark.parametrize(("config", "differs"), [({}, False), ({"A": "1"}, True)])
def test_a_configuration_is_worth_a_canary_too(config: dict[str, str], differs: bool) -> None:
    present = {
        "image": {"repository": IMAGE.repository, "digest": IMAGE.digest},
        "httpRoute": {"enabled": True},
    }
    assert bool(plan(Canary(), present, {"config": config}, IMAGE, 3)) is differs
