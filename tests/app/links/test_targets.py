import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.links.targets import Target, as_stale, decode, encode

URL = "https://example.com/?q={a}"


@given(st.one_of(st.none(), st.floats(min_value=0, max_value=1e11)))
def test_there_and_back(expires_at: float | None) -> None:
    assert decode(encode(Target(URL, expires_at))) == Target(URL, expires_at)


@pytest.mark.parametrize(
    "data", [b"", b"https://example.com/", b"soon https://example.com/", b"\xff https://example.com/"]
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says: the cache tells it from other errors
        decode(data)


@given(st.binary())
def test_garbage_never_fails_otherwise(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(decode(data), Target)


def test_expires_at_its_moment() -> None:
    assert not Target(URL).expired(1e12)
    assert not Target(URL, 100.0).expired(99.9)
    assert Target(URL, 100.0).expired(100.0)


def test_what_is_stale_expires_all_the_same() -> None:
    stale = as_stale(Target(URL, 100.0))
    assert (stale.stale, stale.url) == (True, URL)
    assert stale.expired(100.0)
    assert not Target(URL).stale
