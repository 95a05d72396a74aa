"""Log lines as JSON by the Elastic Common Schema: https://elastic.co/docs/reference/ecs

Names are dotted, as in ecs-logging. What has no name in ECS is a label ("Custom fields": labels hold
keywords and nothing nested), but for http.route, which is OpenTelemetry's name.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

VERSION = "9.3.0"

# How fields of our log calls are called in ECS; a name with a dot in it is taken as it is.
NAMES = {
    "client": "client.address",
    "path": "file.path",
    "reason": "event.reason",
    "request_id": "http.request.id",
    "trace_id": "trace.id",
    "span_id": "span.id",
}

# What the access log's lines have in common.
# https://elastic.co/docs/reference/ecs/ecs-category-field-values-reference
ACCESS: dict[str, Any] = {"log.logger": "app.access", "event.category": ["web"], "event.type": ["access"]}

# JSON leaves these as they are, and terminals and viewers act on them: C1 control characters (NEL and
# CSI among them), line and paragraph separator, and the marks that turn the direction of text.
UNSAFE = re.compile(r"[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff]")


class EcsEncoder:
    """Makes lines; `constants` are at the end of every one, which `tail` is: from a comma to the newline."""

    def __init__(self, constants: Mapping[str, Any]) -> None:
        self.tail = b"," + orjson.dumps({"ecs.version": VERSION, **constants})[1:] + b"\n"

    def encode(self, fields: Mapping[str, Any]) -> bytes:
        """One line of fields that have their ECS names. Never raises for what strings may hold."""
        try:
            line = orjson.dumps(fields, option=orjson.OPT_UTC_Z)
        except TypeError:  # a lone surrogate, an integer of more than 64 bits
            line = orjson.dumps(_representable(fields), option=orjson.OPT_UTC_Z)
        return _safe(line)[:-1] + self.tail


def string(value: str) -> bytes:
    """As a JSON string, without its quotes."""
    try:
        line = orjson.dumps(value)
    except TypeError:
        line = orjson.dumps(_representable(value))
    return _safe(line)[1:-1]


def fields(timestamp: datetime, level: str, logger: str, event: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a log call by their ECS names."""
    named = {
        "@timestamp": timestamp.astimezone(UTC),
        "log.level": level,
        "message": event["event"],
        "log.logger": logger,
    }
    for key, value in event.items():
        if key != "event":
            named[NAMES.get(key) or (key if "." in key else f"labels.{key}")] = value
    return named


def _safe(line: bytes) -> bytes:
    if line.isascii() and b"\x7f" not in line:  # all but the one of ASCII's that JSON does not escape
        return line
    return UNSAFE.sub(_escape, line.decode()).encode()


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match.group()):04x}"


def _representable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_representable(str(key)): _representable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_representable(item) for item in value]
    if isinstance(value, bool | float | datetime) or value is None:
        return value
    return str(value).encode(errors="backslashreplace").decode() if not _fits(value) else value


def _fits(value: Any) -> bool:
    return isinstance(value, int) and -(2**63) <= value < 2**63
