"""Access tokens: JWTs (RFC 7519, RFC 9068) signed by the issuer, checked as RFC 8725 advises."""

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
    """Who asks, and what the token lets them do."""

    subject: str
    scopes: frozenset[str]


class InvalidTokenError(Exception):
    """The message is for the client; the cause is for the log, and `outcome` for the metric."""

    outcome = "invalid"


class TokenExpiredError(InvalidTokenError):
    outcome = "expired"


class UnknownKeyError(InvalidTokenError):
    """It names a key that is not in force, which the issuer may have published since."""

    outcome = "unknown_key"


class AccessTokenRegistry(jws.JWSRegistry):
    """The allowed algorithms, without joserfc's warning about EdDSA's name; headers with certificate hashes fit."""

    max_header_length = 2048  # the whole token is as long as a request's head may be

    def __init__(self, allowed: Collection[str]) -> None:
        super().__init__(algorithms=allowed, strict_check_header=False)  # RFC 7515: ignore the unknown
        self._names = frozenset(allowed)

    def get_alg(self, name: str) -> Any:
        if name not in self._names:
            raise errors.UnsupportedAlgorithmError(f"Algorithm of '{name}' is not allowed")
        return self.algorithms[name]


class TokenVerifier:
    """Accepts tokens of `issuer` for `audience`, which is in the claim `audience_claim`.

    Where that claim is not aud, a token must say that it is an access token, since an ID token names its client too;
    and an aud that it has besides must hold the audience as well (RFC 7519, section 4.1.3).
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
        """Whose token it is, if it has been verified before and still holds.

        Raises:
            KeysUnavailableError: there are no keys to hold it against.
        """
        return self._verified.get(token, self.keys.current())

    def verify(self, token: bytes) -> Principal:
        """Check signature, type, issuer, audience and times.

        Raises:
            InvalidTokenError: any of them does not hold.
            KeysUnavailableError: there are no keys to check it with.
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
        """By the header's type, by Cognito's token_use and by Keycloak's claim typ, where the issuer writes these."""
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
        """Header and claims, whose signature is that of the one key that the header means."""
        header: Any = strict_json.loads(urlsafe_b64decode(token.partition(b".")[0]))
        if not isinstance(header, dict):
            raise ValueError("the header is no object")
        if "crit" in header:  # RFC 7515, section 4.1.11: we understand no extension, b64 among them
            raise ValueError("the header has crit")
        self.registry.check_header(header)
        self.registry.get_alg(header["alg"])  # before the issuer is asked for a key that could not sign so
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
