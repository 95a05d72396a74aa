import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Security
from joserfc.jwk import ECKey
from prometheus_client import CollectorRegistry
from starlette.types import Message, Scope

from keel.http import handlers as error_handlers
from keel.security.auth import AuthenticationMiddleware, Authenticator, authenticate
from keel.security.keys import JwksFile, parse_jwks
from keel.security.rate_limit import MAX_CLIENTS, RateLimiter, RateLimitMiddleware
from keel.security.sliding_window import WINDOW
from keel.security.tokens import TokenVerifier
from tests.kit.subject import Settings

pytestmark = pytest.mark.anyio

ISSUER, AUDIENCE = "https://issuer.example.com", "probe"
ADDRESS_LIMIT, TOKEN_LIMIT = 5, 3

Mint = Callable[..., str]
Ask = Callable[..., Any]


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def verifications() -> list[bytes]:
    """The tokens whose signatures were checked."""
    return []


@pytest.fixture
def limiter(settings: Settings, registry: CollectorRegistry) -> RateLimiter:
    limits = {"rate_limit_address_per_minute": ADDRESS_LIMIT, "rate_limit_token_per_minute": TOKEN_LIMIT}
    return RateLimiter(settings.model_copy(update=limits), registry)


@pytest.fixture
def ask(
    limiter: RateLimiter, registry: CollectorRegistry, jwks_file: Path, verifications: list[bytes], log_lines: Any
) -> Ask:
    """Asks an application with a public and a guarded route, from any address."""
    del log_lines
    limiter.addresses._clock = limiter.subjects._clock = lambda: 1_000_000.5 * WINDOW

    class Noting(TokenVerifier):
        def verify(self, token: bytes) -> Any:
            verifications.append(token)
            return super().verify(token)

    verifier = Noting(JwksFile(jwks_file, parse_jwks), ISSUER, AUDIENCE, leeway=0)
    authenticator = Authenticator(verifier, registry, "test")
    app = FastAPI()
    error_handlers.install(app)
    app.state.authenticator = authenticator

    @app.get("/")
    async def public() -> str:
        return "hello"

    @app.get("/guarded", dependencies=[Security(authenticate)])
    async def guarded() -> str:
        return "hello"

    limited = AuthenticationMiddleware(RateLimitMiddleware(app, limiter), authenticator, limiter.exhausted)

    async def ask(path: str = "/", client: str = "192.0.2.1", token: str = "") -> httpx.Response:
        transport = httpx.ASGITransport(limited, client=(client, 1234))
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with httpx.AsyncClient(transport=transport, base_url="http://probe.example.com") as connection:
            return await connection.get(path, headers=headers)

    return ask


async def statuses(ask: Ask, count: int, **request: str) -> list[int]:
    return [(await ask(**request)).status_code for _ in range(count)]


async def test_an_address_has_its_limit(ask: Ask, registry: CollectorRegistry) -> None:
    assert await statuses(ask, 7) == [200] * 5 + [429] * 2
    assert await statuses(ask, 1, client="192.0.2.2") == [200]
    assert registry.get_sample_value("rate_limited_total", {"kind": "address"}) == 2
    assert registry.get_sample_value("rate_limited_total", {"kind": "token"}) == 0
    assert registry.get_sample_value("rate_limit_clients", {"kind": "address"}) == 2


async def test_whatever_is_asked_for_counts(ask: Ask) -> None:
    for path in ("/", "/guarded", "/nothing", "/docs", "/"):
        assert (await ask(path)).status_code != 429
    for path in ("/", "/guarded", "/nothing", "/docs", "/"):
        assert (await ask(path)).status_code == 429


async def test_what_the_refusal_says(ask: Ask) -> None:
    await statuses(ask, ADDRESS_LIMIT)
    answer = await ask()
    assert answer.status_code == 429
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "31"  # half a minute, and then none of the window before counts too much
    assert answer.headers["ratelimit-policy"] == '"address";q=5;w=60'
    assert answer.headers["ratelimit"] == '"address";r=0;t=31'
    assert answer.json() == {
        "type": "about:blank",
        "title": "Too Many Requests",
        "status": 429,
        "detail": "Too many requests. Try again in 31 seconds.",
    }


