"""One log line for every request on the public port, after its answer."""

import logging
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from app import logs, redact

if TYPE_CHECKING:
    from app.exchange import Exchange

MAX_CHARACTERS = 256  # of each thing that a client chooses


def write(exchange: "Exchange") -> None:
    """Errors of ours are level error and outcome failure; what clients do wrong is business as usual."""
    output = logs.output
    if output is None:
        return
    if exchange.status >= 500 or (exchange.failed and not exchange.left):
        level, number, outcome = "error", logging.ERROR, "failure"
    else:
        level, number, outcome = "info", logging.INFO, "unknown" if exchange.left else "success"
    if number < output.level:
        return
    if output.access is None:
        output.writer.write_soon(output.console.encode(datetime.now(UTC), level, _for_a_person(exchange)))
        return
    scope = exchange.scope
    method = scope["method"][:16]
    path = redact.short_text(scope["path"][:MAX_CHARACTERS])  # without the query, which may hold secrets
    line: dict[str, Any] = {
        "@timestamp": datetime.now(UTC),
        "log.level": level,
        "message": f"{method} {path} {exchange.status}",
        "event.outcome": outcome,
        "event.duration": int(exchange.seconds * 1e9),
        "http.request.method": method,
        "http.route": exchange.route,
        "http.response.status_code": exchange.status,
        "http.request.body.bytes": exchange.received,
        "http.response.body.bytes": exchange.sent,
        "url.path": path,
    }
    headers = dict(scope["headers"])
    if host := headers.get(b"host"):
        line["url.domain"] = _text(host[:MAX_CHARACTERS])
    if user_agent := headers.get(b"user-agent"):
        line["user_agent.original"] = _text(user_agent[:MAX_CHARACTERS])
    if client := scope.get("client"):
        line["client.address"] = client[0][:MAX_CHARACTERS]
    state = scope["state"]
    if request_id := state.get("request_id"):
        line["http.request.id"] = request_id
    if trace := state.get("trace"):
        line["trace.id"] = trace.trace_id
        if trace.span_id:
            line["span.id"] = trace.span_id
    if principal := state.get("principal"):
        line["user.id"] = principal.subject
    output.writer.write_soon(output.access.encode(line))


# Clients are many, what they call themselves is little.
@lru_cache(2048)
def _text(value: bytes) -> str:
    return redact.short_text(value.decode("latin-1"))


def _for_a_person(exchange: "Exchange") -> dict[str, Any]:
    scope = exchange.scope
    path = redact.short_text(scope["path"][:MAX_CHARACTERS])
    return {
        "event": f"{scope['method'][:16]} {path} {exchange.status}",
        "ms": round(exchange.seconds * 1000, 1),
        "request_id": scope["state"].get("request_id", "")[:8],
    }
