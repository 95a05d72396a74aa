"""Access tokens: JWTs (RFC 7519, RFC 9068) signed by the issuer, checked as RFC 8725 advises."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from joserfc import errors, jws, jwt
from joserfc.jwk import KeySet
from joserfc.util import urlsafe_b64decode

from app.http import strict_json
from app.security.keys import ALGORITHMS, KeySource, algorithms
from app.security.token_cache import TokenCache

TYPES = (None, "jwt", "at+jwt", "application/at+jwt")
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
    """Our algorithms, without joserfc's warning about EdDSA's name; headers with certificate hashes fit."""

    max_header_length = 2048  # the whole token is as long as a request's head may be

    def __init__(self) -> None:
        super().__init__(algorithms=ALGORITHMS, strict_check_header=False)  # RFC 7515: ignore the unknown

    def get_alg(self, name: str) -> Any:
        if name not in ALGORITHMS:
            raise errors.UnsupportedAlgorithmError(f"Algorithm of '{name}' is not allowed")
        return self.algorithms[name]


class TokenVerifier:
    def __init__(
        self, keys: KeySource, issuer: str, audience: str, leeway: int, clock: Callable[[], float] = time.time
    ) -> None:
        self.keys = keys
        self.leeway = leeway
        self.registry = AccessTokenRegistry()
        self.claims = jwt.JWTClaimsRegistry(
            now=lambda: int(clock()),
            leeway=leeway,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": audience},
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
        except errors.ExpiredTokenError as error:
            raise TokenExpiredError("The token has expired.") from error
        except (errors.JoseError, ValueError, TypeError) as error:
            raise InvalidTokenError("The token is not valid.") from error
        kind = header.get("typ")
        if (kind.lower() if isinstance(kind, str) else kind) not in TYPES:
            raise InvalidTokenError("The token is not an access token.")
        principal = Principal(_subject(claims), _scopes(claims))
        self._verified.put(token, keys, principal, claims["exp"] + self.leeway)
        return principal

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


def _scopes(claims: dict[str, Any]) -> frozenset[str]:
    """From scope, a string (RFC 9068), or without it from scp, which some issuers write instead, also as a list."""
    scopes = claims.get("scope")
    if scopes is None:
        scopes = claims.get("scp", "")
        if isinstance(scopes, list) and all(isinstance(scope, str) for scope in scopes):
            return frozenset(scopes)
    if not isinstance(scopes, str):
        raise InvalidTokenError("The token's sub or scope is not valid.")
    return frozenset(scopes.split(" ")) - {""}
