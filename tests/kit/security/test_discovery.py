"""Keys found by what their issuer says of itself, on a real HTTP server of our own."""

import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey
from prometheus_client import CollectorRegistry

from keel.security.jwks import MAX_BYTES, DiscoveredJwks
from keel.security.keys import KeysUnavailableError
from keel.settings.issuer_urls import metadata_urls
from tests.support.clock import Clock
from tests.support.issuer import Issuer

pytestmark = pytest.mark.anyio

OPENID, OAUTH = "/realms/one/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/realms/one"

Logs = Callable[[], list[dict[str, Any]]]
Until = Callable[[Callable[[], object]], Awaitable[None]]


def jwks(name: str) -> bytes:
    return json.dumps({"keys": [ECKey.generate_key("P-256", {"kid": name}).as_dict(private=False)]}).encode()


def metadata(server: Issuer, **others: Any) -> bytes:
    return json.dumps({"issuer": f"{server.origin}/realms/one", "jwks_uri": f"{server.origin}/keys"} | others).encode()


@pytest.fixture
def issuer(issuer: Issuer) -> Issuer:
    """Says where its key is."""
    issuer.pages = {OPENID: metadata(issuer), "/keys": jwks("one")}
    return issuer


@pytest.fixture
def pages(issuer: Issuer) -> dict[str, bytes]:
    assert issuer.pages
    return issuer.pages


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


@pytest.fixture
def at(registry: CollectorRegistry, clock: Clock) -> Callable[..., DiscoveredJwks]:
    def at(issuer: str, timeout: float = 10) -> DiscoveredJwks:
        return DiscoveredJwks(
            issuer, refresh=36_000, cooldown=3600, timeout=timeout, registry=registry, clock=lambda: clock.now
        )

    return at


@pytest.fixture
def keys(issuer: Issuer, at: Callable[..., DiscoveredJwks], log_lines: Logs) -> DiscoveredJwks:
    del log_lines
    return at(f"{issuer.origin}/realms/one")


def known(keys: DiscoveredJwks) -> list[str | None]:
    return [each.kid for each in keys.current()]


def errors(log_lines: Logs) -> list[dict[str, Any]]:
    return [line for line in log_lines() if line["log.level"] == "error"]


async def test_the_issuer_says_where_its_keys_are(issuer: Issuer, keys: DiscoveredJwks) -> None:
    with pytest.raises(KeysUnavailableError):
        keys.current()
    await keys.refetch()
    assert known(keys) == ["one"]
    assert issuer.paths == [OPENID, "/keys"]


async def test_an_issuer_that_ends_with_a_slash(
    issuer: Issuer, pages: dict[str, bytes], at: Callable[..., DiscoveredJwks]
) -> None:
    pages[OPENID] = metadata(issuer, issuer=f"{issuer.origin}/realms/one/")
    keys = at(f"{issuer.origin}/realms/one/")
    await keys.refetch()
    assert known(keys) == ["one"]


async def test_an_issuer_of_oauth_alone(issuer: Issuer, pages: dict[str, bytes], keys: DiscoveredJwks) -> None:
    pages[OAUTH] = pages.pop(OPENID)
    await keys.refetch()
    assert known(keys) == ["one"]
    assert issuer.paths == [OPENID, OAUTH, "/keys"]


def test_where_an_issuer_without_a_path_is_asked() -> None:
    for issuer in ("https://id.example.com", "https://id.example.com/"):
        assert metadata_urls(issuer) == (
            "https://id.example.com/.well-known/openid-configuration",
            "https://id.example.com/.well-known/oauth-authorization-server",
        )


async def test_keys_that_move_are_followed(
    issuer: Issuer, pages: dict[str, bytes], keys: DiscoveredJwks, clock: Clock
) -> None:
    await keys.refetch()
    pages |= {OPENID: metadata(issuer, jwks_uri=f"{issuer.origin}/new"), "/new": jwks("two")}
    await keys.refetch()
    assert known(keys) == ["one"]  # too soon
    clock.now += 3600
    await keys.refetch()
    assert known(keys) == ["two"]
    assert issuer.paths == [OPENID, "/keys", OPENID, "/new"]


async def test_what_has_not_changed_is_the_same_object(keys: DiscoveredJwks, clock: Clock) -> None:
    await keys.refetch()
    before = keys.current()
    clock.now += 3600
    await keys.refetch()
    assert keys.current() is before


