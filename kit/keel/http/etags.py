"""Conditional requests (RFC 9110, section 13) on resources with a strong ETag."""

import re
from collections.abc import Sequence

from starlette.datastructures import Headers

# An element of a comma-separated list. It may be empty (RFC 9110, section 5.6.1).
_ELEMENT = re.compile(r'[ \t]*(?:(W/)?("[\x21\x23-\x7e\x80-\xff]*")[ \t]*)?(?:,|\Z)')


def strong(value: str) -> str:
    """A strong ETag: where `value` is the same, the representation is the same, byte for byte."""
    return f'"{value}"'


def if_match(header: Sequence[str], etag: str) -> bool:
    """Whether a resource with `etag` satisfies If-Match. True without a header; a weak tag never matches.

    `header` has the lines of the field. A header that is not a list of tags matches nothing.
    """
    if not header:
        return True
    value = ",".join(header)
    return value.strip() == "*" or any(not weak and tag == etag for weak, tag in _tags(value))


def if_none_match(header: Sequence[str], etag: str) -> bool:
    """Whether a resource with `etag` satisfies If-None-Match. A weak tag matches like a strong one.

    False means 304 for GET and HEAD. A header that is not a list of tags matches nothing.
    """
    if not header:
        return True
    value = ",".join(header)
    return value.strip() != "*" and all(tag != etag for _, tag in _tags(value))


def failed_precondition(method: str, headers: Headers, etag: str) -> int | None:
    """The status (304 or 412) of a request whose preconditions fail for a resource with `etag`; None if they hold.

    Call it only for a request that would succeed otherwise: other errors come first (RFC 9110, section 13.2.1).
    """
    if not if_match(headers.getlist("if-match"), etag):
        return 412
    if not if_none_match(headers.getlist("if-none-match"), etag):
        return 304 if method in ("GET", "HEAD") else 412
    return None


def _tags(value: str) -> list[tuple[str, str]]:
    """The tags of a list, each with "W/" or "" before it; an empty list if `value` is not a list of tags."""
    tags, position = [], 0
    while position < len(value):
        element = _ELEMENT.match(value, position)
        if element is None:
            return []
        if element[2]:
            tags.append((element[1] or "", element[2]))
        position = element.end()
    return tags
