"""Scopes: the claim of a token that has them, and what its values mean here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keel.settings.claims import ClaimPath

# In OAuth's claims, a string is a list separated by spaces (RFC 8693, section 4.2). In any other claim a string is one
# value: otherwise a user with the name "bob admin" would become admin.
SPACE_SEPARATED = ("scope", "scp")


@dataclass(frozen=True)
class Scopes:
    """Reads the scopes from the first of `claims` that a token has.

    With `meanings`, each value of the claim gives the scopes listed there, and an unlisted value gives none.
    """

    claims: tuple[ClaimPath, ...] = (("scope",), ("scp",))
    meanings: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def read(self, token: dict[str, Any]) -> frozenset[str]:
        """The scopes of a token by its claims; none if it has no such claim.

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
