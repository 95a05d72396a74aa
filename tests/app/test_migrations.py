"""The migrations of the service that is delivered, from the first to the last and back."""

import pytest

from keel.data import migrate
from tests.app.subject import PRODUCT, SERVICE, Settings
from tests.support import migrations

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def quiet(log_lines: object) -> object:
    return log_lines


async def test_the_tables_are_those_of_the_models(either: Settings) -> None:
    await migrate.migrate(either)
    tables, found = migrations.differences(SERVICE, either)
    assert found == "[]"
    assert {"'links'", "'link_clicks'", "'deleted_slugs'", "'idempotency_keys'"} <= set(tables[1:-1].split(", "))


async def test_there_is_a_way_back(either: Settings) -> None:
    await migrate.migrate(either)
    assert await migrations.taken_back(either) == ["alembic_version"]


def test_each_migration_says_whose_code_works_with_it() -> None:
    """From the one on that made it possible. The release before has to (CONTRIBUTING.md)."""
    said = migrations.works_from(PRODUCT)
    order = list(said)
    for revision in order[2:]:
        assert order.index(said[revision]) < order.index(revision)
