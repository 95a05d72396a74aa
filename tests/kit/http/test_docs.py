"""The page of the API's documentation, over HTTP and in a real browser."""

import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from keel.http import docs
from keel.http.docs import MEDIA_TYPES
from tests.kit.subject import SERVICE, Settings
from toolkit import browser as system

pytestmark = pytest.mark.anyio

SCREENSHOT = Path(docs.__file__).parent.parent.parent / "build" / "report" / "docs.png"


@pytest.mark.parametrize(
    ("environment", "chosen", "there"),
    [
        *(("local", "auto", True), ("staging", "auto", True), ("production", "auto", False)),
        *(("production", "on", True), ("local", "off", False)),
    ],
)
async def test_where_it_is(settings: Settings, environment: str, chosen: str, there: bool) -> None:
    changes = {"environment": environment, "docs": chosen, "database_url": settings.database_url}
    transport = httpx.ASGITransport(SERVICE.build(settings.model_copy(update=changes)).public)
    async with httpx.AsyncClient(transport=transport, base_url="https://probe.example.com") as client:
        for path in ("/docs", "/docs/start.js", "/api/openapi.json"):
            assert ((await client.get(path)).status_code == 200) == there, path


@pytest.mark.parametrize("name", MEDIA_TYPES)
async def test_files(client: httpx.AsyncClient, name: str) -> None:
    plain = await client.get(f"/docs/{name}", headers={"Accept-Encoding": "identity"})
    assert (plain.status_code, "content-encoding" in plain.headers) == (200, False)
    assert plain.headers["content-type"].partition(";")[0] == MEDIA_TYPES[name]
    assert plain.headers["cache-control"] == "no-cache"
    assert plain.headers["vary"] == "Accept-Encoding"
    assert plain.headers["x-content-type-options"] == "nosniff"
    compressed = await client.get(f"/docs/{name}", headers={"Accept-Encoding": "br, gzip"})
    assert compressed.headers["content-encoding"] == "gzip"
    assert compressed.content == plain.content == gzip.decompress(docs.load(name).compressed)
    again = await client.get(f"/docs/{name}", headers={"If-None-Match": plain.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == plain.headers["etag"]


@pytest.mark.parametrize(
    ("accept_encoding", "taken"),
    [
        *(("gzip", True), ("br, GZIP;q=0.5", True), ("*", True), ("gzip;q=1.0, *;q=0", True)),
        *(("", False), ("identity", False), ("gzip;q=0", False), ("gzip; q=0.000, *", False), ("x-gzip", False)),
        ("gzip;q=high", False),
    ],
)
def test_compressed_only_for_who_takes_it(accept_encoding: str, taken: bool) -> None:
    assert docs.takes_gzip(accept_encoding) == taken


async def test_no_other_files(client: httpx.AsyncClient) -> None:
    for name in ("__init__.py", "other.js", "..%2F__init__.py"):
        answer = await client.get(f"/docs/{name}")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


async def test_the_policy_is_of_this_page_alone(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in page
    assert "unsafe" not in page
    assert "script-src" not in (await client.get("/")).headers["content-security-policy"]


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    chromium = system.program()
    if chromium is None:
        pytest.fail(system.MISSING)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=system.arguments())
        yield browser
        await browser.close()


async def watched(browser: Browser, complaints: list[str], requested: list[str]) -> Page:
    page = await browser.new_page(viewport={"width": 1280, "height": 1600})
    page.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"{request.url} {request.failure}"))
    page.on("request", lambda request: requested.append(request.url))

    def check(response: Any) -> None:
        if response.status >= 400:
            complaints.append(f"{response.url} {response.status}")

    page.on("response", check)
    return page


async def test_in_a_browser(browser: Browser, address: str) -> None:
    complaints: list[str] = []
    requested: list[str] = []
    page = await watched(browser, complaints, requested)
    await page.goto(f"{address}/docs")
    async with httpx.AsyncClient() as client:
        paths = (await client.get(f"{address}/api/openapi.json")).json()["paths"]
    await expect(page.locator(".opblock")).to_have_count(sum(len(path) for path in paths.values()))
    await expect(page.locator(".opblock-summary-path").first).to_have_text("/")
    await expect(page.locator("h1.title")).to_contain_text("Probe")

    await page.locator("#operations-identity-identity .opblock-summary-control").click()
    await page.locator(".execute").click()
    answer = page.locator(".live-responses-table .response").first
    await expect(answer.locator(".response-col_status")).to_contain_text("200")
    await expect(answer).to_contain_text('"name": "probe"')
    await page.locator(".authorize").first.click()
    await page.locator(".modal-ux input").fill("a token")
    await page.locator(".modal-ux .authorize").click()
    await page.locator(".modal-ux .btn-done").click()
    await page.locator("#operations-things-make_thing .opblock-summary-control").click()
    await expect(page.locator("#operations-things-make_thing textarea")).to_contain_text('"name"')
    SCREENSHOT.parent.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=SCREENSHOT)
    await page.close()

    assert complaints == []
    assert {url.split("/")[2] for url in requested if not url.startswith("data:")} == {address.split("/")[2]}
