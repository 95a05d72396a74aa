import base64
import re
import struct
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keel.http import cursors
from keel.http.cursors import Position

MADE = datetime(2026, 3, 1, 9, 30, 0, 123456, tzinfo=UTC)

PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

keys = st.from_regex(PATTERN, fullmatch=True)
times = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-9)), timezone(timedelta(hours=13))]))


def is_valid(key: str) -> bool:
    return PATTERN.fullmatch(key) is not None


@given(times, keys)
def test_there_and_back(created_at: datetime, key: str) -> None:
    cursor = cursors.encode(Position(created_at, key))
    assert cursors.decode(cursor, is_valid) == (created_at, key)
    assert len(cursor) <= cursors.MAX_CHARACTERS
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@given(st.one_of(st.text(), st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode().rstrip("="))))
def test_anything_else_is_a_mistake_of_the_clients(text: str) -> None:
    try:
        position = cursors.decode(text, is_valid)
    except ValueError as error:
        assert str(error).startswith("This is not a valid cursor")  # noqa: PT017
    else:
        assert cursors.encode(position) == text


def packed(microseconds: int, key: bytes) -> str:
    return base64.urlsafe_b64encode(struct.pack(">q", microseconds) + key).decode().rstrip("=")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "AAAA",
        packed(0, b""),
        packed(0, b"a b"),
        packed(0, b"abc\x00"),
        packed(0, b"\xff\xff\xff"),
        packed(2**63 - 1, b"abc"),
        packed(-(2**63), b"abc"),
        cursors.encode(Position(MADE, "spring-sale")) + "=",
        cursors.encode(Position(MADE, "spring-sale")) + "!",
        " " + cursors.encode(Position(MADE, "spring-sale")),
    ],
)
def test_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="not a valid cursor"):
        cursors.decode(text, is_valid)


def test_is_the_same_in_the_next_release() -> None:
    """A client may hold one while the service is replaced."""
    assert cursors.encode(Position(MADE, "spring-sale")) == "AAZL8x0_2EBzcHJpbmctc2FsZQ"
