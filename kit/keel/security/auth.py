"""OAuth 2.0 resource server: authenticates requests by their bearer tokens (RFC 6750) and checks their scopes."""

import math
from collections.abc import Awaitable, Callable

import structlog
from fastapi.openapi.models import HTTPBearer
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase
from prometheus_client import CollectorRegistry, Counter
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from keel.errors.problems import Problem
from keel.security.keys import KeysUnavailableError
from keel.security.tokens import MAX_SUBJECT_CHARACTERS, InvalidTokenError, Principal, TokenVerifier, UnknownKeyError

__all__ = ["MAX_SUBJECT_CHARACTERS", "AuthenticationMiddleware", "Authenticator", "Principal", "authenticate"]

log = structlog.get_logger("keel.security.auth")

OUTCOMES = (
    *("valid", "cached", "expired", "invalid", "unknown_key", "keys_unavailable"),
    *("malformed", "missing", "insufficient_scope"),
)
MAX_CAUSE_CHARACTERS = 200


class NotVerifiedError(Exception):
    """The token was not verified, because its sender is over the rate limit."""


class MalformedError(Exception):
    """The Authorization header is malformed; the message is for the client."""


TokenError = InvalidTokenError | KeysUnavailableError | NotVerifiedError | MalformedError


class Authenticator:
    """Verifies tokens, and counts the outcomes."""

    def __init__(self, verifier: TokenVerifier, registry: CollectorRegistry, realm: str) -> None:
        self.verifier = verifier
        self.realm = realm
        """The realm in a challenge (RFC 9110, section 11.5)."""
        text = "Tokens verified or cached, and requests refused without a token or a scope, by outcome."
        tokens = Counter("auth_tokens", text, ["outcome"], registry=registry)
        self._counters = {outcome: tokens.labels(outcome) for outcome in OUTCOMES}

    def count(self, outcome: str) -> None:
        """Count one of OUTCOMES."""
        self._counters[outcome].inc()

    def identify(self, token: bytes, may_verify: Callable[[], bool]) -> Principal | TokenError:
        """The principal of a token, or what is wrong with it.

        `may_verify` is called before a signature is verified, because that is expensive.
        """
        try:
            principal = self.verifier.recall(token)
            if principal is not None:
                self.count("cached")
                return principal
            if not may_verify():
                return NotVerifiedError()
            principal = self.verifier.verify(token)
        except (InvalidTokenError, KeysUnavailableError) as error:
            self.count(error.outcome)
            return error.with_traceback(None)  # the traceback would keep its frames alive as long as the request
        self.count("valid")
        return principal

    async def identify_later(self, token: bytes) -> Principal | TokenError:
        """Fetch the issuer's keys again, then `identify`."""
        await self.verifier.keys.refetch()
        return self.identify(token, lambda: True)


class AuthenticationMiddleware:
    """Puts the result of an Authorization header into scope["state"]: `principal` or `token_error`.

    It refuses nothing. Routes that need a token do, by `authenticate`. While `exhausted` says that a sender is over the
    rate limit, only tokens that were verified before are accepted.
    """

    def __init__(self, app: ASGIApp, authenticator: Authenticator, exhausted: Callable[[Scope], bool]) -> None:
        self.app = app
        self.authenticator = authenticator
        self.exhausted = exhausted

    # Not async: that would cost every request one more coroutine.
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http":
            for header in scope["headers"]:
                if header[0] == b"authorization":
                    read_token(scope, self.authenticator, self.exhausted)
                    break
        return self.app(scope, receive, send)


def read_token(scope: Scope, authenticator: Authenticator, exhausted: Callable[[Scope], bool]) -> None:
    """Put the result of the Authorization headers of `scope` into its state, as AuthenticationMiddleware does."""
    values = _authorization(scope)
    if len(values) > 1:
        authenticator.count("malformed")
        _note(scope, MalformedError("Send only one Authorization header."))
    elif values and (token := _bearer_token(values[0])):
        _note(scope, authenticator.identify(token, lambda: not exhausted(scope)))


def _authorization(scope: Scope) -> list[bytes]:
    return [value for name, value in scope["headers"] if name == b"authorization"]


def _bearer_token(value: bytes) -> bytes:
    """The token of an Authorization header; empty if its credentials are of another kind."""
    return value[7:].strip(b" ") if value[:7].lower() == b"bearer " else b""


def _note(scope: Scope, outcome: Principal | TokenError) -> None:
    scope.setdefault("state", {})["principal" if type(outcome) is Principal else "token_error"] = outcome


class Authenticate(SecurityBase):
    """The dependency `Security(authenticate, scopes=[...])`: the token must have all of these scopes."""

    def __init__(self) -> None:
        self.model = HTTPBearer(bearerFormat="JWT", description="Access token with the scope needed.")
        self.scheme_name = "HTTPBearer"

    async def __call__(self, request: HTTPConnection, needed: SecurityScopes) -> Principal:
        authenticator: Authenticator = request.app.state.authenticator
        state = request.scope.get("state", {})
        outcome: Principal | TokenError | None = state.get("principal") or state.get("token_error")
        if isinstance(outcome, UnknownKeyError | NotVerifiedError):
            outcome = await authenticator.identify_later(_bearer_token(_authorization(request.scope)[0]))
            _note(request.scope, outcome)
        if outcome is None:
            authenticator.count("missing")
            raise _challenge(authenticator.realm, 401, "Send an access token: Authorization: Bearer <token>.")
        if not isinstance(outcome, Principal):
            raise _refusal(outcome, authenticator.realm)
        if not outcome.scopes.issuperset(needed.scopes):
            authenticator.count("insufficient_scope")
            detail = f"The token lacks a scope: this needs {needed.scope_str}."
            parameters = {"error": "insufficient_scope", "scope": needed.scope_str}
            raise _challenge(authenticator.realm, 403, detail, **parameters)
        return outcome


authenticate = Authenticate()


def _refusal(error: TokenError, realm: str) -> Problem:
    if isinstance(error, KeysUnavailableError):
        return Problem(503, f"{error} Try again later.", {"Retry-After": str(math.ceil(error.retry_after))})
    if isinstance(error, MalformedError):
        return _challenge(realm, 400, str(error), error="invalid_request")
    log.info("token refused", reason=str(error), cause=str(error.__cause__ or "")[:MAX_CAUSE_CHARACTERS])
    return _challenge(realm, 401, str(error), error="invalid_token")


def _challenge(realm: str, status: int, detail: str, **parameters: str) -> Problem:
    """A Problem with a WWW-Authenticate header. Without a token it has no error code (RFC 6750, section 3)."""
    if parameters:
        parameters["error_description"] = detail
    values = {"realm": realm, **parameters}
    header = "Bearer " + ", ".join(f'{name}="{value}"' for name, value in values.items())
    return Problem(status, detail, {"WWW-Authenticate": header})
