import pytest

from keel.security.token_cache import TokenCache
from tests.support.clock import Clock


@pytest.fixture
def cache(clock: Clock) -> TokenCache[str]:
    return TokenCache(2, clock)


KEYS = object()


def test_remembers(cache: TokenCache[str]) -> None:
    assert cache.get(b"token", KEYS) is None
    cache.put(b"token", KEYS, "alice", 200)
    assert cache.get(b"token", KEYS) == "alice"
    assert cache.get(b"tokem", KEYS) is None


def test_until_the_token_expires(cache: TokenCache[str], clock: Clock) -> None:
    cache.put(b"token", KEYS, "alice", 200)
    clock.now = 199.9
    assert cache.get(b"token", KEYS) == "alice"
    clock.now = 200
    assert cache.get(b"token", KEYS) is None
    assert len(cache) == 0


def test_until_the_keys_change(cache: TokenCache[str]) -> None:
    cache.put(b"token", KEYS, "alice", 200)
    newer = object()
    assert cache.get(b"token", newer) is None
    cache.put(b"other", newer, "bob", 200)
    assert cache.get(b"token", newer) is None
    assert len(cache) == 1


def test_the_least_recently_used_leaves_first(cache: TokenCache[str]) -> None:
    cache.put(b"one", KEYS, "1", 200)
    cache.put(b"two", KEYS, "2", 200)
    cache.get(b"one", KEYS)
    cache.put(b"three", KEYS, "3", 200)
    assert [cache.get(each, KEYS) for each in (b"one", b"two", b"three")] == ["1", None, "3"]


def test_holds_no_token(cache: TokenCache[str]) -> None:
    cache.put(b"secret-token", KEYS, "alice", 200)
    assert b"secret" not in repr(vars(cache)).encode()
