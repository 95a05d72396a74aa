"""Scopes: which claim of a token holds them, and what its values mean here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.http import strict_json
from app.masking import shown

DEFAULT_CLAIMS = "scope,scp"
# OAuth's claims, whose string is a list separated by spaces (RFC 8693, section 4.2). The string of any other claim
# is one value: of a user's own name "bob admin" nobody may become admin.
SPACE_SEPARATED = ("scope", "scp")

ClaimPath = tuple[str, ...]


@dataclass(frozen=True)
class Scopes:
    """Reads the scopes from the first of `claims` that a token has.

    With `meanings`, each value of the claim gives the scopes listed there, and one that is not listed gives none.
    """

    claims: tuple[ClaimPath, ...] = (("scope",), ("scp",))
    meanings: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def read(self, token: dict[str, Any]) -> frozenset[str]:
        """The scopes of a token with these claims; none if it has no such claim.

        Raises:
            ValueError: the claim is neither a string nor a list of strings.
        """
        for path in self.claims:
            value = _at(path, token)
            if value is not None:
                return self._meaning(_values(path[-1], value))
        return frozenset()

    def _meaning(self, values: frozenset[str]) -> frozenset[str]:
        if not self.meanings:
            return values
        return frozenset[str]().union(*(self.meanings.get(value, ()) for value in values))


def _at(path: ClaimPath, claims: dict[str, Any]) -> Any:
    value: Any = claims
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def _values(name: str, value: object) -> frozenset[str]:
    if isinstance(value, str):
        return frozenset(value.split(" ") if name in SPACE_SEPARATED else [value]) - {""}
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return frozenset(value) - {""}
    raise ValueError(f"{name} is neither a string nor a list of strings")


def parse_claims(text: str) -> tuple[ClaimPath, ...]:
    """The claims that a setting names, separated by commas: names, or paths such as /realm_access/roles (RFC 6901).

    Raises:
        ValueError: the message says what one looks like.
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
    """What a setting says that values of the claim mean: a JSON object of values, each with scopes.

    Raises:
        ValueError: the message says what it looks like.
    """
    if not text:
        return {}
    example = 'must be a JSON object of values and their scopes, such as {"editors": "links:read links:write"}'
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
