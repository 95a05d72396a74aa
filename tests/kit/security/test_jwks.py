"""Keys from a real HTTP server of our own, which answers as a test wants."""

import asyncio
import base64
import contextlib
import gc
import json
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey, KeySet, OctKey
from opentelemetry import context, trace
from prometheus_client import CollectorRegistry

from keel.security.auth import Authenticator
from keel.security.jwks import MAX_BYTES, OUTCOMES, JwksUrl
from keel.security.keys import KeysUnavailableError
from keel.security.tokens import Principal, TokenVerifier, UnknownKeyError
from tests.support.clock import Clock
from tests.support.issuer import Issuer

pytestmark = pytest.mark.anyio

ISSUER, AUDIENCE = "https://issuer.example.com", "probe"

Logs = Callable[[], list[dict[str, Any]]]
Mint = Callable[..., str]
Until = Callable[[Callable[[], object]], Awaitable[None]]


def key(name: str) -> ECKey:
    return ECKey.generate_key("P-256", {"kid": name})


def jwks(*keys: Any, private: bool = False) -> bytes:
    return json.dumps({"keys": [each.as_dict(private=private) for each in keys]}).encode()


@pytest.fixture
def issuer(issuer: Issuer) -> Issuer:
    """Has one key."""
    issuer.body = jwks(key("one"))
    return issuer


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


@pytest.fixture
def at(registry: CollectorRegistry) -> Callable[..., JwksUrl]:
    def at(url: str, refresh: float = 3600, cooldown: float = 3600, timeout: float = 10, **others: Any) -> JwksUrl:
        pace: dict[str, Any] = {"refresh": refresh, "cooldown": cooldown, "timeout": timeout}
        return JwksUrl(url, **pace, registry=registry, user_agent="test/1", **others)

    return at


class Fetcher:
    """Keys fetched once, and then again as often as asked."""

    def __init__(self, keys: JwksUrl, clock: Clock) -> None:
        self.keys = keys
        self.clock = clock

    async def again(self) -> None:
        self.clock.now += 3600  # past the cooldown
        await self.keys.refetch()


@pytest.fixture
async def fetcher(
    issuer: Issuer, at: Callable[..., JwksUrl], clock: Clock, log_lines: Logs, until: Until
) -> AsyncIterator[Fetcher]:
    del log_lines
    keys = at(issuer.url, refresh=36_000, clock=clock)
    async with keys.refreshing():
        await until(lambda: known(keys))
        yield Fetcher(keys, clock)


def known(keys: JwksUrl) -> list[str | None]:
    try:
        return [each.kid for each in keys.current()]
    except KeysUnavailableError:
        return []


def fetches(registry: CollectorRegistry) -> dict[str, float | None]:
    return {name: registry.get_sample_value("jwks_fetches_total", {"outcome": name}) for name in OUTCOMES}


async def test_fetched_in_the_background(
    issuer: Issuer, at: Callable[..., JwksUrl], registry: CollectorRegistry, until: Until
) -> None:
    issuer.open.clear()
    keys = at(issuer.url)
    async with keys.refreshing():
        await until(lambda: issuer.requests)
        with pytest.raises(KeysUnavailableError):
            keys.current()
        issuer.open.set()
        await until(lambda: known(keys))
        assert known(keys) == ["one"]
    (path, headers) = issuer.requests[0]
    assert path == "/jwks.json?p=x"
    assert "application/jwk-set+json" in headers["accept"]
    assert headers["user-agent"] == "test/1"
    assert headers["accept-encoding"] == "identity"
    assert fetches(registry) == {"ok": 1, "unreachable": 0, "unusable": 0}


async def test_read_again_every_so_often(issuer: Issuer, at: Callable[..., JwksUrl], until: Until) -> None:
    keys = at(issuer.url, refresh=0.05, cooldown=0.01)
    async with keys.refreshing():
        await until(lambda: known(keys) == ["one"])
        issuer.body = jwks(key("two"))
        await until(lambda: known(keys) == ["two"])


async def test_the_cooldown_holds_for_a_short_refresh_too(
    issuer: Issuer, at: Callable[..., JwksUrl], until: Until
) -> None:
    async with at(issuer.url, refresh=0.001, cooldown=0.1).refreshing():
        await until(lambda: len(issuer.times) > 3)
    assert min(later - earlier for earlier, later in pairwise(issuer.times)) > 0.08


async def test_an_unchanged_set_is_the_same_object(issuer: Issuer, fetcher: Fetcher) -> None:
    before = fetcher.keys.current()
    await fetcher.again()
    assert fetcher.keys.current() is before
    assert len(issuer.requests) == 2


