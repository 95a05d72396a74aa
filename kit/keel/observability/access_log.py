"""The access log: one line for every request on the public port, after its response."""

import logging
import re
from datetime import UTC, datetime
from functools import lru_cache
from time import time
from typing import Any

from keel.observability import logs, redact
from keel.observability.ecs import string
from keel.observability.request_record import Told

MAX_CHARACTERS = 256  # of each value that a client chooses
# RFC 9110, section 7.2. A header that is not a host and a port is logged as it is.
HOST_AND_PORT = re.compile(r"(\[[^\]]*\]|[^:]*):([0-9]{1,5})")

# Put together from parts, most of which are cached. To encode all fields each time takes as long as half of the
# middleware. A part that is inserted comes from `string`, or needs no escaping.
LINE = (
    b'{"@timestamp":"%b.%06dZ","message":"%b %b %d","url.path":"%b","event.duration":%d'
    b',"http.request.body.bytes":%d,"http.response.body.bytes":%d%b%b%b%b'
)


def write(record: Told) -> None:
    """Write the line of a request. Level error and outcome failure are for 5xx and broken responses, not for 4xx."""
    output = logs.output
    if output is None:
        return
    if record.status >= 500 or (record.failed and not record.left):
        level, number, outcome = "error", logging.ERROR, "failure"
    else:
        level, number, outcome = "info", logging.INFO, "unknown" if record.left else "success"
    if number < output.level:
        return
    if output.access is None:
        output.writer.write_soon(output.console.encode(datetime.now(UTC), level, _for_a_person(record)))
        return
    scope = record.scope
    now = time()
    second = int(now)
    method = _method(scope["method"])
    path = string(redact.short_text(scope["path"][:MAX_CHARACTERS]))  # without the query, which may contain secrets
    headers = dict(scope["headers"])
    client = scope.get("client") or ("",)
    line = LINE % (
        _time(second),
        (now - second) * 1e6,
        method,
        path,
        record.status,
        path,
        record.seconds * 1e9,
        record.received,
        record.sent,
        _answer(level, outcome, method, record.route, record.status),
        # Cut before they are cached: a header may be as long as the whole head of a request.
        _client(
            headers.get(b"host", b"")[:MAX_CHARACTERS],
            headers.get(b"user-agent", b"")[:MAX_CHARACTERS],
            client[0][:MAX_CHARACTERS],
        ),
        _request(scope["state"], record.first_byte, record.close_code),
        output.access.tail,
    )
    output.writer.write_soon(line)


@lru_cache(2)
def _time(second: int) -> bytes:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()


@lru_cache(64)
def _method(method: str) -> bytes:
    return string(method[:16])


@lru_cache(1024)
def _answer(level: str, outcome: str, method: bytes, route: str, status: int) -> bytes:
    return (
        b',"log.level":"%b","event.outcome":"%b","http.request.method":"%b","http.route":"%b"'
        b',"http.response.status_code":%d' % (level.encode(), outcome.encode(), method, string(route), status)
    )


# There are many clients, but few user agents.
@lru_cache(2048)
def _client(host: bytes, user_agent: bytes, address: str) -> bytes:
    # Without a user and password, which some clients send although they do not belong in a Host header.
    domain, port = host.decode("latin-1").rpartition("@")[2], b""
    if match := HOST_AND_PORT.fullmatch(domain):
        domain, port = match[1], b',"url.port":%d' % int(match[2])
    fields = {
        "url.domain": domain,
        "user_agent.original": user_agent.decode("latin-1"),
        "client.address": address,
    }
    texts = [b',"%b":"%b"' % (name.encode(), string(redact.short_text(v))) for name, v in fields.items() if v]
    return b"".join([*texts, port])


def _request(state: dict[str, Any], first_byte: float | None, close_code: int | None) -> bytes:
    fields = b""
    if first_byte is not None:
        fields = b',"labels.first_byte_ms":%d' % (first_byte * 1000)
    if close_code is not None:
        fields += b',"labels.close_code":%d' % close_code
    if request_id := state.get("request_id"):
        fields += b',"http.request.id":"%b"' % request_id.encode()
    if trace := state.get("trace"):
        fields += b',"trace.id":"%b"' % trace.trace_id.encode()
        if trace.span_id:
            fields += b',"span.id":"%b"' % trace.span_id.encode()
    if principal := state.get("principal"):
        fields += b',"user.id":"%b"' % string(principal.subject)
    if state.get("stale"):
        fields += b',"labels.cache":"stale"'
    return fields


def _for_a_person(record: Told) -> dict[str, Any]:
    scope = record.scope
    path = redact.short_text(scope["path"][:MAX_CHARACTERS])
    return {
        "event": f"{scope['method'][:16]} {path} {record.status}",
        "ms": round(record.seconds * 1000, 1),
        "request_id": scope["state"].get("request_id", "")[:8],
    }
