"""Many links at once, from CSV."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from app.links import csv_import
from app.links.models import LINKS
from app.links.store import LinkStore
from app.links.urls import UrlPolicy
from keel.data import migrate
from keel.service import Apps
from tests.app.instances import running
from tests.app.subject import Settings

pytestmark = pytest.mark.anyio

PATH = "/api/v1/imports"
CSV = {"Content-Type": "text/csv; charset=utf-8"}
SCOPE = "links:read links:write"
LATER = (datetime.now(UTC) + timedelta(days=2)).isoformat(timespec="seconds")

Running = tuple[Apps, httpx.AsyncClient]


@pytest.fixture
async def service(settings: Settings, mint: Callable[..., str]) -> AsyncIterator[Running]:
    quick = settings.model_copy(update={"tasks_poll_seconds": 0.05})
    await migrate.migrate(settings)
    async with running(quick, mint(scope=SCOPE)) as found:
        yield found


@pytest.fixture
def client(service: Running) -> httpx.AsyncClient:
    return service[1]


async def until(found: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(30):
        while not await found():  # noqa: ASYNC110 - the database sets no event
            await asyncio.sleep(0.02)


async def imported(client: httpx.AsyncClient, text: str, **headers: str) -> dict[str, Any]:
    """What an import has come to at its end."""
    begun = await client.post(PATH, content=text.encode(), headers=CSV | headers)
    assert begun.status_code == 202, begun.text
    found: dict[str, Any] = begun.json()

    async def ended() -> bool:
        nonlocal found
        found = (await client.get(begun.headers["Location"])).json()
        return bool(found["made"] + len(found["refused"]) == found["lines"])

    await until(ended)
    return found


async def links(service: Running) -> int:
    store: LinkStore = service[0].public.state.links.store
    async with store.database.reading() as connection:
        return int(await connection.scalar(select(func.count()).select_from(LINKS)))


async def test_each_line_makes_a_link(client: httpx.AsyncClient) -> None:
    lines = ["url,slug,expires_at", "https://example.com/a,one,", f'"https://example.com/b",two,{LATER}', ""]
    found = await imported(client, "\r\n".join([*lines, "https://example.com/c,,"]))
    assert (found["lines"], found["made"], found["refused"]) == (3, 3, [])
    assert (await client.get("/one")).headers["Location"] == "https://example.com/a"
    two = (await client.get("/api/v1/links/two")).json()
    assert (two["url"], two["owner"], two["expires_at"][:19]) == ("https://example.com/b", "alice", LATER[:19])
    urls = {each["url"] for each in (await client.get("/api/v1/links")).json()["items"]}
    assert urls == {"https://example.com/a", "https://example.com/b", "https://example.com/c"}


async def test_a_slug_that_is_taken_is_refused_by_its_line(client: httpx.AsyncClient) -> None:
    await client.post("/api/v1/links", json={"url": "https://example.org/", "slug": "mine"})
    found = await imported(client, "slug,url\nmine,https://example.com/\nother,https://example.com/\n")
    assert (found["made"], found["refused"]) == (1, [{"line": 2, "detail": "The slug mine is taken."}])
    assert (await client.get("/mine")).headers["Location"] == "https://example.org/"


async def test_a_slug_that_is_reserved_for_its_owner_is_refused(
    client: httpx.AsyncClient, mint: Callable[..., str]
) -> None:
    bob = {"Authorization": f"Bearer {mint(sub='bob', scope=SCOPE)}"}
    await client.post("/api/v1/links", json={"url": "https://example.org/", "slug": "bobs"}, headers=bob)
    await client.delete("/api/v1/links/bobs", headers=bob)
    found = await imported(client, "slug,url\nbobs,https://example.com/\n")
    assert found["refused"] == [{"line": 2, "detail": "The slug bobs is taken."}]
    assert (await client.get("/bobs")).status_code == 404


async def test_a_link_that_was_missed_before_is_found(client: httpx.AsyncClient) -> None:
    assert (await client.get("/later")).status_code == 404
    await imported(client, "slug,url\nlater,https://example.com/\n")
    assert (await client.get("/later")).status_code == 307


async def test_a_request_that_is_repeated_imports_once(service: Running, client: httpx.AsyncClient) -> None:
    text = "url\nhttps://example.com/a\nhttps://example.com/b\n"
    first = await imported(client, text, **{"Idempotency-Key": "spring"})
    again = await imported(client, text, **{"Idempotency-Key": "spring"})
    assert again == first
    assert await links(service) == 2
    await imported(client, text, **{"Idempotency-Key": "summer"})
    assert await links(service) == 4


async def test_many_lines_are_several_tasks(
    service: Running, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_import, "LINES_OF_TASK", 10)
    found = await imported(client, "url\n" + "https://example.com/\n" * 95)
    assert found["made"] == 95
    assert await links(service) == 95


@pytest.mark.parametrize(
    ("text", "pointer", "detail"),
    [
        ("slug\nmine\n", "#/1", "Begin with a line of the names"),
        ("url,colour\nhttps://example.com/,red\n", "#/1", "Begin with a line of the names"),
        ("url,url\nhttps://example.com/,x\n", "#/1", "Begin with a line of the names"),
        ("url\n", "#", "There is no line with a link."),
        ("url\nhttps://example.com/,more\n", "#/2", "It has 2 values, and the first line 1 names."),
        ("url\nhttps://example.com/\nnowhere\n", "#/3/url", "This is not an absolute URL"),
        ("url\nhttps://links.example.com/x\n", "#/2/url", "The URL leads back to this service."),
        ("url,slug\nhttps://example.com/,a b\n", "#/2/slug", "Use 3 to 64 letters"),
        ("url,expires_at\nhttps://example.com/,tomorrow\n", "#/2/expires_at", "Give a time with a time zone"),
        (
            "url,expires_at\nhttps://example.com/,2020-01-01T00:00:00Z\n",
            "#/2/expires_at",
            "Choose a time in the future",
        ),
        ('url\n"https://example.com/\n', "#/2", "This is no CSV"),
    ],
)
async def test_a_file_with_a_mistake_makes_no_link(
    service: Running, client: httpx.AsyncClient, text: str, pointer: str, detail: str
) -> None:
    answer = await client.post(PATH, content=text.encode(), headers=CSV)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert error["detail"].startswith(detail)
    assert await links(service) == 0


async def test_every_mistake_is_named_up_to_a_hundred(client: httpx.AsyncClient) -> None:
    answer = await client.post(PATH, content=("url\n" + "nowhere\n" * 150).encode(), headers=CSV)
    assert len(answer.json()["errors"]) == 100


async def test_too_many_lines(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_import, "MAX_LINES", 10)
    answer = await client.post(PATH, content=("url\n" + "https://example.com/\n" * 10).encode(), headers=CSV)
    assert answer.json()["errors"] == [{"detail": "Send 10 lines at most.", "pointer": "#/11"}]


async def test_requests_do_not_wait_for_many_lines(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    parse = csv_import.parse

    def watched(text: str, urls: UrlPolicy) -> list[csv_import.Line]:
        threads.append(threading.current_thread())
        return parse(text, urls)

    monkeypatch.setattr(csv_import, "parse", watched)
    await imported(client, "url\nhttps://example.com/\n")
    assert threads
    assert threading.main_thread() not in threads


async def test_what_is_no_text(client: httpx.AsyncClient) -> None:
    answer = await client.post(PATH, content=b"url\n\xff\n", headers=CSV)
    assert answer.json()["errors"] == [{"detail": "The file is not UTF-8.", "pointer": "#"}]


async def test_what_is_no_csv(client: httpx.AsyncClient) -> None:
    answer = await client.post(PATH, json={"url": "https://example.com/"})
    assert answer.status_code == 415


async def test_an_import_is_its_owners(client: httpx.AsyncClient, mint: Callable[..., str]) -> None:
    begun = await client.post(PATH, content=b"url\nhttps://example.com/\n", headers=CSV)
    bob = {"Authorization": f"Bearer {mint(sub='bob', scope=SCOPE)}"}
    assert (await client.get(begun.headers["Location"], headers=bob)).status_code == 404
    assert (await client.get(begun.headers["Location"])).status_code == 200


async def test_old_imports_are_deleted(service: Running, client: httpx.AsyncClient) -> None:
    begun = await client.post(PATH, content=b"url\nhttps://example.com/\n", headers=CSV)
    imports = service[0].public.state.links.imports
    assert await imports.purge(datetime.now(UTC) - timedelta(days=1)) == 0
    assert await imports.purge(datetime.now(UTC) + timedelta(days=1)) == 1
    assert (await client.get(begun.headers["Location"])).status_code == 404
