"""Conditional requests (RFC 9110, section 13) on resources with a strong ETag."""

import re
from collections.abc import Sequence

from starlette.datastructures import Headers

# An element of a comma separated list, which may be empty (RFC 9110, section 5.6.1).
_ELEMENT = re.compile(r'[ \t]*(?:(W/)?("[\x21\x23-\x7e\x80-\xff]*")[ \t]*)?(?:,|\Z)')


def strong(value: str) -> str:
    """The ETag of a representation that is the same, byte for byte, whenever `value` is."""
    return f'"{value}"'


def if_match(header: Sequence[str], etag: str) -> bool:
    """Whether what exists with `etag` satisfies an If-Match: no weak tag does. True without a header.

    `header` is the field's lines. What cannot be read as a list of tags matches nothing.
    """
    if not header:
        return True
    value = ",".join(header)
    return value.strip() == "*" or any(not weak and tag == etag for weak, tag in _tags(value))


def if_none_match(header: Sequence[str], etag: str) -> bool:
    """Whether what exists with `etag` satisfies an If-None-Match: a weak tag counts as its strong one.

    False means 304 to GET and HEAD. What cannot be read as a list of tags matches nothing.
    """
    if not header:
        return True
    value = ",".join(header)
    return value.strip() != "*" and all(tag != etag for _, tag in _tags(value))


def failed_precondition(method: str, headers: Headers, etag: str) -> int | None:
    """The status to answer with in place of doing what is asked of the resource with `etag`, None to do it.

    For requests that would succeed otherwise: an error of theirs comes first (RFC 9110, section 13.2.1).
    """
    if not if_match(headers.getlist("if-match"), etag):
        return 412
    if not if_none_match(headers.getlist("if-none-match"), etag):
        return 304 if method in ("GET", "HEAD") else 412
    return None


def _tags(value: str) -> list[tuple[str, str]]:
    """Each tag of a list, with W/ or an empty string before it; none if it is no such list."""
    tags, position = [], 0
    while position < len(value):
        element = _ELEMENT.match(value, position)
        if element is None:
            return []
        if element[2]:
            tags.append((element[1] or "", element[2]))
        position = element.end()
    return tags
