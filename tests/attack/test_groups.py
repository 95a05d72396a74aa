"""Each group of attempts, at a service of our own."""

import pytest

from tests.attack.attempts import Group, Tally, run
from tests.attack.groups import ANYWHERE, OWN
from tests.attack.own import Own

GROUPS = [*ANYWHERE, *OWN]


@pytest.mark.parametrize(("name", "group"), GROUPS, ids=[name for name, _ in GROUPS])
def test_nothing_gets_through(service: Own, tallies: list[Tally], name: str, group: Group) -> None:
    (tally,) = run([(name, group)], service)
    tallies.append(tally)
    assert not tally.through
    assert tally.tried > 10
