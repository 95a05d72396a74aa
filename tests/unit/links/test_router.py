from collections.abc import Callable

import httpx
import pytest

from app.links.models import Link
from app.main import Service

pytestmark = pytest.mark.anyio

LINKS = "/api/v1/links"


async def test_makes_a_link_and_follows_it(writer: httpx.AsyncClient) -> None:
    made = await writer.post(LINKS, json={"url": "https://example.com/page", "slug": "page"})
    assert made.status_code == 201
    assert made.headers["location"] == "https://links.example.com/page"
    body = made.json()
    assert body.pop("created_at").endswith("Z")
    assert body == {
        "slug": "page",
        "url": "https://example.com/page",
        "short_url": "https://links.example.com/page",
    }

    followed = await writer.get("/page")
    assert (followed.status_code, followed.headers["location"]) == (307, "https://example.com/page")
    assert followed.headers["cache-control"] == "no-store"
    assert followed.headers["cross-origin-resource-policy"] == "cross-origin"


async def test_makes_up_a_slug(writer: httpx.AsyncClient) -> None:
    made = (await writer.post(LINKS, json={"url": "https://example.com"})).json()
    assert (await writer.get(f"/{made['slug']}")).headers["location"] == "https://example.com/"


async def test_head_is_answered_like_get(writer: httpx.AsyncClient) -> None:
    await writer.post(LINKS, json={"url": "https://example.com", "slug": "page"})
    answer = await writer.head("/page")
    assert (answer.status_code, answer.headers["location"]) == (307, "https://example.com/")


@pytest.mark.parametrize("path", ["/unknown", "/favicon.ico", "/ab", "/%00", "/a%2Fb"])
async def test_an_unknown_link_is_not_found(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["title"]) == (404, "Not Found")


async def test_a_slug_is_taken_once(writer: httpx.AsyncClient) -> None:
    await writer.post(LINKS, json={"url": "https://example.com", "slug": "page"})
    answer = await writer.post(LINKS, json={"url": "https://example.org", "slug": "page"})
    assert answer.status_code == 409
    assert answer.json()["detail"] == "The slug page is taken. Choose another one."
    assert (await writer.get("/page")).headers["location"] == "https://example.com/"


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        ({}, "#/url", "Field required"),
        ({"url": 1}, "#/url", "It should be a valid string"),
        ({"url": "mailto:me@example.com"}, "#/url", "Only URLs that begin with http:// or https://"),
        ({"url": "https://links.example.com/a"}, "#/url", "The URL leads back to this service."),
        ({"url": "https://example.com", "slug": "a b"}, "#/slug", "Use 3 to 64 letters"),
        ({"url": "https://example.com", "slug": "api"}, "#/slug", "This slug is reserved."),
        ({"url": "https://example.com", "slgu": "a"}, "#/slgu", "Extra inputs are not permitted"),
        ([], "#", "It should be a valid dictionary"),
    ],
)
async def test_a_body_that_is_not_valid(writer: httpx.AsyncClient, body: object, pointer: str, detail: str) -> None:
    answer = await writer.post(LINKS, json=body)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert error["detail"].startswith(detail)


async def test_making_links_needs_the_scope(client: httpx.AsyncClient, mint: Callable[..., str]) -> None:
    headers = {"Authorization": f"Bearer {mint(scope='links:read')}"}
    answer = await client.post(LINKS, json={"url": "https://example.com"}, headers=headers)
    assert answer.status_code == 403


async def test_links_are_counted(writer: httpx.AsyncClient, management: httpx.AsyncClient) -> None:
    await writer.post(LINKS, json={"url": "https://example.com", "slug": "page"})
    await writer.post(LINKS, json={"url": "https://example.com", "slug": "page"})
    for path in ("/page", "/page", "/unknown"):
        await writer.get(path)
    metrics = (await management.get("/metrics")).text
    assert "links_created_total 1.0" in metrics
    assert "links_followed_total 2.0" in metrics


async def test_the_owner_is_the_subject_of_the_token(
    service: Service, client: httpx.AsyncClient, mint: Callable[..., str]
) -> None:
    headers = {"Authorization": f"Bearer {mint(sub='bob')}"}
    await client.post(LINKS, json={"url": "https://example.com", "slug": "page"}, headers=headers)
    links = service.public.state.links
    async with links.store.database.session() as session:
        assert (await session.get_one(Link, "page")).owner == "bob"