async def test_a_key_that_is_withdrawn_is_accepted_no_more(issuer: Issuer, fetcher: Fetcher, mint: Mint) -> None:
    verifier = TokenVerifier(fetcher.keys, ISSUER, AUDIENCE, leeway=0)
    one, two = key("one"), key("two")
    issuer.body = jwks(one, two)
    await fetcher.again()
    token = mint(key=one, header={"kid": "one"}).encode()
    assert verifier.verify(token).subject == "alice"
    issuer.body = jwks(two)
    await fetcher.again()
    assert verifier.recall(token) is None
    with pytest.raises(UnknownKeyError):
        verifier.verify(token)


async def test_the_age_of_the_keys_is_told(issuer: Issuer, fetcher: Fetcher, registry: CollectorRegistry) -> None:
    assert registry.get_sample_value("jwks_age_seconds") == 0
    issuer.status = 500
    await fetcher.again()
    assert registry.get_sample_value("jwks_age_seconds") == 3600
    issuer.status = 200
    await fetcher.again()
    assert registry.get_sample_value("jwks_age_seconds") == 0


@pytest.mark.parametrize(
    ("change", "outcome", "reason"),
    [
        ({"status": 500}, "unreachable", "the answer has status 500"),
        ({"status": 404}, "unreachable", "the answer has status 404"),
        ({"status": 302, "headers": {"Location": "/elsewhere"}}, "unreachable", "status 302, and redirects are not"),
        ({"status": 301, "headers": {"Location": "file:///etc/passwd"}}, "unreachable", "redirects are not followed"),
        ({"body": b""}, "unusable", "Expecting value"),
        ({"body": b"<html>"}, "unusable", "Expecting value"),
        ({"body": b"\xff"}, "unusable", "utf-8"),
        ({"body": b'{"keys": []}'}, "unusable", "no key verifies signatures"),
        ({"body": jwks(key("x"), key("x"))}, "unusable", "two keys have this id"),
        ({"body": jwks(key("x"), key("private"), private=True)}, "unusable", "is secret"),
        ({"body": jwks(OctKey.generate_key(256, {"kid": "s"}), private=True)}, "unusable", "key s is secret"),
        ({"body": b" " * MAX_BYTES + jwks(key("x"))}, "unusable", "the answer exceeds 65536 bytes"),
        ({"body": b'{"keys": [' + b"[" * 60_000}, "unusable", "nested too deeply"),
    ],
)
async def test_what_cannot_be_used_leaves_the_keys_there_were(
    issuer: Issuer,
    fetcher: Fetcher,
    registry: CollectorRegistry,
    log_lines: Logs,
    change: dict[str, Any],
    outcome: str,
    reason: str,
) -> None:
    for name, value in change.items():
        setattr(issuer, name, value)
    await fetcher.again()
    assert known(fetcher.keys) == ["one"]
    assert fetches(registry)[outcome] == 1
    (line,) = [line for line in log_lines() if line["log.level"] == "error"]
    assert reason in json.dumps(line)
    assert len(issuer.requests) == 2  # nothing was asked for elsewhere
    issuer.status, issuer.headers, issuer.body = 200, {}, jwks(key("two"))
    await fetcher.again()
    assert known(fetcher.keys) == ["two"]


async def test_a_dead_issuer_is_asked_again_until_it_answers(
    issuer: Issuer, at: Callable[..., JwksUrl], registry: CollectorRegistry, log_lines: Logs, until: Until
) -> None:
    issuer.status = 503
    keys = at(issuer.url, refresh=3600, cooldown=0.02)
    async with keys.refreshing():
        await until(lambda: len(issuer.requests) > 2)
        with pytest.raises(KeysUnavailableError) as raised:
            keys.current()
        assert raised.value.retry_after >= 1
        issuer.status = 200
        await until(lambda: known(keys))
    assert fetches(registry)["ok"] == 1
    assert "keys fetched" in [line["message"] for line in log_lines()]


async def test_nobody_listens(
    unused_port: int, at: Callable[..., JwksUrl], registry: CollectorRegistry, log_lines: Logs
) -> None:
    keys = at(f"http://127.0.0.1:{unused_port}/")
    await keys.refetch()
    assert fetches(registry)["unreachable"] == 1
    assert "refused" in json.dumps(log_lines())


@pytest.mark.parametrize("drip", [False, True])
async def test_a_slow_issuer_is_given_up(
    issuer: Issuer, at: Callable[..., JwksUrl], registry: CollectorRegistry, log_lines: Logs, until: Until, drip: bool
) -> None:
    """A byte now and then would keep a socket's own time-out from ever passing."""
    issuer.drip = drip
    if not drip:
        issuer.open.clear()
    keys = at(issuer.url, timeout=0.3)
    threads = threading.active_count()
    started = time.monotonic()
    await keys.refetch()
    assert 0.2 < time.monotonic() - started < 5
    assert fetches(registry)["unreachable"] == 1
    assert "no answer within 0.3 s" in json.dumps(log_lines())
    issuer.drip = False
    issuer.open.set()
    await until(
        lambda: threading.active_count() <= threads + 2
    )  # the executor keeps idle ones: one had asked for the name


