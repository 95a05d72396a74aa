"""Refuses requests for other host names (RFC 9110, section 7.4), as a client may send any Host header.

So a web page cannot read responses by DNS rebinding, and a cache does not store them under somebody else's name.
"""

import re
from collections.abc import Awaitable
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from keel.errors.problems import Problem, ProblemResponse
from keel.settings import Settings
from keel.settings.origins import parse_hosts

LOCAL = ("localhost", "127.0.0.1", "[::1]")
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::[0-9]*)?")
MAX_KNOWN = 1000


def trusted_names(settings: Settings) -> list[str]:
    """The names that the service answers to, in lower case: host names, *.example.com, or * for any."""
    public = urlsplit(settings.public_url).hostname or ""
    names = [f"[{public}]" if ":" in public else public]
    names += parse_hosts(settings.trusted_hosts)
    return names + list(LOCAL) if settings.environment == "local" else names


class TrustedHosts:
    """The hosts that requests may be for."""

    def __init__(self, settings: Settings) -> None:
        names = trusted_names(settings)
        self.any = "*" in names
        self.names = frozenset(names)
        self.suffixes = tuple(name[1:] for name in names if name.startswith("*."))
        self._known: set[bytes] = set()  # Host headers that were accepted, as sent

    def check(self, scope: Scope) -> Problem | None:
        """The problem of a request: 421 if it is for another host, 400 if its Host header is missing or not valid."""
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        return self._problem(hosts) if len(hosts) != 1 or hosts[0] not in self._known else None

    def _problem(self, hosts: list[bytes]) -> Problem | None:
        if len(hosts) != 1:  # RFC 9112, section 3.2
            return Problem(400, "Send exactly one Host header.", {"Connection": "close"})
        match = HOST.fullmatch(hosts[0].decode("latin-1").lower())
        if match is None:
            return Problem(400, "The Host header is not valid.", {"Connection": "close"})
        name = match[1]
        if not (self.any or name in self.names or name.endswith(self.suffixes)):
            return Problem(421, "This service does not answer to that host name.")
        if len(self._known) < MAX_KNOWN:
            self._known.add(hosts[0])
        return None


class TrustedHostMiddleware:
    """Refuses requests for other hosts."""

    def __init__(self, app: ASGIApp, hosts: TrustedHosts) -> None:
        self.app = app
        self.hosts = hosts

    # Not async: that would cost every request one more coroutine.
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http" and (problem := self.hosts.check(scope)):
            return ProblemResponse(scope, problem)(scope, receive, send)
        return self.app(scope, receive, send)
