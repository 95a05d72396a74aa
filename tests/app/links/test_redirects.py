import asyncio
import time
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi.routing import iter_route_contexts
from sqlalchemy import insert

from app.links import models, redirects, slugs
from app.links.models import Link
from app.links.store import LinkStore
from keel.service import Apps
from tests.app.subject import SERVICE, Settings

pytestmark = pytest.mark.anyio

LINKS = "/api/v1/links"
URL = "https://example.com/page"


@pytest.fixture
async def page(alice: httpx.AsyncClient) -> None:
    await alice.post(LINKS, json={"url": URL, "slug": "page"})


@pytest.fixture
def visitor(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """Without a token."""
    return client


@pytest.mark.usefixtures("page")
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_leads_to_the_target(visitor: httpx.AsyncClient, method: str) -> None:
    answer = await visitor.request(method, "/page?utm=1")
    assert (answer.status_code, answer.headers["location"], answer.content) == (307, URL, b"")
    assert answer.headers["content-length"] == "0"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"


async def test_the_target_is_sent_as_it_was_normalised(alice: httpx.AsyncClient) -> None:
    await alice.post(LINKS, json={"url": "https://münchen.example/ü?q={a}|%zz#ß", "slug": "page"})
    location = (await alice.get("/page")).headers["location"]
    assert location == "https://xn--mnchen-3ya.example/%C3%BC?q={a}|%zz#%C3%9F"


@pytest.mark.parametrize("path", ["/unknown", "/favicon.ico", "/ab", "/%00", "/a%2Fb", "/" + "x" * 65, "/%F0%9F%98%80"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_an_unknown_link(visitor: httpx.AsyncClient, path: str, method: str) -> None:
    answer = await visitor.request(method, path)
    assert answer.status_code == 404
    if method == "GET":
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["title"] == "Not Found"


@pytest.mark.usefixtures("page")
async def test_other_methods(visitor: httpx.AsyncClient) -> None:
    answer = await visitor.post("/page")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


async def test_an_expired_link_is_gone_even_if_cached(
    alice: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    expires_at = datetime.now(UTC) + timedelta(hours=1)
    await alice.post(LINKS, json={"url": URL, "slug": "page", "expires_at": expires_at.isoformat()})
    assert (await alice.get("/page")).status_code == 307
    monkeypatch.setattr(redirects, "time", lambda: time.time() + 3601)
    answer = await alice.get("/page")
    assert (answer.status_code, answer.json()["detail"]) == (410, "This link has expired.")
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await alice.get(f"{LINKS}/page")).status_code == 200


@pytest.mark.usefixtures("page")
async def test_links_are_counted(
    service: Apps, alice: httpx.AsyncClient, management: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    expires_at = datetime.now(UTC) + timedelta(hours=1)
    await alice.post(LINKS, json={"url": URL, "slug": "soon", "expires_at": expires_at.isoformat()})
    for path in ("/page", "/page", "/unknown", "/u"):
        await alice.get(path)
    await alice.head("/page")
    monkeypatch.setattr(redirects, "time", lambda: time.time() + 3601)
    await alice.get("/soon")
    await service.public.state.links.clicks.flush()
    metrics = (await management.get("/metrics")).text
    assert "links_followed_total 3.0" in metrics
    assert 'links_missed_total{reason="not_found"} 2.0' in metrics
    assert 'links_missed_total{reason="expired"} 1.0' in metrics
    assert "link_clicks_flushed_total 2.0" in metrics


@pytest.mark.usefixtures("page")
async def test_is_measured_by_its_template(visitor: httpx.AsyncClient, management: httpx.AsyncClient) -> None:
    await visitor.get("/page")
    assert 'method="GET",route="/{slug}",status="307"' in (await management.get("/metrics")).text


async def test_an_answer_from_memory_waits_for_nothing(service: Apps, page: None) -> None:
    """It never gives the loop away, so however many wait, nothing else delays it."""
    del page
    links = service.public.state.links
    endpoint = redirects.Redirects(links.store, links.clicks, links.metrics)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError

    scope = {"type": "http", "method": "GET", "path_params": {"slug": "page"}}
    await endpoint(scope, receive, send)
    with pytest.raises(StopIteration):
        endpoint(scope, receive, send).send(None)
    assert [message.get("status") for message in sent] == [307, None, 307, None]


async def test_not_one_click_is_lost_when_it_stops(either: Settings, service: Apps, alice: httpx.AsyncClient) -> None:
    del service
    for slug in ("page-a", "page-b", "page-c"):
        await alice.post(LINKS, json={"url": URL, "slug": slug})
    busy = SERVICE.build(either.model_copy(update={"click_flush_seconds": 0.01}))
    followed: Counter[str] = Counter()
    async with busy.public.router.lifespan_context(busy.public):
        transport = httpx.ASGITransport(busy.public)
        async with httpx.AsyncClient(transport=transport, base_url="https://links.example.com") as visitor:

            async def follow(slug: str) -> None:
                for _ in range(40):
                    answer = await visitor.get(f"/{slug}")
                    assert answer.status_code == 307
                    followed[slug] += 1

            await asyncio.gather(*(follow(slug) for slug in ("page-a", "page-b", "page-c") for _ in range(3)))
    assert followed == {"page-a": 120, "page-b": 120, "page-c": 120}
    for slug, clicks in followed.items():
        assert (await alice.get(f"{LINKS}/{slug}/clicks")).json()["clicks"] == clicks


async def test_a_link_of_a_slug_reserved_since_still_works(service: Apps, visitor: httpx.AsyncClient) -> None:
    store: LinkStore = service.public.state.links.store
    async with store.database.transaction() as connection:
        await connection.execute(insert(models.LINKS), asdict(Link("dashboard", URL, "alice", datetime.now(UTC))))
        await connection.commit()
    assert (await visitor.get("/dashboard")).headers["location"] == URL


async def test_pages_come_before_links(settings: Settings) -> None:
    """A page whose name could be a slug must be reserved, or a redirect would answer in its place."""
    app = SERVICE.build(settings).public
    paths = {str(context.path) for context in iter_route_contexts(app.routes)}
    pages = {path for path in paths if path.count("/") == 1 and slugs.is_valid(path[1:])}
    assert "/docs" in pages
    assert {path[1:] for path in pages} <= slugs.RESERVED
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://links.example.com") as client:
        assert (await client.get("/docs")).headers["content-type"].startswith("text/html")