async def test_stopping_does_not_wait_for_the_issuer(issuer: Issuer, at: Callable[..., JwksUrl], until: Until) -> None:
    issuer.open.clear()
    async with at(issuer.url, timeout=60).refreshing():
        await until(lambda: issuer.requests)
        started = time.monotonic()
    await asyncio.get_running_loop().shutdown_default_executor()
    assert time.monotonic() - started < 5


async def test_one_fetch_however_many_ask(issuer: Issuer, at: Callable[..., JwksUrl], until: Until) -> None:
    issuer.open.clear()
    keys = at(issuer.url)
    waiting = [asyncio.create_task(keys.refetch()) for _ in range(100)]
    await until(lambda: issuer.requests)
    waiting[0].cancel()  # a client that hangs up
    with contextlib.suppress(asyncio.CancelledError):
        await waiting[0]
    issuer.open.set()
    await asyncio.gather(*waiting[1:])
    assert known(keys) == ["one"]
    assert len(issuer.requests) == 1


async def test_a_flood_of_unknown_keys_does_not_reach_the_issuer(
    issuer: Issuer, fetcher: Fetcher, registry: CollectorRegistry, mint: Mint
) -> None:
    authenticator = Authenticator(TokenVerifier(fetcher.keys, ISSUER, AUDIENCE, leeway=0), registry, "probe")
    head, payload, signature = mint(key=key("two"), header={"kid": "two"}).split(".")
    tokens = [f"{forged(head, number)}.{payload}.{signature}".encode() for number in range(10_000)]
    fetcher.clock.now += 3600
    started = time.monotonic()
    tracemalloc.start()
    for start in range(0, len(tokens), 1000):
        outcomes = await asyncio.gather(*map(authenticator.identify_later, tokens[start : start + 1000]))
        assert all(isinstance(outcome, UnknownKeyError) for outcome in outcomes)
        del outcomes
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(issuer.requests) == 2  # the first, and one for all of these
    assert time.monotonic() - started < 60
    assert kept < 3_000_000  # about what the last thousand took


def forged(head: str, number: int) -> str:
    header = json.loads(base64.urlsafe_b64decode(head + "=="))
    return base64.urlsafe_b64encode(json.dumps(header | {"kid": f"random-{number}"}).encode()).rstrip(b"=").decode()


async def test_a_token_of_a_new_key_brings_it(
    issuer: Issuer, fetcher: Fetcher, registry: CollectorRegistry, mint: Mint
) -> None:
    authenticator = Authenticator(TokenVerifier(fetcher.keys, ISSUER, AUDIENCE, leeway=0), registry, "probe")
    two = key("two")
    issuer.body = jwks(two)
    token = mint(key=two, header={"kid": "two"}).encode()
    assert isinstance(authenticator.identify(token, lambda: True), UnknownKeyError)
    assert isinstance(await authenticator.identify_later(token), UnknownKeyError)  # too soon
    fetcher.clock.now += 3600
    assert isinstance(await authenticator.identify_later(token), Principal)


async def test_the_trace_goes_along(issuer: Issuer, fetcher: Fetcher) -> None:
    span = trace.NonRecordingSpan(trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=trace.TraceFlags(1)))
    attached = context.attach(trace.set_span_in_context(span))
    try:
        await fetcher.again()
    finally:
        context.detach(attached)
    assert issuer.requests[-1][1]["traceparent"] == f"00-{0xABC:032x}-{0xDEF:016x}-01"


async def test_no_proxy_is_asked(
    issuer: Issuer, at: Callable[..., JwksUrl], unused_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_port}")
    keys = at(issuer.url)
    await keys.refetch()
    assert known(keys) == ["one"]


async def test_over_tls_with_a_certificate_that_is_trusted(
    issuer: Issuer, certificate: Path, at: Callable[..., JwksUrl], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    keys = at(issuer.url)
    await keys.refetch()
    assert known(keys) == ["one"]


async def test_over_tls_with_one_that_is_not(
    issuer: Issuer, certificate: Path, at: Callable[..., JwksUrl], registry: CollectorRegistry, log_lines: Logs
) -> None:
    del certificate
    keys = at(issuer.url)
    await keys.refetch()
    assert known(keys) == []
    assert fetches(registry)["unreachable"] == 1
    assert "CERTIFICATE_VERIFY_FAILED" in json.dumps(log_lines())
    assert issuer.requests == []


async def test_a_set_of_one_key_more_is_the_same_for_the_others(issuer: Issuer, fetcher: Fetcher) -> None:
    one = json.loads(issuer.body)["keys"][0]
    issuer.body = json.dumps({"keys": [one, key("two").as_dict(private=False)]}).encode()
    await fetcher.again()
    assert known(fetcher.keys) == ["one", "two"]
    assert KeySet.import_key_set({"keys": [one]}).keys[0] in fetcher.keys.current().keys
