"""Faults on demand, in the whole application."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from starlette.routing import Match, Route
from starlette.types import Scope

from keel.domain import Domain, Feature
from keel.http import faults
from keel.http.faults import InjectedError
from keel.http.plain_route import PlainRoute
from keel.service import Apps, Service
from tests.kit.subject import PRODUCT, SERVICE, Settings
from tests.support.exposition import COUNT, series
from tests.support.fixtures import Subject
from tests.support.problems import check_problem

pytestmark = pytest.mark.anyio

Logs = Callable[[], list[dict[str, Any]]]
Until = Callable[[Callable[[], object]], Awaitable[None]]
Put = Callable[..., Awaitable[dict[str, Any]]]

EVERY_ROUTE = [
    ("GET", "/", "/"),
    ("GET", "/plain/page", "/plain/{name}"),
    ("GET", "/api/v1/things/page", "/api/v1/things/{name}"),
    ("HEAD", "/api/v1/things/page", "/api/v1/things/{name}"),
    ("GET", "/api/v1/things", "/api/v1/things"),
    ("POST", "/api/v1/things", "/api/v1/things"),
    ("DELETE", "/api/v1/things/page", "/api/v1/things/{name}"),
]
REFUSED: list[tuple[bytes, str, str]] = [
    (b"", "#", "not JSON"),
    (b"[" * 900, "#", "not JSON"),
    (b'{"error_ratio": 1, "error_ratio": 0}', "#", "not JSON"),
    (b'{"delay_seconds": NaN}', "#", "not JSON"),
    (b"[]", "#", "valid dictionary"),
    (b"{}", "#", "more than 0, or send DELETE"),
    (b'{"error_ratio": 0, "routes": ["/"]}', "#", "more than 0"),
    (b'{"error_ratio": 1.1}', "#/error_ratio", "less than or equal to 1"),
    (b'{"error_ratio": -0.1}', "#/error_ratio", "greater than or equal to 0"),
    (b'{"error_ratio": "1"}', "#/error_ratio", "valid number"),
    (b'{"error_ratio": true}', "#/error_ratio", "valid number"),
    (b'{"delay_seconds": 31}', "#/delay_seconds", "less than or equal to 30"),
    (b'{"delay_seconds": 1e999}', "#/delay_seconds", "less than or equal to 30"),
    (b'{"block_seconds": 10.5}', "#/block_seconds", "less than or equal to 10"),
    (b'{"error_ratio": 1, "for_seconds": 3601}', "#/for_seconds", "less than or equal to 3600"),
    (b'{"error_ratio": 1, "for_seconds": 0}', "#/for_seconds", "greater than 0"),
    (b'{"error_ratio": 1, "routes": "/"}', "#/routes", "valid list"),
    (b'{"error_ratio": 1, "routes": [1]}', "#/routes/0", "valid string"),
    (b'{"error_ratio": 1, "routes": ["/x"]}', "#/routes", "There is no route /x: the routes are /, /api/v1/failing, "),
    (b'{"errors": 1, "error_ratio": 1}', "#/errors", "not permitted"),
]


class Plain(Route):
    """A route without FastAPI's ways, which says in the scope which one it is."""

    def __init__(self) -> None:
        super().__init__("/plain/{name}", self.answer, include_in_schema=False)

    async def answer(self, _request: Request) -> Response:
        return Response()

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        return match, {**found, "route": self}


class PlainFeature(Feature):
    def install(self, app: FastAPI) -> None:
        app.router.routes.append(Plain())


PLAIN = Service(PRODUCT, [*SERVICE.domains, Domain(name="plain", start=lambda *_: PlainFeature())])


@pytest.fixture
def subject(subject: Subject) -> Subject:
    """With a route that has no dependencies."""
    return replace(subject, service=PLAIN)


