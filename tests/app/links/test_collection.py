"""/api/v1/links: making links, and listing them."""

import asyncio
import re
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from app.links import validation
from keel.service import Apps

pytestmark = pytest.mark.anyio

LINKS = "/api/v1/links"
URL = "https://example.com/page"
YEAR = datetime.now(UTC).year + 3
Client = Callable[..., httpx.AsyncClient]


def in_days(days: float) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat()


def errors(answer: httpx.Response) -> list[Any]:
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    found: list[Any] = answer.json()["errors"]
    return found


class TestMaking:
    async def test_makes_a_link_and_follows_it(self, alice: httpx.AsyncClient) -> None:
        made = await alice.post(LINKS, json={"url": URL, "slug": "page", "expires_at": f"{YEAR}-01-01T00:00:00+01:00"})
        assert made.status_code == 201
        assert made.headers["location"] == "https://links.example.com/page"
        assert re.fullmatch(r'"[0-9a-f]+-1"', made.headers["etag"])
        assert "idempotent-replayed" not in made.headers
        body = made.json()
        assert body["created_at"] == body["updated_at"]
        assert body.pop("created_at").endswith("Z")
        del body["updated_at"]
        assert body == {
            "slug": "page",
            "url": URL,
            "short_url": "https://links.example.com/page",
            "owner": "alice",
            "expires_at": f"{YEAR - 1}-12-31T23:00:00Z",
        }
        assert (await alice.get("/page")).headers["location"] == URL

    async def test_makes_up_a_slug(self, alice: httpx.AsyncClient) -> None:
        made = (await alice.post(LINKS, json={"url": "https://example.com"})).json()
        assert made["expires_at"] is None
        assert (await alice.get(f"/{made['slug']}")).headers["location"] == "https://example.com/"

    async def test_a_slug_is_taken_once(self, alice: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
        await alice.post(LINKS, json={"url": URL, "slug": "page"})
        answer = await bob.post(LINKS, json={"url": "https://example.org", "slug": "page"})
        assert answer.status_code == 409
        assert answer.json()["detail"] == "The slug page is taken. Choose another one."
        assert (await alice.get("/page")).headers["location"] == URL

    async def test_a_deleted_slug_is_as_taken_as_one_in_use(
        self, alice: httpx.AsyncClient, bob: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        body = {"url": URL, "slug": "page"}

        async def refused() -> dict[str, object]:
            answer = await bob.post(LINKS, json=body)
            problem: dict[str, object] = answer.json()
            assert problem.pop("request_id")
            return problem

        await alice.post(LINKS, json=body)
        in_use = await refused()
        assert (await admin.delete(f"{LINKS}/page")).status_code == 204
        assert await refused() == in_use
        assert in_use["status"] == 409
        assert (await alice.post(LINKS, json=body)).status_code == 201  # whose it was

    @pytest.mark.parametrize(
        ("body", "pointer", "detail"),
        [
            ({}, "#/url", "Field required"),
            ({"url": 1}, "#/url", "It should be a valid string"),
            ({"url": None}, "#/url", "It should be a valid string"),
            ({"url": ""}, "#/url", "String should have at least 1 character"),
            ({"url": "mailto:me@example.com"}, "#/url", "The URL must begin with http:// or https://"),
            ({"url": "https://links.example.com/a"}, "#/url", "The URL leads back to this service."),
            ({"url": "https://TEST./a"}, "#/url", "The URL leads back to this service."),
            ({"url": URL, "slug": "a b"}, "#/slug", "Use 3 to 64 letters"),
            ({"url": URL, "slug": "api"}, "#/slug", "This slug is reserved"),
            ({"url": URL, "slug": "1ogin"}, "#/slug", "This slug is reserved"),
            ({"url": URL, "slgu": "a"}, "#/slgu", "Extra inputs are not permitted"),
            ({"url": URL, "owner": "bob"}, "#/owner", "Extra inputs are not permitted"),
            ({"url": URL, "expires_at": in_days(-0.001)}, "#/expires_at", "Choose a time in the future"),
            ({"url": URL, "expires_at": in_days(3654)}, "#/expires_at", "Choose a time in the future"),
            ({"url": URL, "expires_at": "9999-12-31T23:59:59-23:59"}, "#/expires_at", "Choose a time in the future"),
            ({"url": URL, "expires_at": "0001-01-01T00:00:00+23:59"}, "#/expires_at", "Choose a time in the future"),
            ({"url": URL, "expires_at": "2030-01-01T00:00:00"}, "#/expires_at", "Give a time with a time zone"),
            ({"url": URL, "expires_at": "2030-01-01"}, "#/expires_at", "Give a time with a time zone"),
            ({"url": URL, "expires_at": 1893456000}, "#/expires_at", "Give a time with a time zone"),
            ({"url": URL, "expires_at": "1893456000"}, "#/expires_at", "Give a time with a time zone"),
            ({"url": URL, "expires_at": "2030-02-30T00:00:00Z"}, "#/expires_at", "It should be a valid datetime"),
            ([], "#", "It should be a valid dictionary"),
        ],
    )
    async def test_a_body_that_is_not_valid(
        self, alice: httpx.AsyncClient, body: object, pointer: str, detail: str
    ) -> None:
        (error,) = errors(await alice.post(LINKS, json=body))
        assert error["pointer"] == pointer
        assert error["detail"].startswith(detail)

    @pytest.mark.parametrize(
        ("body", "pointers"),
        [
            ({"url": "ftp://a", "z": 1, "slug": "a b"}, ["#/url", "#/slug", "#/z"]),
            ({"url": "https://links.example.com/x", "expires_at": -1}, ["#/url", "#/expires_at"]),
        ],
    )
    async def test_everything_wrong_is_said_at_once(
        self, alice: httpx.AsyncClient, body: dict[str, Any], pointers: list[str]
    ) -> None:
        sent = body | ({"expires_at": in_days(-1)} if "expires_at" in body else {})
        found = errors(await alice.post(LINKS, json=sent))
        assert [error["pointer"] for error in found] == pointers

    @pytest.mark.parametrize(("client", "status"), [("as_anyone", 401), ("as_reader", 403)])
    async def test_needs_the_scope(self, as_user: Client, client: str, status: int) -> None:
        user = as_user(scope="links:read links:admin")
        if client == "as_anyone":
            del user.headers["Authorization"]
        assert (await user.post(LINKS, json={"url": URL})).status_code == status

    async def test_nobody_goes_where_a_link_leads(self, alice: httpx.AsyncClient) -> None:
        """Not when it is made, and not when it is followed: it may name what only the service reaches."""
        with socket.create_server(("127.0.0.2", 0)) as listener:
            listener.setblocking(False)
            url = f"http://127.0.0.2:{listener.getsockname()[1]}/"
            made = await alice.post(LINKS, json={"url": url})
            assert (await alice.get(f"/{made.json()['slug']}")).headers["location"] == url
            with pytest.raises(BlockingIOError):
                listener.accept()

    async def test_is_counted(self, alice: httpx.AsyncClient, management: httpx.AsyncClient) -> None:
        for _ in range(2):
            await alice.post(LINKS, json={"url": URL, "slug": "page"}, headers={"Idempotency-Key": "a"})
        await alice.post(LINKS, json={"url": URL, "slug": "page"})
        assert "links_created_total 1.0" in (await management.get("/metrics")).text


class TestIdempotency:
    async def test_the_same_request_gets_the_same_answer(self, either: object, alice: httpx.AsyncClient) -> None:
        del either
        headers = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}
        first = await alice.post(LINKS, json={"url": URL}, headers=headers)
        again = await alice.post(LINKS, json={"url": URL}, headers=headers)
        assert (first.status_code, again.status_code) == (201, 201)
        assert again.content == first.content
        assert again.headers["idempotent-replayed"] == "true"
        for name in ("location", "etag", "content-type"):
            assert again.headers[name] == first.headers[name]
        assert len((await alice.get(LINKS)).json()["items"]) == 1

    async def test_even_when_its_slug_is_taken_by_what_it_made(self, alice: httpx.AsyncClient) -> None:
        body, headers = {"url": URL, "slug": "page"}, {"Idempotency-Key": "a"}
        first = await alice.post(LINKS, json=body, headers=headers)
        again = await alice.post(LINKS, json=body, headers=headers)
        assert again.content == first.content

    async def test_even_when_it_would_no_longer_be_valid(
        self, alice: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        body, headers = {"url": URL, "expires_at": in_days(10)}, {"Idempotency-Key": "a"}
        first = await alice.post(LINKS, json=body, headers=headers)
        monkeypatch.setattr(validation, "LONGEST_LIFE", timedelta(days=1))
        assert (await alice.post(LINKS, json=body)).status_code == 422
        assert (await alice.post(LINKS, json=body, headers=headers)).content == first.content

    async def test_even_when_what_it_made_was_changed(self, alice: httpx.AsyncClient) -> None:
        headers = {"Idempotency-Key": "a"}
        first = await alice.post(LINKS, json={"url": URL}, headers=headers)
        await alice.delete(f"{LINKS}/{first.json()['slug']}")
        again = await alice.post(LINKS, json={"url": URL}, headers=headers)
        assert (again.status_code, again.content) == (201, first.content)

    @pytest.mark.parametrize("body", [{"url": "https://example.org"}, {"url": URL, "slug": "page"}])
    async def test_another_request_cannot_use_the_key(self, alice: httpx.AsyncClient, body: object) -> None:
        headers = {"Idempotency-Key": "a"}
        await alice.post(LINKS, json={"url": URL}, headers=headers)
        (error,) = errors(await alice.post(LINKS, json=body, headers=headers))
        assert error["parameter"] == "Idempotency-Key"
        assert "a different body" in error["detail"]

    async def test_a_key_is_its_owners(self, alice: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
        headers = {"Idempotency-Key": "a"}
        await alice.post(LINKS, json={"url": URL}, headers=headers)
        answer = await bob.post(LINKS, json={"url": "https://example.org"}, headers=headers)
        assert (answer.status_code, answer.json()["owner"]) == (201, "bob")

    async def test_a_request_that_made_nothing_can_be_mended(self, alice: httpx.AsyncClient) -> None:
        headers = {"Idempotency-Key": "a"}
        await alice.post(LINKS, json={"url": URL, "slug": "page"})
        assert (await alice.post(LINKS, json={"url": URL, "slug": "page"}, headers=headers)).status_code == 409
        assert (await alice.post(LINKS, json={"url": URL, "slug": "other"}, headers=headers)).status_code == 201

    @pytest.mark.parametrize("key", ["a" * 255, "!", "a b", '"quoted"', "~"])
    async def test_keys(self, alice: httpx.AsyncClient, key: str) -> None:
        for replayed in (None, "true"):
            answer = await alice.post(LINKS, json={"url": URL}, headers={"Idempotency-Key": key})
            assert (answer.status_code, answer.headers.get("idempotent-replayed")) == (201, replayed)

    @pytest.mark.parametrize("key", [b"", b"a" * 256, b"\xe4", b"a\tb", b"a\x7f"])
    async def test_what_is_no_key(self, alice: httpx.AsyncClient, key: bytes) -> None:
        (error,) = errors(await alice.post(LINKS, json={"url": URL}, headers={b"Idempotency-Key": key}))
        assert error["parameter"] == "Idempotency-Key"

    @pytest.mark.parametrize("slug", [None, "wanted"])
    async def test_of_many_at_once_one_makes_a_link_and_all_get_its_answer(
        self, either: object, alice: httpx.AsyncClient, slug: str | None
    ) -> None:
        del either
        headers = {"Idempotency-Key": "a"}
        body = {"url": URL} | ({"slug": slug} if slug else {})
        answers = await asyncio.gather(*(alice.post(LINKS, json=body, headers=headers) for _ in range(12)))
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.content for answer in answers}) == 1
        assert sum("idempotent-replayed" in answer.headers for answer in answers) == 11
        assert len((await alice.get(LINKS)).json()["items"]) == 1

    async def test_a_key_that_runs_out_at_this_moment(
        self, service: Apps, alice: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        headers = {"Idempotency-Key": "a"}
        await alice.post(LINKS, json={"url": URL}, headers=headers)

        async def gone(_: object) -> None:
            return None

        monkeypatch.setattr(type(service.public.state.links.keys), "answer", lambda _, request: gone(request))
        answer = await alice.post(LINKS, json={"url": URL}, headers=headers)
        assert (answer.status_code, answer.json()["detail"]) == (
            409,
            "This Idempotency-Key has just expired. Use another one.",
        )


class TestListing:
    @pytest.fixture
    async def five(self, alice: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
        for number in range(5):
            await alice.post(LINKS, json={"url": URL, "slug": f"page-{number}"})
        await bob.post(LINKS, json={"url": URL, "slug": "bobs-page"})

    def slugs(self, answer: httpx.Response) -> list[str]:
        assert answer.status_code == 200
        return [item["slug"] for item in answer.json()["items"]]

    @pytest.mark.usefixtures("five")
    async def test_lists_your_own_newest_first(self, alice: httpx.AsyncClient) -> None:
        answer = await alice.get(LINKS)
        assert self.slugs(answer) == [f"page-{number}" for number in (4, 3, 2, 1, 0)]
        assert answer.json()["next_cursor"] is None
        assert "link" not in answer.headers
        assert answer.json()["items"][0].keys() == {
            *("slug", "url", "short_url", "owner", "created_at", "updated_at", "expires_at", "clicks"),
        }

    async def test_nothing_to_list(self, alice: httpx.AsyncClient) -> None:
        assert (await alice.get(LINKS)).json() == {"items": [], "next_cursor": None}

    @pytest.mark.usefixtures("five")
    async def test_pages_follow_each_other(self, either: object, alice: httpx.AsyncClient) -> None:
        del either
        seen, answer = [], await alice.get(LINKS, params={"limit": 2})
        seen.append(self.slugs(answer))
        while cursor := answer.json()["next_cursor"]:
            target = answer.headers["link"]
            assert target == f'</api/v1/links?limit=2&cursor={cursor}>; rel="next"'
            answer = await alice.get(answer.links["next"]["url"])
            assert self.slugs(answer) == self.slugs(await alice.get(LINKS, params={"limit": 2, "cursor": cursor}))
            seen.append(self.slugs(answer))
        assert seen == [["page-4", "page-3"], ["page-2", "page-1"], ["page-0"]]
        assert "link" not in answer.headers

    @pytest.mark.usefixtures("five")
    async def test_the_last_page_may_be_full(self, alice: httpx.AsyncClient) -> None:
        answer = await alice.get(LINKS, params={"limit": 5})
        assert (len(self.slugs(answer)), answer.json()["next_cursor"]) == (5, None)

    @pytest.mark.usefixtures("five")
    async def test_links_of_others_need_the_scope(
        self, alice: httpx.AsyncClient, bob: httpx.AsyncClient, admin: httpx.AsyncClient, as_user: Client
    ) -> None:
        assert self.slugs(await admin.get(LINKS, params={"owner": "bob"})) == ["bobs-page"]
        assert self.slugs(await admin.get(LINKS)) == []
        assert self.slugs(await bob.get(LINKS, params={"owner": "bob"})) == ["bobs-page"]
        refused = await alice.get(LINKS, params={"owner": "bob"})
        assert (refused.status_code, "links:admin" in refused.json()["detail"]) == (403, True)
        alone = as_user("root", "links:admin")
        assert (await alone.get(LINKS, params={"owner": "bob"})).status_code == 403

    @pytest.mark.parametrize("name", ["' OR '1'='1", "bob'; DROP TABLE links; --", "%"])
    async def test_a_name_that_would_be_sql_is_a_name(
        self, either: object, bob: httpx.AsyncClient, admin: httpx.AsyncClient, as_user: Client, name: str
    ) -> None:
        del either
        await bob.post(LINKS, json={"url": URL, "slug": "bobs-page"})
        named = as_user(name)
        assert self.slugs(await named.get(LINKS)) == []
        assert (await named.post(LINKS, json={"url": URL, "slug": "own-page"})).json()["owner"] == name
        assert self.slugs(await named.get(LINKS)) == ["own-page"]
        assert self.slugs(await admin.get(LINKS, params={"owner": name})) == ["own-page"]
        assert self.slugs(await bob.get(LINKS)) == ["bobs-page"]

    @pytest.mark.usefixtures("five")
    async def test_the_next_page_is_of_the_same_owner(self, admin: httpx.AsyncClient) -> None:
        answer = await admin.get(LINKS, params={"owner": "alice", "limit": 3})
        assert self.slugs(await admin.get(answer.links["next"]["url"])) == ["page-1", "page-0"]

    @pytest.mark.parametrize(
        "query",
        [
            *("cursor=", "cursor=AAAA", "cursor=%00", "cursor=%F0%9F%98%80", "cursor=" + "A" * 40),
            *("cursor=" + "A" * 200, "limit=0", "limit=101", "limit=many", "limit=", "owner=", "owner=%00"),
            "owner=" + "a" * 256,
            *("limit=1&limit=2", "owner=alice&owner=bob"),
        ],
    )
    async def test_a_parameter_that_is_not_valid(self, admin: httpx.AsyncClient, query: str) -> None:
        (error,) = errors(await admin.get(f"{LINKS}?{query}"))
        assert error["parameter"] == query.partition("=")[0]

    @pytest.mark.parametrize(("scope", "status"), [("links:write", 403), ("links:admin", 403), ("links:read", 200)])
    async def test_needs_the_scope(self, as_user: Client, scope: str, status: int) -> None:
        assert (await as_user(scope=scope).get(LINKS)).status_code == status

    @pytest.mark.usefixtures("five")
    async def test_head(self, alice: httpx.AsyncClient) -> None:
        get, head = await alice.get(LINKS, params={"limit": 1}), await alice.head(LINKS, params={"limit": 1})
        assert head.status_code == 200
        assert head.headers["link"] == get.headers["link"]
        assert head.headers["content-length"] == get.headers["content-length"]

    async def test_other_methods(self, alice: httpx.AsyncClient) -> None:
        answer = await alice.delete(LINKS)
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, POST")
