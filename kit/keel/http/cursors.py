"""Cursors: where a page of a list ended, as an opaque string that clients send back for the next page."""

import base64
import binascii
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

MAX_CHARACTERS = 128
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECONDS = struct.Struct(">q")  # since the epoch; the key comes after it


class Position(NamedTuple):
    """The last item of a page. Not a number: so items that are added or deleted do not shift the pages."""

    created_at: datetime
    key: str
    """Distinguishes items that were made in the same microsecond; ASCII."""


def encode(position: Position) -> str:
    """The cursor of a position."""
    microseconds = (position.created_at - EPOCH) // timedelta(microseconds=1)
    packed = MICROSECONDS.pack(microseconds) + position.key.encode("ascii")
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode("ascii")


def decode(cursor: str, is_key: Callable[[str], bool]) -> Position:
    """The position of a cursor; `is_key` says whether an item can have a key.

    Raises:
        ValueError: `encode` has not made this cursor. The message is a sentence for the client.
    """
    try:
        packed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        (microseconds,) = MICROSECONDS.unpack(packed[: MICROSECONDS.size])
        key = packed[MICROSECONDS.size :].decode("ascii")
        position = Position(EPOCH + timedelta(microseconds=microseconds), key)
    except (ValueError, binascii.Error, struct.error, OverflowError):
        raise _unknown() from None
    # Base64 has several spellings of the same bytes, and some texts decode to nonsense: accept only what encode makes.
    if not is_key(key) or encode(position) != cursor:
        raise _unknown()
    return position


def _unknown() -> ValueError:
    return ValueError("This is not a valid cursor. Take it from next_cursor, or leave it out for the first page.")