class TestOn:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"faults_enabled": True})

    @pytest.fixture
    def put(self, management: httpx.AsyncClient) -> Put:
        async def put(**fault: object) -> dict[str, Any]:
            answer = await management.put("/faults", json=fault)
            assert answer.status_code == 200, answer.text
            found: dict[str, Any] = answer.json()
            return found

        return put

    async def test_nothing_goes_wrong_before_it_is_asked_for(
        self, writer: httpx.AsyncClient, management: httpx.AsyncClient
    ) -> None:
        assert (await management.get("/faults")).json() == {"active": False, "seconds_left": 0}
        answer = await writer.post("/api/v1/things", json={"name": "page"})
        assert answer.status_code == 201
        assert (await writer.get("/api/v1/things/page")).status_code == 200
        assert await series(management, "faults_active") == {(): 0}
        assert await series(management, "faults_injected_total") == {("block",): 0, ("delay",): 0, ("error",): 0}

    @pytest.mark.parametrize(("method", "path", "route"), EVERY_ROUTE)
    async def test_an_error_is_one_of_the_route_s_own(
        self,
        client: httpx.AsyncClient,
        management: httpx.AsyncClient,
        put: Put,
        log_lines: Logs,
        mint: Callable[..., str],
        method: str,
        path: str,
        route: str,
    ) -> None:
        """Before anything is looked at but the token of a request with a body, which is not waited for without one."""
        await put(error_ratio=1)
        token = {"Authorization": f"Bearer {mint()}"} if method in ("POST", "PATCH") else {}
        answer = await client.request(method, path, headers=token)
        assert answer.status_code == 500
        if method != "HEAD":
            check_problem(answer, 500, "Internal Server Error")
        assert await series(management, COUNT) == {(method, route, "500"): 1}
        told = [line for line in log_lines() if line.get("log.logger") != "httpx" and "http.request.id" in line]
        assert {line["http.request.id"] for line in told} == {answer.headers["x-request-id"]}
        assert [line["log.level"] for line in told] == ["error", "error"]
        assert told[0]["error.type"].endswith(InjectedError.__name__)
        assert told[1]["http.route"] == route

    async def test_nothing_is_written_that_is_said_to_have_failed(self, writer: httpx.AsyncClient, put: Put) -> None:
        await put(error_ratio=1, routes=["/api/v1/things"])
        answer = await writer.post("/api/v1/things", json={"name": "page"})
        assert answer.status_code == 500
        assert (await writer.get("/api/v1/things/page")).status_code == 404

    async def test_as_often_as_was_asked_for(
        self, client: httpx.AsyncClient, management: httpx.AsyncClient, put: Put
    ) -> None:
        await put(error_ratio=0.3)
        failed = [(await client.get("/")).status_code for _ in range(400)].count(500)
        assert 60 < failed < 180  # six standard deviations
        assert await series(management, "faults_injected_total") == {("block",): 0, ("delay",): 0, ("error",): failed}

    async def test_a_delay_is_part_of_the_duration(
        self, client: httpx.AsyncClient, management: httpx.AsyncClient, put: Put
    ) -> None:
        await put(delay_seconds=1, routes=["/"])
        assert (await client.get("/")).status_code == 200
        assert (await client.get("/api/v1/things/page")).status_code == 404
        took = await series(management, "http_request_duration_seconds_sum")
        assert took["GET", "/", "200"] >= 1
        assert took["GET", "/api/v1/things/{name}", "404"] < 1
        assert (await series(management, "faults_injected_total"))["delay",] == 1

    async def test_only_the_routes_named(self, client: httpx.AsyncClient, put: Put) -> None:
        said = await put(error_ratio=1, routes=["/api/v1/things/{name}"])
        assert said["routes"] == ["/api/v1/things/{name}"]
        assert (await client.get("/api/v1/things/page")).status_code == 500
        assert (await client.get("/")).status_code == 200
        assert (await client.get("/api/v1/things")).status_code == 401
        assert (await client.get("/a/b/c")).status_code == 404

    async def test_probes_and_metrics_are_not_touched(self, management: httpx.AsyncClient, put: Put) -> None:
        await put(error_ratio=1, delay_seconds=30)
        for path in ("/startupz", "/livez", "/metrics", "/log-level"):
            assert (await management.get(path)).status_code == 200

    async def test_what_is_set_is_told_and_can_be_replaced_and_ended(
        self, client: httpx.AsyncClient, management: httpx.AsyncClient, put: Put, log_lines: Logs
    ) -> None:
        said = await put(error_ratio=1)
        assert 599 < said.pop("seconds_left") <= 600
        assert said == {"active": True, "error_ratio": 1, "delay_seconds": 0, "block_seconds": 0, "routes": []}
        assert await series(management, "faults_active") == {(): 1}
        await put(delay_seconds=0.01, for_seconds=60)
        assert (await client.get("/")).status_code == 200
        ended = await management.delete("/faults")
        assert (ended.status_code, ended.json()) == (200, {"active": False, "seconds_left": 0})
        assert (await management.delete("/faults")).json() == ended.json()
        assert await series(management, "faults_active") == {(): 0}
        told = [line for line in log_lines() if line.get("log.logger") == faults.__name__]
        assert [(line["log.level"], line["message"]) for line in told] == [
            ("warning", "faults are injected on demand"),
            ("warning", "faults are injected on demand"),
            ("warning", "no more faults are injected"),
        ]

    async def test_it_ends_by_itself(
        self, client: httpx.AsyncClient, management: httpx.AsyncClient, put: Put, log_lines: Logs, until: Until
    ) -> None:
        await put(error_ratio=1, for_seconds=0.2)
        assert (await client.get("/")).status_code == 500
        await until(lambda: log_lines()[-1]["message"] == "no more faults are injected")
        assert (await client.get("/")).status_code == 200
        assert (await management.get("/faults")).json() == {"active": False, "seconds_left": 0}

    async def test_one_that_was_replaced_does_not_end_the_next(
        self, client: httpx.AsyncClient, put: Put, until: Until
    ) -> None:
        await put(error_ratio=1, for_seconds=0.1)
        await put(error_ratio=1, for_seconds=60)
        later = time.monotonic() + 0.3
        await until(lambda: time.monotonic() > later)
        assert (await client.get("/")).status_code == 500

    async def test_a_blocked_event_loop_is_seen(
        self, management: httpx.AsyncClient, put: Put, until: Until, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(faults, "BLOCK_EVERY", 0.7)
        monkeypatch.setattr(faults, "ANSWER_FIRST", 1)
        begun = time.monotonic()
        await put(block_seconds=0.4, for_seconds=2.3)
        assert (await series(management, "faults_injected_total"))["block",] == 0  # the answer comes first
        await until(lambda: time.monotonic() - begun > 3.2)
        assert 0.3 < (await series(management, "event_loop_lag_max_seconds"))[()] < 5
        # Every so often while the fault lasts, and never after it.
        assert (await series(management, "faults_injected_total"))["block",] == 2

    @pytest.mark.parametrize(("body", "pointer", "told"), REFUSED)
    async def test_nothing_else_is_taken(
        self, client: httpx.AsyncClient, management: httpx.AsyncClient, body: bytes, pointer: str, told: str
    ) -> None:
        answer = await management.put("/faults", content=body)
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
        assert '{"error_ratio": 0.2' in answer.json()["detail"]
        (error,) = answer.json()["errors"]
        assert error["pointer"] == pointer
        assert told in error["detail"]
        assert (await client.get("/")).status_code == 200

    async def test_the_paths_of_the_port_are_told(self, management: httpx.AsyncClient) -> None:
        assert (await management.get("/fault")).json()["detail"].endswith("/log-level, /faults.")
        allowed = (await management.post("/faults")).headers["allow"]
        assert set(allowed.split(", ")) == {"GET", "HEAD", "PUT", "DELETE"}

    async def test_nothing_of_it_is_public(self, client: httpx.AsyncClient, settings: Settings, service: Apps) -> None:
        assert (await client.put("/faults", json={"error_ratio": 1})).status_code == 404
        without = PLAIN.build(settings.model_copy(update={"faults_enabled": False}))
        assert service.public.openapi() == without.public.openapi()


class TestOff:
    async def test_nothing_is_in_the_path_of_a_request(self, service: Apps, settings: Settings) -> None:
        """Nor is there with it on, but within the routes: the middleware is the same."""
        public = service.public
        assert public.router.dependencies == []
        plain = [route for route in public.router.routes if isinstance(route, Plain | PlainRoute)]
        assert {type(route) for route in plain} == {Plain, PlainRoute}
        assert all("_Faulty" not in type(route.app).__name__ for route in plain)
        enabled = PLAIN.build(settings.model_copy(update={"faults_enabled": True})).public
        assert [each.cls for each in public.user_middleware] == [each.cls for each in enabled.user_middleware]
        assert len(enabled.router.dependencies) == 1

    async def test_it_cannot_be_asked_for(self, management: httpx.AsyncClient) -> None:
        for method in ("GET", "PUT", "DELETE"):
            answer = await management.request(method, "/faults", content=b'{"error_ratio": 1}')
            assert answer.status_code == 404
            assert "/faults" not in answer.json()["detail"]
        assert "faults_" not in (await management.get("/metrics")).text
