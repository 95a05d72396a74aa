"""Verifies access tokens: JWTs (RFC 7519, RFC 9068) signed by the issuer, checked as RFC 8725 advises."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from joserfc import errors, jws, jwt
from joserfc.jwk import KeySet
from joserfc.util import urlsafe_b64decode

from keel import strict_json
from keel.security.keys import KeySource, algorithms
from keel.security.scopes import Scopes
from keel.security.token_cache import TokenCache
from keel.settings.algorithms import ALGORITHMS

ACCESS_TOKEN_TYPES = ("at+jwt", "application/at+jwt")  # RFC 9068
TYPES = (None, "jwt", *ACCESS_TOKEN_TYPES)
MAX_SUBJECT_CHARACTERS = 255
MAX_TIME = 253_402_300_799  # the end of the year 9999
MAX_CACHED = 4096


@dataclass(frozen=True, slots=True)
class Principal:
    """Who sends a request, and the scopes of their token."""

    subject: str
    scopes: frozenset[str]


class InvalidTokenError(Exception):
    """The message is for the client; the cause is for the log, and `outcome` for the metric."""

    outcome = "invalid"


class TokenExpiredError(InvalidTokenError):
    """The token has expired."""

    outcome = "expired"


class UnknownKeyError(InvalidTokenError):
    """The token names an unknown key, which the issuer may have published since the last fetch."""

    outcome = "unknown_key"


class AccessTokenRegistry(jws.JWSRegistry):
    """The allowed algorithms; without joserfc's warning about the name EdDSA, and with room for longer headers."""

    max_header_length = 2048  # enough for hashes of certificates; the head of the request limits the whole token

    def __init__(self, allowed: Collection[str]) -> None:
        super().__init__(algorithms=allowed, strict_check_header=False)  # RFC 7515: ignore unknown parameters
        self._names = frozenset(allowed)

    def get_alg(self, name: str) -> Any:
        if name not in self._names:
            raise errors.UnsupportedAlgorithmError(f"Algorithm of '{name}' is not allowed")
        return self.algorithms[name]


class TokenVerifier:
    """Accepts tokens of `issuer` for `audience`, which is in the claim `audience_claim`.

    If that claim is not aud, a token must say that it is an access token, because an ID token names its client too. If
    the token also has an aud, that must contain the audience as well (RFC 7519, section 4.1.3).
    """

    def __init__(
        self,
        keys: KeySource,
        issuer: str,
        audience: str,
        leeway: int,
        clock: Callable[[], float] = time.time,
        *,
        audience_claim: str = "aud",
        algorithms: Collection[str] = ALGORITHMS,
        scopes: Scopes | None = None,
    ) -> None:
        self.keys = keys
        self.leeway = leeway
        self.registry = AccessTokenRegistry(algorithms)
        self.scopes = scopes or Scopes()
        self.audience = audience
        self.audience_claim = audience_claim
        self.claims = jwt.JWTClaimsRegistry(
            now=lambda: int(clock()),
            leeway=leeway,
            iss={"essential": True, "value": issuer},
            aud={"essential": audience_claim == "aud", "value": audience},
            sub={"essential": True},
            exp={"essential": True},
        )
        self._verified: TokenCache[Principal] = TokenCache(MAX_CACHED, clock)

    def recall(self, token: bytes) -> Principal | None:
        """The principal of a token that was verified before and is still valid; otherwise None.

        Raises:
            KeysUnavailableError: there are no keys yet.
        """
        return self._verified.get(token, self.keys.current())

    def verify(self, token: bytes) -> Principal:
        """Verify signature, type, issuer, audience and times; returns the principal.

        Raises:
            InvalidTokenError: one of them is not valid.
            KeysUnavailableError: there are no keys yet.
        """
        keys = self.keys.current()
        try:
            header, claims = self._signed(token, keys)
            self.claims.validate(claims)
            if any(abs(claims.get(name, 0)) > MAX_TIME for name in ("exp", "nbf", "iat")):
                raise ValueError("exp, nbf or iat is no time")
            if self.audience_claim != "aud" and claims.get(self.audience_claim) != self.audience:
                raise ValueError(f"{self.audience_claim} is not the audience")
        except errors.ExpiredTokenError as error:
            raise TokenExpiredError("The token has expired.") from error
        except (errors.JoseError, ValueError, TypeError) as error:
            raise InvalidTokenError("The token is not valid.") from error
        if not self._is_access_token(header, claims):
            raise InvalidTokenError("The token is not an access token.")
        principal = Principal(_subject(claims), self._scopes(claims))
        self._verified.put(token, keys, principal, claims["exp"] + self.leeway)
        return principal

    def _is_access_token(self, header: dict[str, Any], claims: dict[str, Any]) -> bool:
        """Whether it is an access token: by the header's typ, Cognito's token_use and Keycloak's typ claim, if any."""
        kind, use = header.get("typ"), claims.get("token_use")
        kind = kind.lower() if isinstance(kind, str) else kind
        if kind not in TYPES or use not in (None, "access") or claims.get("typ") == "ID":
            return False
        return self.audience_claim == "aud" or use == "access" or kind in ACCESS_TOKEN_TYPES

    def _scopes(self, claims: dict[str, Any]) -> frozenset[str]:
        try:
            return self.scopes.read(claims)
        except ValueError as error:
            raise InvalidTokenError("The token's sub or scope is not valid.") from error

    def _signed(self, token: bytes, keys: KeySet) -> tuple[dict[str, Any], dict[str, Any]]:
        """The header and claims, after verifying the signature by the key that the header names."""
        header: Any = strict_json.loads(urlsafe_b64decode(token.partition(b".")[0]))
        if not isinstance(header, dict):
            raise ValueError("the header is no object")
        if "crit" in header:  # RFC 7515, section 4.1.11: no extension is supported, such as b64
            raise ValueError("the header has crit")
        self.registry.check_header(header)
        self.registry.get_alg(header["alg"])  # before the keys are fetched for an algorithm that is not allowed
        kid = header.get("kid")
        named = [key for key in keys if kid is None or key.kid == kid]
        if kid is not None and not named:
            raise UnknownKeyError("The token is not valid.") from ValueError("its key is not known")
        fit = [key for key in named if header["alg"] in algorithms(key)]
        if len(fit) != 1:
            raise ValueError(f"of its keys {len(fit)} are for its algorithm")
        payload = jws.deserialize_compact(token, fit[0], registry=self.registry).payload
        claims: Any = strict_json.loads(payload)
        if not isinstance(claims, dict):
            raise ValueError("the payload is no object")
        return header, claims


def _subject(claims: dict[str, Any]) -> str:
    subject: str = claims["sub"]
    if len(subject) > MAX_SUBJECT_CHARACTERS or not subject.isprintable():
        raise InvalidTokenError("The token's sub or scope is not valid.")
    return subject
