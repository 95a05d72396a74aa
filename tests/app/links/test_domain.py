"""Several instances of the service, and Valkey between them."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime

import pytest
from sqlalchemy import delete, insert

from app.links import models
from app.links.models import Link
from keel.data import migrate
from tests.app.instances import running
from tests.app.subject import Settings
from tests.support.servers import Valkey

pytestmark = pytest.mark.anyio

LINKS = "/api/v1/links"
URL, OTHER = "https://example.com/page", "https://example.org/"


@pytest.fixture
async def shared(settings: Settings, valkey: Valkey) -> Settings:
    await migrate.migrate(settings)
    return Settings(**settings.model_dump() | {"valkey_url": valkey.url})


async def test_a_change_reaches_who_has_not_kept_the_old_target(shared: Settings, mint: Callable[..., str]) -> None:
    async with running(shared, mint()) as (_, one):
        await one.post(LINKS, json={"url": URL, "slug": "page"})
        assert (await one.get("/page")).headers["location"] == URL
        await one.patch(f"{LINKS}/page", json={"url": OTHER})
        async with running(shared, mint()) as (_, two):
            assert (await two.get("/page")).headers["location"] == OTHER
            await one.delete(f"{LINKS}/page")
        async with running(shared, mint()) as (_, three):
            assert (await three.get("/page")).status_code == 404


async def test_what_one_has_read_the_next_finds_in_valkey(shared: Settings, mint: Callable[..., str]) -> None:
    async with running(shared, mint()) as (service, one), running(shared, mint()) as (_, two):
        database = service.public.state.links.store.database
        async with database.transaction() as connection:  # unknown to Valkey, as a link made long ago
            await connection.execute(insert(models.LINKS), asdict(Link("page", URL, "alice", datetime.now(UTC))))
            await connection.commit()
        assert (await one.get("/page")).headers["location"] == URL
        async with database.transaction() as connection:
            await connection.execute(delete(models.LINKS))
            await connection.commit()
        assert (await two.get("/page")).headers["location"] == URL


async def test_without_valkey_it_works_from_the_database(
    shared: Settings, valkey: Valkey, mint: Callable[..., str]
) -> None:
    async with running(shared, mint()) as (_, one):
        valkey.stop()
        assert (await one.post(LINKS, json={"url": URL, "slug": "page"})).status_code == 201
        assert (await one.get("/page")).headers["location"] == URL
