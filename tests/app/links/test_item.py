"""/api/v1/links/{slug}: reading, changing and deleting one link."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from app.links import item
from keel.service import Apps
from tests.app.subject import Settings
from tests.support.servers import PostgreSQL

pytestmark = pytest.mark.anyio

LINKS = "/api/v1/links"
PAGE = f"{LINKS}/page"
URL, OTHER = "https://example.com/page", "https://example.org/"
LATER = f"{datetime.now(UTC).year + 3}-01-01T00:00:00Z"
Client = Callable[..., httpx.AsyncClient]
Until = Callable[[Callable[[], object]], Awaitable[None]]


@pytest.fixture
async def page(alice: httpx.AsyncClient) -> httpx.Response:
    return await alice.post(LINKS, json={"url": URL, "slug": "page", "expires_at": LATER})


@pytest.mark.usefixtures("page")
@pytest.mark.parametrize("either", ["postgresql"], indirect=True)
async def test_after_a_migration_has_changed_a_column(
    alice: httpx.AsyncClient, postgresql: PostgreSQL, either: Settings
) -> None:
    """A change of a link reads it first, and so finds out."""

    def change(kind: str) -> None:
        alter = f"ALTER TABLE links ALTER url TYPE {kind}"
        postgresql.run("psql", "--quiet", postgresql.url(str(either.database.database)), f"--command={alter}")

    for url, kind in ((f"{URL}?1", "varchar(4096)"), (f"{URL}?2", "text"), (f"{URL}?3", "varchar(4096)")):
        assert (await alice.patch(PAGE, json={"url": url})).status_code == 200
        assert (await alice.get(PAGE)).json()["url"] == url
        change(kind)
        assert (await alice.get(PAGE)).json()["url"] == url


@pytest.mark.usefixtures("page")
class TestAccess:
    REQUESTS = (("GET", PAGE), ("HEAD", PAGE), ("GET", f"{PAGE}/clicks"), ("PATCH", PAGE), ("DELETE", PAGE))

    async def statuses(self, client: httpx.AsyncClient, path: str = "page") -> list[int]:
        return [
            (
                await client.request(
                    method, target.replace("page", path), json={"url": OTHER} if method == "PATCH" else None
                )
            ).status_code
            for method, target in self.REQUESTS
        ]

    async def test_owners_may_do_everything(self, alice: httpx.AsyncClient) -> None:
        assert await self.statuses(alice) == [200, 200, 200, 200, 204]

    async def test_others_nothing(self, bob: httpx.AsyncClient, alice: httpx.AsyncClient) -> None:
        assert await self.statuses(bob) == [403] * 5
        assert (await alice.get(PAGE)).json()["url"] == URL

    async def test_administrators_everything(self, admin: httpx.AsyncClient) -> None:
        assert await self.statuses(admin) == [200, 200, 200, 200, 204]

    @pytest.mark.parametrize(
        ("scope", "expected"),
        [
            ("links:read", [200, 200, 200, 403, 403]),
            ("links:write", [403, 403, 403, 200, 204]),
            ("links:admin", [403] * 5),
            ("", [403] * 5),
        ],
    )
    async def test_each_needs_its_scope(self, as_user: Client, scope: str, expected: list[int]) -> None:
        assert await self.statuses(as_user("alice", scope)) == expected

    async def test_an_administrator_needs_it_too(self, as_user: Client) -> None:
        assert await self.statuses(as_user("root", "links:admin links:read")) == [200, 200, 200, 403, 403]

    @pytest.mark.parametrize("slug", ["unknown", "Page", "%00", "a.b", "%F0%9F%98%80", "x" * 65])
    async def test_an_unknown_link(self, alice: httpx.AsyncClient, slug: str) -> None:
        assert await self.statuses(alice, slug) == [404] * 5

    async def test_without_a_token(self, alice: httpx.AsyncClient) -> None:
        del alice.headers["Authorization"]
        assert await self.statuses(alice) == [401] * 5

    @pytest.mark.parametrize(("path", "allow"), [(PAGE, "GET, HEAD, PATCH, DELETE"), (f"{PAGE}/clicks", "GET, HEAD")])
    async def test_other_methods(self, alice: httpx.AsyncClient, path: str, allow: str) -> None:
        answer = await alice.put(path, json={})
        assert (answer.status_code, answer.headers["allow"]) == (405, allow)


class TestReading:
    async def test_is_what_was_made(self, alice: httpx.AsyncClient, page: httpx.Response) -> None:
        read = await alice.get(PAGE)
        assert read.json() == page.json()
        assert read.headers["etag"] == page.headers["etag"]
        assert read.headers["cache-control"] == "private, no-cache"

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    @pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', "*"])
    async def test_what_is_known_is_not_sent_again(
        self, alice: httpx.AsyncClient, page: httpx.Response, method: str, form: str
    ) -> None:
        etag = page.headers["etag"]
        answer = await alice.request(method, PAGE, headers={"If-None-Match": form.format(etag)})
        assert (answer.status_code, answer.content) == (304, b"")
        assert (answer.headers["etag"], answer.headers["cache-control"]) == (etag, "private, no-cache")
        assert "content-type" not in answer.headers

    @pytest.mark.usefixtures("page")
    @pytest.mark.parametrize("known", ['"other"', "garbage", '"'])
    async def test_what_is_not_known_is_sent(self, alice: httpx.AsyncClient, known: str) -> None:
        assert (await alice.get(PAGE, headers={"If-None-Match": known})).status_code == 200

    @pytest.mark.usefixtures("page")
    async def test_if_match_holds_for_reading_too(self, alice: httpx.AsyncClient) -> None:
        assert (await alice.get(PAGE, headers={"If-Match": '"other"'})).status_code == 412

    @pytest.mark.usefixtures("page")
    async def test_what_belongs_to_others_is_not_told_from_what_is_known(self, bob: httpx.AsyncClient) -> None:
        assert (await bob.get(PAGE, headers={"If-None-Match": "*"})).status_code == 403


class TestClicks:
    async def test_are_apart_from_the_link(self, alice: httpx.AsyncClient, page: httpx.Response, service: Apps) -> None:
        assert (await alice.get(f"{PAGE}/clicks")).json() == {"slug": "page", "clicks": 0}
        for _ in range(3):
            await alice.get("/page")
        await alice.head("/page")
        await service.public.state.links.clicks.flush()
        assert (await alice.get(f"{PAGE}/clicks")).json() == {"slug": "page", "clicks": 3}
        assert (await alice.get(PAGE)).headers["etag"] == page.headers["etag"]
        assert (await alice.get(LINKS)).json()["items"][0]["clicks"] == 3


class TestChanging:
    async def test_changes_what_is_named(self, alice: httpx.AsyncClient, page: httpx.Response) -> None:
        changed = await alice.patch(PAGE, json={"url": OTHER})
        assert changed.status_code == 200
        before, after = page.json(), changed.json()
        assert (after.pop("url"), before.pop("url")) == (OTHER, URL)
        assert after.pop("updated_at") > before.pop("updated_at")
        assert after == before
        assert changed.headers["etag"] != page.headers["etag"]
        assert (await alice.get(PAGE)).json() == changed.json()
        assert (await alice.get("/page")).headers["location"] == OTHER

    @pytest.mark.usefixtures("page")
    async def test_null_removes_the_expiry(self, alice: httpx.AsyncClient) -> None:
        changed = await alice.patch(PAGE, json={"expires_at": None})
        assert (changed.json()["expires_at"], changed.json()["url"]) == (None, URL)

    @pytest.mark.usefixtures("page")
    async def test_an_expiry_can_be_moved(self, alice: httpx.AsyncClient, until: Until) -> None:
        soon = datetime.now(UTC) + timedelta(seconds=1)
        assert (await alice.patch(PAGE, json={"expires_at": soon.isoformat()})).status_code == 200
        assert (await alice.get("/page")).status_code == 307
        await until(lambda: datetime.now(UTC) >= soon)
        assert (await alice.get("/page")).status_code == 410
        await alice.patch(PAGE, json={"expires_at": LATER})
        assert (await alice.get("/page")).status_code == 307

    @pytest.mark.parametrize(
        "body", [{}, {"url": URL}, {"url": URL, "expires_at": LATER.replace("T00:00:00Z", "T01:00:00+01:00")}]
    )
    async def test_a_change_to_what_it_is_is_none(
        self, alice: httpx.AsyncClient, page: httpx.Response, body: object, management: httpx.AsyncClient
    ) -> None:
        same = await alice.patch(PAGE, json=body)
        assert (same.status_code, same.json(), same.headers["etag"]) == (200, page.json(), page.headers["etag"])
        assert "links_changed_total 0.0" in (await management.get("/metrics")).text

    @pytest.mark.usefixtures("page")
    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({"url": None}, "#/url"),
            ({"url": ""}, "#/url"),
            ({"url": "https://links.example.com/page"}, "#/url"),
            ({"expires_at": "2020-01-01T00:00:00Z"}, "#/expires_at"),
            ({"expires_at": 0}, "#/expires_at"),
            ({"slug": "other"}, "#/slug"),
            ({"owner": "bob"}, "#/owner"),
            ([], "#"),
        ],
    )
    async def test_a_change_that_is_not_valid(self, alice: httpx.AsyncClient, body: Any, pointer: str) -> None:
        answer = await alice.patch(PAGE, json=body)
        assert answer.status_code == 422
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]

    @pytest.mark.usefixtures("page")
    @pytest.mark.parametrize(
        ("kind", "status"),
        [("application/merge-patch+json", 200), ("application/json", 200), ("text/plain", 415), ("", 415)],
    )
    async def test_media_types(self, alice: httpx.AsyncClient, kind: str, status: int) -> None:
        answer = await alice.patch(PAGE, content=b'{"expires_at": null}', headers={"Content-Type": kind})
        assert answer.status_code == status

    async def test_is_counted(self, alice: httpx.AsyncClient, page: object, management: httpx.AsyncClient) -> None:
        del page
        await alice.patch(PAGE, json={"url": OTHER})
        await alice.patch(PAGE, json={"url": URL}, headers={"If-Match": '"other"'})
        assert "links_changed_total 1.0" in (await management.get("/metrics")).text


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
class TestPreconditions:
    async def send(self, client: httpx.AsyncClient, method: str, **headers: str) -> httpx.Response:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return await client.request(method, PAGE, json={"url": OTHER} if method == "PATCH" else None, headers=names)

    @pytest.mark.parametrize("form", ["{}", '"other", {}', "*"])
    async def test_that_hold(self, alice: httpx.AsyncClient, page: httpx.Response, method: str, form: str) -> None:
        answer = await self.send(alice, method, if_match=form.format(page.headers["etag"]))
        assert answer.is_success

    @pytest.mark.parametrize("form", ["W/{}", '"other"', "garbage", ""])
    async def test_that_do_not(self, alice: httpx.AsyncClient, page: httpx.Response, method: str, form: str) -> None:
        answer = await self.send(alice, method, if_match=form.format(page.headers["etag"]))
        assert (answer.status_code, answer.headers["etag"]) == (412, page.headers["etag"])
        assert answer.json()["detail"].startswith("The precondition does not hold.")
        assert (await alice.get(PAGE)).json() == page.json()

    async def test_if_none_match(self, alice: httpx.AsyncClient, page: httpx.Response, method: str) -> None:
        assert (await self.send(alice, method, if_none_match=page.headers["etag"])).status_code == 412
        assert (await self.send(alice, method, if_none_match='"other"')).is_success

    async def test_an_etag_of_before(self, alice: httpx.AsyncClient, page: httpx.Response, method: str) -> None:
        await alice.patch(PAGE, json={"expires_at": None})
        assert (await self.send(alice, method, if_match=page.headers["etag"])).status_code == 412

    async def test_an_etag_of_a_deleted_namesake(
        self, alice: httpx.AsyncClient, page: httpx.Response, method: str
    ) -> None:
        await alice.delete(PAGE)
        await alice.post(LINKS, json={"url": URL, "slug": "page"})
        assert (await self.send(alice, method, if_match=page.headers["etag"])).status_code == 412

    @pytest.mark.usefixtures("page")
    async def test_come_after_other_errors(self, alice: httpx.AsyncClient, bob: httpx.AsyncClient, method: str) -> None:
        assert (await self.send(bob, method, if_match='"other"')).status_code == 403
        await alice.delete(PAGE)
        assert (await self.send(alice, method, if_match="*")).status_code == 404


class TestAtOnce:
    async def test_of_many_changes_with_the_same_etag_one_is_made(
        self, either: object, alice: httpx.AsyncClient, page: httpx.Response
    ) -> None:
        del either
        headers = {"If-Match": page.headers["etag"]}
        answers = await asyncio.gather(
            *(alice.patch(PAGE, json={"url": f"{OTHER}{n}"}, headers=headers) for n in range(10))
        )
        (made,) = [answer for answer in answers if answer.status_code == 200]
        assert sorted(answer.status_code for answer in answers) == [200] + [412] * 9
        assert (await alice.get(PAGE)).json() == made.json()

    @pytest.mark.usefixtures("page")
    async def test_without_one_none_is_lost(self, either: object, alice: httpx.AsyncClient) -> None:
        del either
        changes: list[dict[str, Any]] = [{"url": f"{OTHER}{n}"} for n in range(item.ATTEMPTS - 1)]
        answers = await asyncio.gather(*(alice.patch(PAGE, json=change) for change in [*changes, {"expires_at": None}]))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.headers["etag"] for answer in answers}) == item.ATTEMPTS
        link = (await alice.get(PAGE)).json()
        assert link["expires_at"] is None
        assert link["url"] in [change["url"] for change in changes]

    @pytest.mark.usefixtures("page")
    async def test_a_link_is_deleted_once(
        self, either: object, alice: httpx.AsyncClient, management: httpx.AsyncClient
    ) -> None:
        del either
        answers = await asyncio.gather(*(alice.delete(PAGE) for _ in range(8)))
        assert sorted(answer.status_code for answer in answers) == [204] + [404] * 7
        assert "links_deleted_total 1.0" in (await management.get("/metrics")).text

    @pytest.mark.usefixtures("page")
    async def test_a_change_that_others_are_always_faster_than(
        self, service: Apps, alice: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = service.public.state.links.store
        real = store.update

        async def slower(link: Any, changes: Any) -> Any:
            await real(link, {"url": f"{OTHER}{link.version}"})
            return await real(link, changes)

        monkeypatch.setattr(store, "update", slower)
        answer = await alice.patch(PAGE, json={"expires_at": None})
        assert (answer.status_code, answer.json()["detail"]) == (
            409,
            "The link is being changed concurrently. Retry.",
        )


class TestDeleting:
    @pytest.mark.usefixtures("page")
    async def test_is_gone_at_once(self, alice: httpx.AsyncClient) -> None:
        assert (await alice.get("/page")).status_code == 307
        answer = await alice.delete(PAGE)
        assert (answer.status_code, answer.content) == (204, b"")
        assert (await alice.get("/page")).status_code == 404
        assert (await alice.get(PAGE)).status_code == 404
        assert (await alice.post(LINKS, json={"url": URL, "slug": "page"})).status_code == 201