async def test_a_valid_token_counts_for_its_subject(ask: Ask, mint: Mint, registry: CollectorRegistry) -> None:
    for number in range(TOKEN_LIMIT):  # other tokens, other addresses, the same subject
        answer = await ask(path="/guarded", client=f"192.0.2.{number}", token=mint(jti=str(number)))
        assert answer.status_code == 200
    answer = await ask(client="192.0.2.9", token=mint())
    assert answer.status_code == 429
    assert answer.headers["ratelimit-policy"] == '"token";q=3;w=60'
    assert await statuses(ask, 1, client="192.0.2.9", token=mint(sub="bob")) == [200]
    assert registry.get_sample_value("rate_limited_total", {"kind": "token"}) == 1
    assert registry.get_sample_value("rate_limit_clients", {"kind": "address"}) == 0


async def test_any_other_token_counts_for_the_address(ask: Ask, mint: Mint) -> None:
    for token in ("a.b.c", mint(exp=1), mint(header={"kid": "unknown"}), mint(iss="https://evil.example")):
        assert (await ask(token=token)).status_code == 200
    assert await statuses(ask, 2) == [200, 429]


async def test_who_has_a_token_is_not_held_up_by_neighbours(ask: Ask, mint: Mint) -> None:
    token = mint()
    assert (await ask(token=token)).status_code == 200
    await statuses(ask, 9)
    assert await statuses(ask, 1, token=token) == [200]  # verified before, so known at no cost
    assert await statuses(ask, 1, token=mint(jti="new")) == [429]
    assert await statuses(ask, 1, token=mint(jti="new"), client="192.0.2.2") == [200]


async def test_signatures_are_not_checked_for_who_is_over_the_limit(
    ask: Ask, mint: Mint, verifications: list[bytes]
) -> None:
    forged = mint(key=ECKey.generate_key("P-256"))
    assert await statuses(ask, 20, token=forged) == [200] * 5 + [429] * 15
    assert len(verifications) == ADDRESS_LIMIT


async def test_a_flood_of_bad_tokens_is_bounded_in_time_and_memory(
    ask: Ask, limiter: RateLimiter, mint: Mint, verifications: list[bytes]
) -> None:
    head, payload, signature = mint(key=ECKey.generate_key("P-256")).split(".")
    await statuses(ask, 1)  # what is made once
    tracemalloc.start()
    started = time.process_time()
    for number in range(10_000):
        scope: Scope = {
            "type": "http",
            "client": ("192.0.2.1", 1),
            "headers": [(b"authorization", f"Bearer {head}.{payload}.{number:06}{signature[6:]}".encode())],
        }
        if limiter.exhausted(scope):
            assert limiter.check(scope)
        else:
            await ask(token=f"{head}.{payload}.{number:06}{signature[6:]}")
    seconds = time.process_time() - started
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(verifications) == ADDRESS_LIMIT - 1
    assert len(limiter.addresses) == 1
    assert seconds < 10
    assert kept < 2_000_000


async def test_a_flood_of_addresses_is_bounded(limiter: RateLimiter) -> None:
    for number in range(MAX_CLIENTS + 5000):
        limiter.check({"type": "http", "client": (f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 1)})
    assert len(limiter.addresses) <= 2 * MAX_CLIENTS


async def test_zero_is_no_limit(settings: Settings, registry: CollectorRegistry) -> None:
    none = settings.model_copy(update={"rate_limit_address_per_minute": 0, "rate_limit_token_per_minute": 0})
    limiter = RateLimiter(none, registry)
    scope = {"type": "http", "client": ("192.0.2.1", 1)}
    assert [limiter.check(scope) for _ in range(5000)] == [None] * 5000
    assert not limiter.exhausted(scope)


async def test_other_than_http_is_not_counted(limiter: RateLimiter) -> None:
    passed: list[str] = []

    async def app(scope: Scope, _receive: object, _send: object) -> None:
        passed.append(scope["type"])

    async def unused(*_: Message) -> Any:
        raise AssertionError

    for _ in range(9):
        await RateLimitMiddleware(app, limiter)({"type": "lifespan"}, unused, unused)
    assert len(passed) == 9
