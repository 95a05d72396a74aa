"""What the kit does for any route reaches the links', the redirects' own kind among them."""

from collections.abc import Callable

import httpx
import pytest

from app.links.redirects import RedirectRoute
from keel.service import Apps
from tests.app.subject import Settings
from tests.support.problems import check_problem

pytestmark = pytest.mark.anyio

COUNT = "http_request_duration_seconds_count"
ROUTES = [
    ("GET", "/", "/"),
    ("GET", "/page", "/{slug}"),
    ("HEAD", "/page", "/{slug}"),
    ("GET", "/api/v1/links", "/api/v1/links"),
    ("POST", "/api/v1/links", "/api/v1/links"),
    ("GET", "/api/v1/links/page", "/api/v1/links/{slug}"),
    ("PATCH", "/api/v1/links/page", "/api/v1/links/{slug}"),
    ("DELETE", "/api/v1/links/page", "/api/v1/links/{slug}"),
    ("GET", "/api/v1/links/page/clicks", "/api/v1/links/{slug}/clicks"),
    ("GET", "/api/v1/links/page/clicks/events", "/api/v1/links/{slug}/clicks/events"),
    ("POST", "/api/v1/imports", "/api/v1/imports"),
    ("GET", "/api/v1/imports/spring", "/api/v1/imports/{import_id}"),
    ("GET", "/api/v1/target-reports", "/api/v1/target-reports"),
]


class TestFaults:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"faults_enabled": True})

    @pytest.mark.parametrize(("method", "path", "route"), ROUTES)
    async def test_an_error_on_demand(
        self,
        client: httpx.AsyncClient,
        management: httpx.AsyncClient,
        mint: Callable[..., str],
        method: str,
        path: str,
        route: str,
    ) -> None:
        assert (await management.put("/faults", json={"error_ratio": 1, "routes": [route]})).status_code == 200
        token = {"Authorization": f"Bearer {mint()}"} if method in ("POST", "PATCH") else {}
        answer = await client.request(method, path, headers=token)
        assert answer.status_code == 500
        counted = f'{COUNT}{{method="{method}",route="{route}",status="500"}} 1.0'
        assert counted in (await management.get("/metrics")).text


async def test_off_it_is_not_in_the_path_of_a_redirect(service: Apps) -> None:
    plain = [route for route in service.public.router.routes if isinstance(route, RedirectRoute)]
    assert len(plain) == 2
    assert all(route.app is route.endpoint for route in plain)


async def test_each_error_of_a_route_is_there_before_it_has_been(management: httpx.AsyncClient) -> None:
    text = (await management.get("/metrics")).text
    for method, _, route in ROUTES:
        if method != "HEAD":
            for status in ("500", "503"):
                assert f'{COUNT}{{method="{method}",route="{route}",status="{status}"}} 0.0' in text
    named = {(method, route) for method, _, route in ROUTES if method != "HEAD"}
    assert text.count(f"{COUNT}{{") == 2 * (len(named) + 3)  # and those of the WebSocket, and two for what is no route


async def test_redirects_are_counted_by_their_template(
    writer: httpx.AsyncClient, management: httpx.AsyncClient
) -> None:
    await writer.post("/api/v1/links", json={"url": "https://example.com", "slug": "page"})
    for method, path in (("GET", "/page"), ("HEAD", "/page"), ("GET", "/other"), ("DELETE", "/page")):
        await writer.request(method, path)
    text = (await management.get("/metrics")).text
    for method, status in (("GET", 307), ("HEAD", 307), ("GET", 404), ("DELETE", 405)):
        assert f'{COUNT}{{method="{method}",route="/{{slug}}",status="{status}"}} 1.0' in text


@pytest.mark.parametrize("method", ["PUT", "TRACE"])
@pytest.mark.parametrize("path", ["/page", "/faults"])
async def test_a_redirect_takes_nothing_else(client: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await client.request(method, path, headers={"Authorization": "Bearer hunter2"})
    check_problem(answer, 405, "Method Not Allowed")
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}


class TestWithoutThePageOfTheApi:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"docs": "off"})

    async def test_its_path_is_a_slug(self, client: httpx.AsyncClient) -> None:
        assert (await client.get("/docs")).json()["detail"] == "There is no such link."
