"""Limits the requests of a client: by the subject of a valid token, otherwise by address.

Each process decides by itself, from its own counts and the last known counts of the others
(keel.security.rate_limit_sync). So no request waits for other processes.
"""

from collections.abc import Awaitable

from prometheus_client import CollectorRegistry, Counter, Gauge
from starlette.types import ASGIApp, Receive, Scope, Send

from keel.errors.problems import Problem, ProblemResponse
from keel.security.client_network import client_network
from keel.security.sliding_window import WINDOW, SlidingWindow
from keel.security.tokens import Principal
from keel.settings import Settings

MAX_CLIENTS = 32768  # for each kind and minute, in about 8 MiB


class RateLimiter:
    """Limits by address and by token, each with a sliding window."""

    def __init__(self, settings: Settings, registry: CollectorRegistry) -> None:
        self.addresses = SlidingWindow(settings.rate_limit_address_per_minute, MAX_CLIENTS)
        self.subjects = SlidingWindow(settings.rate_limit_token_per_minute, MAX_CLIENTS)
        self.windows = {"address": self.addresses, "token": self.subjects}
        limited = Counter("rate_limited", "Requests refused by the rate limits, by kind.", ["kind"], registry=registry)
        clients = Gauge("rate_limit_clients", "Clients counted in memory, by kind.", ["kind"], registry=registry)
        self._limited = {kind: limited.labels(kind) for kind in self.windows}
        for kind, window in self.windows.items():
            clients.labels(kind).set_function(window.__len__)

    def exhausted(self, scope: Scope) -> bool:
        """Whether the address of a request is over its limit."""
        return self.addresses.wait(client_network(scope)) > 0

    def check(self, scope: Scope) -> Problem | None:
        """Count a request; returns the problem if it is over the limit."""
        principal: Principal | None = scope.get("state", {}).get("principal")
        if principal is not None:
            wait = self.subjects.take(principal.subject)
            return self._refuse("token", wait) if wait else None
        wait = self.addresses.take(client_network(scope))
        return self._refuse("address", wait) if wait else None

    def _refuse(self, kind: str, wait: int) -> Problem:
        self._limited[kind].inc()
        headers = {  # draft-ietf-httpapi-ratelimit-headers-11
            "Retry-After": str(wait),
            "RateLimit-Policy": f'"{kind}";q={self.windows[kind].limit};w={WINDOW}',
            "RateLimit": f'"{kind}";r=0;t={wait}',
        }
        return Problem(429, f"Too many requests. Try again in {wait} seconds.", headers)


class RateLimitMiddleware:
    """Responds with 429 over the limit. It must be inside AuthenticationMiddleware, which finds the subject."""

    def __init__(self, app: ASGIApp, limiter: RateLimiter) -> None:
        self.app = app
        self.limiter = limiter

    # Not async: that would cost every request one more coroutine.
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http" and (problem := self.limiter.check(scope)):
            return ProblemResponse(scope, problem)(scope, receive, send)
        return self.app(scope, receive, send)
