"""Strict JSON (RFC 7493, I-JSON): refuses documents that two parsers may read differently."""

import json
from typing import Any, NoReturn


def loads(text: bytes) -> Any:
    """The value of a JSON text in UTF-8.

    Raises:
        ValueError: it is not JSON, names a member twice, contains NaN or Infinity, or is nested too deeply.
    """
    try:
        return json.loads(text.decode("utf-8"), object_pairs_hook=_members, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("it names a member twice")
    return members


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")
