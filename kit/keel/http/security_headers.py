"""Response headers that restrict what browsers may do with a response.

They follow OWASP's REST security cheat sheet and Secure Headers project, without those that mean nothing for an API:
Clear-Site-Data (an API has no site data), Cross-Origin-Embedder-Policy (it has no documents that embed) and
X-Permitted-Cross-Domain-Policies (Flash is gone).
"""

from collections.abc import Awaitable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
# Without includeSubDomains: a service may have a company's main domain, and hosts below that may not have TLS.
HSTS = "max-age=63072000"


def fields(https: bool) -> list[tuple[bytes, bytes]]:
    """The headers in ASGI's form. HSTS only if `https`, because RFC 6797 forbids it on http."""
    headers = HEADERS | ({"strict-transport-security": HSTS} if https else {})
    return [(name.encode(), value.encode()) for name, value in headers.items()]


class SecurityHeadersMiddleware:
    """Adds each header that the route has not set."""

    def __init__(self, app: ASGIApp, https: bool) -> None:
        self.app = app
        self.fields = fields(https)
        self.names = frozenset(name for name, _ in self.fields)

    # Not async, nor is with_headers: that would cost every request one more coroutine each.
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self.app(scope, receive, send)

        def with_headers(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                present = dict(message["headers"])
                if self.names.isdisjoint(present):
                    message["headers"] = [*message["headers"], *self.fields]
                else:
                    missing = [field for field in self.fields if field[0] not in present]
                    message["headers"] = [*message["headers"], *missing]
            return send(message)

        return self.app(scope, receive, with_headers)
