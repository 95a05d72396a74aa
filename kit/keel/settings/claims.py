"""Parses the settings that say where a token has its scopes; keel.security.scopes reads them there."""

from typing import Any

from keel import strict_json
from keel.settings.masking import shown

DEFAULT_CLAIMS = "scope,scp"

ClaimPath = tuple[str, ...]


def parse_claims(text: str) -> tuple[ClaimPath, ...]:
    """The claims that a setting names, separated by commas: names, or paths such as /realm_access/roles (RFC 6901).

    Raises:
        ValueError: the message has an example.
    """
    return tuple(_path(item.strip()) for item in text.split(","))


def _path(text: str) -> ClaimPath:
    if not text.startswith("/"):
        if not text:
            raise ValueError(f"must name claims such as {DEFAULT_CLAIMS} or /realm_access/roles: one has no name")
        if "." in text and "/" not in text:
            path, name = "/" + text.replace(".", "/"), "/" + text
            raise ValueError(f"must be {path} for a path, or {name} for a name with a dot: {shown(text)}")
        return (text,)
    names = text[1:].split("/")
    if "" in names:
        raise ValueError(f"must be a path such as /realm_access/roles: a name in {shown(text)} is empty")
    if any("~" in name.replace("~0", "").replace("~1", "") for name in names):
        raise ValueError(f"must have ~0 for ~ and ~1 for / in a name of a path (RFC 6901): {shown(text)}")
    return tuple(name.replace("~1", "/").replace("~0", "~") for name in names)


def parse_meanings(text: str) -> dict[str, frozenset[str]]:
    """The scopes of each value of the claim, from a JSON object.

    Raises:
        ValueError: the message has an example.
    """
    if not text:
        return {}
    example = 'must be a JSON object of values and their scopes, such as {"editors": "things:read things:write"}'
    try:
        document: Any = strict_json.loads(text.encode())
    except ValueError as error:
        raise ValueError(f"{example}: {error}") from None
    if not isinstance(document, dict) or not document:
        raise ValueError(example)
    for value, scopes in document.items():
        if not value or not isinstance(scopes, str) or not scopes.split():
            raise ValueError(f"{example}: {shown(value)} needs a string of scopes")
    return {value: frozenset(scopes.split()) for value, scopes in document.items()}
