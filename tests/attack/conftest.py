"""One service for all groups, and the table of what became of them."""

from collections.abc import Iterator

import pytest

from tests.attack import own
from tests.attack.attempts import Tally, table
from tests.attack.own import Own

TALLIES: list[Tally] = []


@pytest.fixture(scope="session")
def service() -> Iterator[Own]:
    with own.started() as service:
        service.check()
        yield service


@pytest.fixture(scope="session")
def tallies() -> list[Tally]:
    """Of the groups that have run, to be shown at the end."""
    return TALLIES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if TALLIES:
        terminalreporter.write_line(table(TALLIES))
