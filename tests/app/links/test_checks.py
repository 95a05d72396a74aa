"""Targets of links are asked whether they are still there, and a report says which are not."""

import asyncio
import ipaddress
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from sqlalchemy import insert, select

from app.links import checks
from app.links.models import CHECKS
from app.links.reachability import CARRIERS, Finding, ask, is_public
from app.links.settings import LinkSettings
from keel.data import migrate
from keel.data.database import Database
from keel.tasks.tables import SCHEDULES, TASKS
from tests.app.instances import running
from tests.app.subject import Settings

pytestmark = pytest.mark.anyio

SCOPE = "links:read links:write links:admin"


class Site(ThreadingHTTPServer):
    """Answers /404 with 404, and notes what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.2", 0), _Answer)  # 127.0.0.1 is the service
        self.asked: list[tuple[str, str]] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.2:{self.server_port}{path}"


class _Answer(BaseHTTPRequestHandler):
    server: Site

    def do_HEAD(self) -> None:
        self.server.asked.append((self.command, self.path))
        self.send_response(int(self.path.strip("/").split("?")[0]))
        self.send_header("Location", self.server.url("/404"))
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        yield site
        site.shutdown()


@asynccontextmanager
async def service(settings: Settings, token: str, **chosen: Any) -> AsyncIterator[tuple[httpx.AsyncClient, Database]]:
    """A service that checks targets."""
    quick = settings.model_copy(update={"tasks_poll_seconds": 0.05})
    own = LinkSettings(check_targets=True, **chosen)
    await migrate.migrate(settings)
    async with running(quick, token, {"links": own}) as (apps, client):
        yield client, apps.public.state.links.store.database


async def until(found: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(30):
        while not await found():  # noqa: ASYNC110 - the database sets no event
            await asyncio.sleep(0.02)


async def checked(database: Database) -> dict[str, tuple[Any, ...]]:
    """Status, error and number of checks by slug."""
    async with database.reading() as connection:
        rows = (await connection.execute(select(CHECKS))).all()
    return {row.slug: (row.status, row.error, row.checks) for row in rows}


async def make(client: httpx.AsyncClient, **links: str) -> None:
    for slug, url in links.items():
        made = await client.post("/api/v1/links", json={"url": url, "slug": slug})
        assert made.status_code == 201, made.text


@pytest.mark.parametrize(
    ("path", "finding"),
    [
        ("/200", Finding(200, None)),
        ("/302", Finding(302, None)),  # it is there; where it leads to is not asked
        ("/401", Finding(401, None)),
        ("/405", Finding(405, None)),
        ("/404", Finding(404, "status 404")),
        ("/410", Finding(410, "status 410")),
        ("/503", Finding(503, "status 503")),
    ],
)
async def test_what_a_target_answers(site: Site, path: str, finding: Finding) -> None:
    assert await ask(site.url(path + "?q=1"), public_only=False) == finding
    assert site.asked == [("HEAD", path + "?q=1")]


async def test_a_target_that_is_not_there(site: Site) -> None:
    nobody = site.url("/200")
    site.server_close()
    assert await ask(nobody, public_only=False) == Finding(None, "no answer")
    assert await ask("http://no-such-name.invalid/", public_only=False) == Finding(None, "no answer")


async def test_a_target_without_the_tls_that_it_promises(site: Site) -> None:
    url = site.url("/200").replace("http:", "https:")
    assert await ask(url, public_only=False) == Finding(None, "no TLS connection")


async def test_addresses_that_are_not_public_are_not_asked(site: Site) -> None:
    for host in ("127.0.0.2", "localhost"):
        url = f"http://{host}:{site.server_port}/200"
        assert await ask(url) == Finding(None, "its address is not public")
    assert site.asked == []


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.10.10",
        "172.16.0.1",
        "192.168.0.1",
        "224.0.0.1",
        "::1",
        "fd00::1",
        "fe80::1",
        "ff02::1",
        *(str(carrier[1]) for carrier in CARRIERS),
        str(ipaddress.IPv6Address((0xFFFF << 32) + int(ipaddress.IPv4Address("10.1.2.3")))),
    ],
)
def test_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700:4700::1111"])
def test_public(address: str) -> None:
    assert is_public(address)


async def test_each_new_link_is_checked_once(settings: Settings, mint: Callable[..., str], site: Site) -> None:
    async with service(settings, mint(scope=SCOPE), check_private_targets=True) as (client, database):
        await make(client, fine=site.url("/200"), gone=site.url("/404"))

        async def done() -> bool:
            async with database.reading() as connection:
                return len(await checked(database)) == 2 and not (await connection.execute(select(TASKS))).all()

        await until(done)
        assert await checked(database) == {"fine": (200, None, 1), "gone": (404, "status 404", 1)}


async def test_no_link_no_check(settings: Settings, mint: Callable[..., str], site: Site) -> None:
    held = settings.model_copy(update={"tasks_at_once": 0})
    async with service(held, mint(scope=SCOPE)) as (client, database):
        await make(client, page=site.url("/200"))
        taken = await client.post("/api/v1/links", json={"url": site.url("/200"), "slug": "page"})
        assert taken.status_code == 409
        async with database.reading() as connection:
            assert len((await connection.execute(select(TASKS))).all()) == 1


async def test_each_night_all_are_checked_and_a_report_is_written(
    settings: Settings, mint: Callable[..., str], site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "PAGE", 2)
    held = settings.model_copy(update={"tasks_at_once": 0})
    token = mint(scope=SCOPE)
    async with running(held, token) as (apps, client):
        await migrate.migrate(settings)
        await make(
            client, **{f"page-{n}": site.url(f"/{status}") for n, status in enumerate([200, 404, 301, 200, 500])}
        )
        async with apps.public.state.links.store.database.transaction() as connection:
            yesterday = {"name": checks.CHECK_ALL.name, "done_until": time.time() - 86_400}
            await connection.execute(insert(SCHEDULES).values(yesterday))
            await connection.commit()
        assert (await client.get("/api/v1/target-reports")).json() == {"items": []}
    async with service(settings, token, check_private_targets=True) as (client, _):

        async def reports() -> Any:
            return (await client.get("/api/v1/target-reports")).json()["items"]

        await until(reports)
        (report,) = await reports()
    assert (report["checked"], report["broken"]) == (5, 2)
    assert report["examples"] == [
        {"slug": "page-1", "url": site.url("/404"), "error": "status 404"},
        {"slug": "page-4", "url": site.url("/500"), "error": "status 500"},
    ]
    assert len(site.asked) == 5


async def test_a_report_is_for_administrators(alice: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    assert (await alice.get("/api/v1/target-reports")).status_code == 403
    assert (await admin.get("/api/v1/target-reports")).json() == {"items": []}