@pytest.mark.parametrize(
    ("page", "outcome", "reason"),
    [
        (b"<html>", "unusable", "Expecting value"),
        (b"\xff", "unusable", "utf-8"),
        (b"[]", "unusable", 'expected a JSON object with "issuer" and "jwks_uri" (OpenID Connect Discovery 1.0)'),
        (b'{"issuer": "a", "issuer": "b"}', "unusable", "it names a member twice"),
        (b" " * (MAX_BYTES + 1), "unusable", "the answer exceeds 65536 bytes"),
        ({"issuer": "https://evil.example"}, "unusable", "its issuer is 'https://evil.example', and APP_JWT_ISSUER 'h"),
        ({"issuer": "ORIGIN/realms/one/"}, "unusable", "/realms/one': they must be the same"),
        ({"issuer": "ORIGIN/realms/ONE"}, "unusable", "they must be the same"),
        ({"issuer": None}, "unusable", "its issuer is None, and"),
        ({"jwks_uri": None}, "unusable", "it has no jwks_uri, which would be the address of the keys"),
        ({"jwks_uri": ["ORIGIN/keys"]}, "unusable", "it has no jwks_uri"),
        ({"jwks_uri": "/keys"}, "unusable", "its jwks_uri is '/keys', and must be a URL such as"),
        ({"jwks_uri": "file://localhost/etc/keys"}, "unusable", "must begin with https://"),
        ({"jwks_uri": "ORIGIN/a b"}, "unusable", "must be a URL such as"),
        ({"jwks_uri": "ORIGIN/none"}, "unreachable", "the answer has status 404"),
        ({"jwks_uri": "http://127.0.0.1:1/"}, "unreachable", "refused"),
        ({"jwks_uri": f"ORIGIN{OPENID}"}, "unusable", 'expected a JSON object with "keys"'),
        (None, "unreachable", f"the answer has status 404, and so has that of ORIGIN{OPENID}"),
    ],
)
async def test_what_cannot_be_used_leaves_the_keys_there_were(
    issuer: Issuer,
    pages: dict[str, bytes],
    keys: DiscoveredJwks,
    clock: Clock,
    registry: CollectorRegistry,
    log_lines: Logs,
    page: bytes | dict[str, Any] | None,
    outcome: str,
    reason: str,
) -> None:
    await keys.refetch()
    good = pages.pop(OPENID)
    if isinstance(page, dict):
        pages[OPENID] = json.dumps(json.loads(good) | page).replace("ORIGIN", issuer.origin).encode()
    elif page is not None:
        pages[OPENID] = page
    clock.now += 3600
    await keys.refetch()
    assert known(keys) == ["one"]
    assert registry.get_sample_value("jwks_fetches_total", {"outcome": outcome}) == 1
    (line,) = errors(log_lines)
    assert reason.replace("ORIGIN", issuer.origin) in line["event.reason"]
    pages |= {OPENID: good, "/keys": jwks("two")}
    clock.now += 3600
    await keys.refetch()
    assert known(keys) == ["two"]


async def test_the_log_names_the_address_that_failed(
    issuer: Issuer, pages: dict[str, bytes], keys: DiscoveredJwks, log_lines: Logs
) -> None:
    del pages["/keys"]
    await keys.refetch()
    (line,) = errors(log_lines)
    assert line["labels.url"] == f"{issuer.origin}/keys"


async def test_redirects_are_not_followed(issuer: Issuer, keys: DiscoveredJwks, log_lines: Logs) -> None:
    issuer.status, issuer.headers = 302, {"Location": f"{issuer.origin}/elsewhere"}
    await keys.refetch()
    assert "redirects are not followed" in json.dumps(errors(log_lines))
    assert issuer.paths == [OPENID]


async def test_keys_of_an_https_issuer_come_over_https(
    issuer: Issuer,
    certificate: Path,
    at: Callable[..., DiscoveredJwks],
    log_lines: Logs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    plain = f"http://127.0.0.1:{issuer.server_port}/keys"
    issuer.pages = {OPENID: metadata(issuer, jwks_uri=plain), "/keys": jwks("one")}
    await at(f"{issuer.origin}/realms/one").refetch()
    assert f"its jwks_uri is '{plain}', and must begin with https://" in json.dumps(errors(log_lines))
    assert issuer.paths == [OPENID]


async def test_both_answers_together_have_one_deadline(
    issuer: Issuer, pages: dict[str, bytes], at: Callable[..., DiscoveredJwks], log_lines: Logs
) -> None:
    """Each byte takes 4 ms, so that either answer alone would be in time."""
    issuer.drip, issuer.pause = True, 0.004
    assert all(len(page) < 200 for page in pages.values())
    assert sum(map(len, pages.values())) > 230
    keys = at(f"{issuer.origin}/realms/one", timeout=0.9)
    started = time.monotonic()
    await keys.refetch()
    assert 0.8 < time.monotonic() - started < 5
    assert "no answer within 0.9 s" in json.dumps(errors(log_lines))


async def test_one_read_however_many_tokens_name_an_unknown_key(issuer: Issuer, keys: DiscoveredJwks) -> None:
    for _ in range(100):
        await keys.refetch()
    assert issuer.paths == [OPENID, "/keys"]


async def test_an_issuer_that_comes_late(
    issuer: Issuer, pages: dict[str, bytes], registry: CollectorRegistry, log_lines: Logs, until: Until
) -> None:
    del log_lines
    good = pages.pop(OPENID)
    keys = DiscoveredJwks(f"{issuer.origin}/realms/one", refresh=3600, cooldown=0.02, timeout=10, registry=registry)
    async with keys.refreshing():
        await until(lambda: len(issuer.paths) > 4)
        with pytest.raises(KeysUnavailableError):
            keys.current()
        pages[OPENID] = good
        await until(lambda: registry.get_sample_value("jwks_fetches_total", {"outcome": "ok"}))
    assert known(keys) == ["one"]
