"""What tests of every kind of database need of each."""

from dataclasses import dataclass

import pytest

from keel.dialects import DIALECTS
from keel.settings import Settings


@dataclass(frozen=True)
class Kind:
    """Of a database."""

    settings: str
    """The fixture whose settings lead to an empty one."""
    be_read_only: str
    """A statement after which the transaction takes no writes, as on a former primary."""
    sleep: str
    """A statement that takes 30 seconds; an empty text for a file, which has no time-outs."""


KINDS = {
    "postgresql": Kind("postgresql_settings", be_read_only="SET TRANSACTION READ ONLY", sleep="SELECT pg_sleep(30)"),
    "sqlite": Kind("settings", be_read_only="PRAGMA query_only = ON", sleep=""),
}
NAMES = [dialect.name for dialect in DIALECTS]
SERVERS = [dialect.name for dialect in DIALECTS if not dialect.is_file]
FILES = [dialect.name for dialect in DIALECTS if dialect.is_file]


def settings_of(name: str, request: pytest.FixtureRequest) -> Settings:
    """Settings that lead to an empty database of a kind."""
    found: Settings = request.getfixturevalue(KINDS[name].settings)
    return found
