"""Who is let in, over HTTP. What a token must be is in test_tokens.py."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, Request, Security
from joserfc.jwk import ECKey, KeySet
from prometheus_client import CollectorRegistry
from starlette.types import Receive, Scope, Send

from keel.http import handlers as error_handlers
from keel.security.auth import OUTCOMES, AuthenticationMiddleware, Authenticator, authenticate
from keel.security.keys import JwksFile, KeySource, KeysUnavailableError, parse_jwks
from keel.security.tokens import Principal, TokenVerifier

pytestmark = pytest.mark.anyio

ISSUER, AUDIENCE = "https://issuer.example.com", "probe"

Mint = Callable[..., str]
Logs = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def authenticator(jwks_file: Path, registry: CollectorRegistry) -> Authenticator:
    return Authenticator(TokenVerifier(JwksFile(jwks_file, parse_jwks), ISSUER, AUDIENCE, leeway=30), registry, "probe")


@pytest.fixture
def app(authenticator: Authenticator, log_lines: Logs) -> FastAPI:
    """With a route for everyone, and one for who may write things."""
    del log_lines
    app = FastAPI()
    error_handlers.install(app)
    app.state.authenticator = authenticator
    app.add_middleware(AuthenticationMiddleware, authenticator=authenticator, exhausted=lambda _: False)

    @app.get("/")
    async def public() -> str:
        return "hello"

    @app.post("/guarded", status_code=201)
    async def guarded(
        who: Annotated[Principal, Security(authenticate, scopes=["things:write"])], request: Request
    ) -> str:
        assert who is request.state.principal
        return str(who.subject)

    return app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="https://probe.example.com") as client:
        yield client


async def post(client: httpx.AsyncClient, *authorization: str) -> httpx.Response:
    headers = [("Authorization", value) for value in authorization]
    return await client.post("/guarded", headers=headers)


@pytest.mark.parametrize("authorization", [(), ("Basic YTpi",), ("Bearer",), ("",)])
async def test_without_a_token(client: httpx.AsyncClient, authorization: tuple[str, ...]) -> None:
    answer = await post(client, *authorization)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="probe"'


async def test_with_a_bad_token(client: httpx.AsyncClient, log_lines: Any) -> None:
    answer = await post(client, "Bearer a.b.c")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == (
        'Bearer realm="probe", error="invalid_token", error_description="The token is not valid."'
    )
    assert answer.json()["detail"] == "The token is not valid."
    assert "token refused" in [line["message"] for line in log_lines()]


async def test_with_too_small_a_scope(client: httpx.AsyncClient, mint: Mint) -> None:
    answer = await post(client, f"Bearer {mint(scope='things:read')}")
    assert answer.status_code == 403
    challenge = answer.headers["www-authenticate"]
    assert 'error="insufficient_scope", scope="things:write"' in challenge


async def test_with_two_tokens(client: httpx.AsyncClient, mint: Mint) -> None:
    answer = await post(client, f"Bearer {mint()}", f"Bearer {mint()}")
    assert answer.status_code == 400
    assert 'error="invalid_request"' in answer.headers["www-authenticate"]


async def test_scheme_in_any_case(client: httpx.AsyncClient, mint: Mint) -> None:
    assert (await post(client, f"bearer {mint()}")).status_code == 201


async def test_a_public_route_ignores_what_is_sent(client: httpx.AsyncClient, mint: Mint) -> None:
    for value in ("Bearer a.b.c", f"Bearer {mint(exp=1)}", "Basic YTpi", "Bearer"):
        assert (await client.get("/", headers={"Authorization": value})).status_code == 200
    two = [("Authorization", f"Bearer {mint()}")] * 2
    assert (await client.get("/", headers=two)).status_code == 200


@pytest.mark.parametrize("place", ["query", "form", "cookie"])
async def test_a_token_elsewhere_is_none(client: httpx.AsyncClient, mint: Mint, place: str) -> None:
    """RFC 9700, section 4.3.2: query parameters end up in logs and histories."""
    token = mint()
    answer = await client.post(
        "/guarded",
        params={"access_token": token} if place == "query" else None,
        data={"access_token": token} if place == "form" else None,
        headers={"Cookie": f"access_token={token}"} if place == "cookie" else {},
    )
    assert answer.status_code == 401
    assert "error" not in answer.headers["www-authenticate"]


async def test_spaces_around_a_token(client: httpx.AsyncClient, mint: Mint) -> None:
    assert (await post(client, f"Bearer   {mint()}")).status_code == 201
    header, _, rest = mint().partition(".")
    assert (await post(client, f"Bearer {header}. {rest}")).status_code == 401
    assert (await post(client, f"Bearer {mint()} {mint()}")).status_code == 401
    assert (await post(client, f"Bearer {mint()},Bearer {mint()}")).status_code == 401


def outcomes(registry: CollectorRegistry) -> dict[str, float | None]:
    return {name: registry.get_sample_value("auth_tokens_total", {"outcome": name}) for name in OUTCOMES}


async def test_what_is_counted(client: httpx.AsyncClient, registry: CollectorRegistry, mint: Mint) -> None:
    assert outcomes(registry) == dict.fromkeys(OUTCOMES, 0)
    good = f"Bearer {mint()}"
    for sent in (
        *([good], [good], [good], [f"Bearer {mint(exp=1)}"], ["Bearer a.b.c"]),
        *([f"Bearer {mint(header={'kid': 'unknown'})}"], [good, good], [], [f"Bearer {mint(scope='')}"]),
    ):
        await post(client, *sent)
    assert outcomes(registry) == {
        "valid": 2,
        "cached": 2,
        "expired": 1,
        "invalid": 1,
        "unknown_key": 2,  # again after a look for newer keys
        "keys_unavailable": 0,
        "malformed": 1,
        "missing": 1,
        "insufficient_scope": 1,
    }


async def test_no_token_is_logged(client: httpx.AsyncClient, mint: Mint, log_lines: Logs) -> None:
    tokens = [mint(), mint(exp=1), mint(header={"kid": "unknown"}), mint(sub=7), "a.b.c", mint() + "x"]
    for token in tokens:
        await post(client, f"Bearer {token}")
    logged = json.dumps(log_lines())
    for token in tokens:
        assert all(part not in logged for part in token.split(".") if len(part) > 1)


async def test_what_a_refused_token_puts_into_the_log_is_bounded(client: httpx.AsyncClient, log_lines: Logs) -> None:
    header = base64.urlsafe_b64encode(json.dumps({"alg": "k" * 1400}).encode()).rstrip(b"=").decode()
    await post(client, f"Bearer {header}.e30.AAAA")
    (line,) = [line for line in log_lines() if line["message"] == "token refused"]
    assert len(json.dumps(line)) < 1000


class Waiting(KeySource):
    """An issuer whose keys come with the next fetch."""

    def __init__(self, now: KeySet | None, later: KeySet | None) -> None:
        self.now, self.later = now, later
        self.fetches = 0

    def current(self) -> KeySet:
        if self.now is None:
            raise KeysUnavailableError(retry_after=2.4)
        return self.now

    async def refetch(self) -> None:
        self.fetches += 1
        await asyncio.sleep(0)
        self.now = self.later


async def test_before_there_are_keys(
    authenticator: Authenticator, client: httpx.AsyncClient, registry: CollectorRegistry, mint: Mint
) -> None:
    authenticator.verifier.keys = Waiting(None, None)
    answer = await post(client, f"Bearer {mint()}")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "3")
    assert "www-authenticate" not in answer.headers
    assert answer.json()["detail"] == ("The keys to verify tokens are not available at the moment. Try again later.")
    assert (await post(client)).status_code == 401
    assert (await client.get("/", headers={"Authorization": f"Bearer {mint()}"})).status_code == 200
    assert outcomes(registry)["keys_unavailable"] == 2


async def test_a_token_of_a_new_key_waits_for_it(
    authenticator: Authenticator, client: httpx.AsyncClient, mint: Mint, signing_key: ECKey
) -> None:
    keys = Waiting(KeySet([ECKey.generate_key("P-256")]), KeySet([signing_key]))
    authenticator.verifier.keys = keys
    sent = {"Authorization": f"Bearer {mint()}"}
    assert (await client.get("/", headers=sent)).status_code == 200
    assert keys.fetches == 0  # who needs no token need not wait
    assert (await post(client, sent["Authorization"])).status_code == 201
    assert (await post(client, sent["Authorization"])).status_code == 201
    assert keys.fetches == 1


class TestMiddleware:
    @pytest.fixture
    def seen(self) -> list[Scope]:
        return []

    @pytest.fixture
    def middleware(self, authenticator: Authenticator, seen: list[Scope]) -> AuthenticationMiddleware:
        async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
            seen.append(scope)

        return AuthenticationMiddleware(app, authenticator, lambda scope: scope["client"] == "exhausted")

    @staticmethod
    async def call(middleware: AuthenticationMiddleware, token: str, **others: Any) -> dict[str, Any]:
        scope = {"type": "http", "headers": [(b"authorization", b"Bearer " + token.encode())], "client": ""} | others
        await middleware(scope, None, None)  # type: ignore[arg-type]
        state: dict[str, Any] = scope.get("state", {})
        return state

    async def test_tells_who_it_is(self, middleware: AuthenticationMiddleware, mint: Mint, seen: list[Scope]) -> None:
        assert await self.call(middleware, mint()) == {"principal": Principal("alice", frozenset({"things:write"}))}
        assert (await self.call(middleware, "a.b.c")).keys() == {"token_error"}
        assert len(seen) == 2

    async def test_leaves_other_requests_alone(
        self, middleware: AuthenticationMiddleware, mint: Mint, seen: list[Scope]
    ) -> None:
        assert await self.call(middleware, mint(), type="lifespan") == {}
        assert await self.call(middleware, mint(), headers=[(b"x-authorization", b"Bearer x")]) == {}
        assert len(seen) == 2

    async def test_verifies_nothing_for_who_is_over_the_limit(
        self, middleware: AuthenticationMiddleware, mint: Mint
    ) -> None:
        token = mint()
        assert (await self.call(middleware, token, client="exhausted")).keys() == {"token_error"}
        assert (await self.call(middleware, token)).keys() == {"principal"}
        assert (await self.call(middleware, token, client="exhausted")).keys() == {"principal"}  # costs nothing now


def test_the_schema_says_who_needs_a_token(app: FastAPI) -> None:
    schema = app.openapi()
    assert schema["components"]["securitySchemes"]["HTTPBearer"] == {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "Access token with the scope needed.",
    }
    assert "HTTPBearer" in schema["paths"]["/guarded"]["post"]["security"][0]
    assert "security" not in schema["paths"]["/"]["get"]


async def test_a_route_verifies_for_itself_what_was_not(
    app: FastAPI, client: httpx.AsyncClient, authenticator: Authenticator, mint: Mint
) -> None:
    """The minute may turn between the two questions whether an address has requests left."""
    app.user_middleware.clear()
    app.add_middleware(AuthenticationMiddleware, authenticator=authenticator, exhausted=lambda _: True)
    assert (await post(client, f"Bearer {mint()}")).status_code == 201
