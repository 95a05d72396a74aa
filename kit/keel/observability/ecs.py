"""Log lines as JSON by the Elastic Common Schema: https://elastic.co/docs/reference/ecs

Names are dotted, as in ecs-logging. A field without a name in ECS becomes a label ("Custom fields": labels are keywords
and not nested). The only exception is http.route, which is OpenTelemetry's name.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

VERSION = "9.3.0"

# ECS names of the fields of log calls. A name with a dot is used as it is.
NAMES = {
    "client": "client.address",
    "path": "file.path",
    "reason": "event.reason",
    "request_id": "http.request.id",
    "trace_id": "trace.id",
    "span_id": "span.id",
}

# Fields that all lines of the access log have.
# https://elastic.co/docs/reference/ecs/ecs-category-field-values-reference
ACCESS: dict[str, Any] = {"log.logger": "app.access", "event.category": ["web"], "event.type": ["access"]}

# JSON does not escape these, but terminals and viewers act on them: C1 control characters (such as NEL and CSI), line
# and paragraph separators, and marks that change the direction of text.
UNSAFE = re.compile(r"[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff]")


class EcsEncoder:
    """Encodes log lines as JSON. Every line ends in `tail`: a comma, the `constants` and a newline."""

    def __init__(self, constants: Mapping[str, Any]) -> None:
        self.tail = b"," + orjson.dumps({"ecs.version": VERSION, **constants})[1:] + b"\n"

    def encode(self, fields: Mapping[str, Any]) -> bytes:
        """A line of fields with ECS names. It does not raise, whatever a string contains."""
        try:
            line = orjson.dumps(fields, option=orjson.OPT_UTC_Z)
        except TypeError:  # a lone surrogate, an integer of more than 64 bits
            line = orjson.dumps(_representable(fields), option=orjson.OPT_UTC_Z)
        return _safe(line)[:-1] + self.tail


def string(value: str) -> bytes:
    """The value as a JSON string, without the quotes."""
    try:
        line = orjson.dumps(value)
    except TypeError:
        line = orjson.dumps(_representable(value))
    return _safe(line)[1:-1]


def fields(timestamp: datetime, level: str, logger: str, event: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a log call under their ECS names."""
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
    if line.isascii() and b"\x7f" not in line:  # DEL is the only unsafe ASCII character that JSON does not escape
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
