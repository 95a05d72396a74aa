"""OAuth 2.0 resource server: bearer tokens (RFC 6750) that are JWTs (RFC 7519, RFC 9068)."""

from dataclasses import dataclass
from typing import Annotated, Any

import structlog
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, JoseError, UnsupportedAlgorithmError
from joserfc.jws import JWSRegistry

from app.keys import KeyFile
from app.problems import Problem

log = structlog.get_logger("app.auth")

REALM = "shipshape"
# Asymmetric only, or a public key could be used as an HMAC secret. Ed25519 is RFC 9864's name for
# what most issuers still call EdDSA.
ALGORITHMS = frozenset({"RS256", "ES256", "EdDSA", "Ed25519"})
TYPES = (None, "jwt", "at+jwt", "application/at+jwt")
MAX_TOKEN_CHARACTERS = 8192
MAX_SUBJECT_CHARACTERS = 255

scheme = HTTPBearer(bearerFormat="JWT", auto_error=False, description="Access token with the scope needed.")


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, and what the token lets them do."""

    subject: str
    scopes: frozenset[str]


class InvalidTokenError(Exception):
    """The message is for the client; the cause is for the log."""


class AccessTokenRegistry(JWSRegistry):
    """Our algorithms, without joserfc's warning about EdDSA's name; headers with certificate hashes fit."""

    max_header_length = 2048

    def __init__(self) -> None:
        super().__init__(algorithms=ALGORITHMS, strict_check_header=False)  # RFC 7515: ignore the unknown

    def get_alg(self, name: str) -> Any:
        if name not in ALGORITHMS:
            raise UnsupportedAlgorithmError(f"Algorithm of '{name}' is not allowed")
        return self.algorithms[name]


class TokenVerifier:
    def __init__(self, keys: KeyFile, issuer: str, audience: str, leeway: int) -> None:
        self.keys = keys
        self.registry = AccessTokenRegistry()
        self.claims = jwt.JWTClaimsRegistry(
            leeway=leeway,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": audience},
            sub={"essential": True},
            exp={"essential": True},
        )

    def verify(self, token: str) -> Principal:
        """Check signature, type, issuer, audience and times (RFC 8725).

        Raises:
            InvalidTokenError: any of them does not hold.
        """
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise InvalidTokenError("The token is too long.")
        keys = self.keys.current()
        try:
            decoded = jwt.decode(token, keys, registry=self.registry)
            self.claims.validate(decoded.claims)
        except ExpiredTokenError as error:
            raise InvalidTokenError("The token has expired.") from error
        except (JoseError, ValueError, TypeError) as error:
            raise InvalidTokenError("The token is not valid.") from error
        kind, subject, scope = (
            decoded.header.get("typ"),
            decoded.claims["sub"],
            decoded.claims.get("scope", ""),
        )
        if (kind.lower() if isinstance(kind, str) else kind) not in TYPES:
            raise InvalidTokenError("The token is not an access token.")
        if len(subject) > MAX_SUBJECT_CHARACTERS or not subject.isprintable() or not isinstance(scope, str):
            raise InvalidTokenError("The token's sub or scope is not valid.")
        return Principal(subject, frozenset(scope.split()))


async def authenticate(
    request: Request,
    needed: SecurityScopes,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(scheme)],
) -> Principal:
    """Dependency: `Security(authenticate, scopes=[...])` lets in who holds all of these scopes."""
    if len(request.headers.getlist("authorization")) > 1:
        raise _challenge(400, "There is more than one Authorization header.", error="invalid_request")
    if credentials is None:
        raise _challenge(401, "Send an access token: Authorization: Bearer <token>.")
    verifier: TokenVerifier = request.app.state.token_verifier
    try:
        principal = verifier.verify(credentials.credentials)
    except InvalidTokenError as error:
        log.info("token refused", reason=str(error), cause=str(error.__cause__ or ""))
        raise _challenge(401, str(error), error="invalid_token") from error
    if not principal.scopes.issuperset(needed.scopes):
        detail = f"The token lacks a scope: this needs {needed.scope_str}."
        raise _challenge(403, detail, error="insufficient_scope", scope=needed.scope_str)
    return principal


def _challenge(status: int, detail: str, **parameters: str) -> Problem:
    """RFC 6750, section 3: the error code is left out when no token was sent."""
    if parameters:
        parameters["error_description"] = detail
    values = {"realm": REALM, **parameters}
    header = "Bearer " + ", ".join(f'{name}="{value}"' for name, value in values.items())
    return Problem(status, detail, {"WWW-Authenticate": header})
