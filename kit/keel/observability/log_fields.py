"""Sanitizes the fields of a log call: no secrets, no objects, no unlimited length."""

import sys
import traceback
from collections.abc import Mapping, Set
from itertools import islice
from typing import Any

import orjson

from keel.observability import redact

MAX_EVENT = 2048
MAX_VALUE = 1024
MAX_STACK_TRACE = 8192  # container runtimes cut lines at 16 KiB
MAX_SCANNED = 65536
MAX_ITEMS = 50
MAX_FIELDS = 50
MAX_NAME = 64
DEPTH = 4

Scalar = str | int | float | bool | None


def sanitize(event: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a log call as scalars and lists of scalars; exc_info becomes error.* fields."""
    sanitized: dict[str, Any] = {"event": text(_shown(event.get("event", "")), MAX_EVENT)}
    for name, value in islice(event.items(), MAX_FIELDS):
        if name == "exc_info":
            sanitized |= error_fields(value)
        elif name != "event" and value is not None:
            sanitized[text(str(name), MAX_NAME)] = field(str(name), value)
    return sanitized


def field(name: str, value: Any) -> Scalar | list[Scalar]:
    """The value of a field as a scalar or a list of scalars; redacted if its name is that of a secret."""
    if value is not None and redact.is_secret(name):
        return redact.REDACTED
    if isinstance(value, list | tuple | Set):
        return [_scalar(item) for item in islice(value, MAX_ITEMS)]
    return _scalar(value)


def error_fields(exc_info: Any) -> dict[str, str]:
    """The error.* fields of an exception, of a tuple as of sys.exc_info(), or of the current exception if True."""
    error = _exception(exc_info)
    if error is None:
        return {}
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    trace = "".join(traceback.format_exception(error))
    return {
        "error.type": name[:MAX_VALUE],
        "error.message": text(_shown(error), MAX_EVENT),
        "error.stack_trace": text(trace, MAX_STACK_TRACE),
    }


def text(value: str, limit: int = MAX_VALUE) -> str:
    """The text without secrets, shortened to `limit`."""
    value = redact.text(shortened(value, MAX_SCANNED))
    return shortened(value, limit)


def shortened(value: str, limit: int) -> str:
    """The text without its middle, if it is longer than `limit`."""
    if len(value) <= limit:
        return value
    head = limit // 4
    tail = limit - head
    return f"{value[:head]}…[{len(value) - limit} characters]…{value[-tail:]}"


def _scalar(value: Any) -> Scalar:
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and abs(value) < 2**63:
        return int(value)
    if isinstance(value, Mapping):
        return shortened(orjson.dumps(_plain(value, DEPTH)).decode(), MAX_VALUE)
    return text(_shown(value))


def _plain(value: Any, depth: int) -> Any:
    """A nested value for JSON, at most `depth` levels deep. Redaction by name works here too."""
    if not depth or not isinstance(value, Mapping | list | tuple | Set):
        scalar = _scalar(value) if not isinstance(value, Mapping) else "{…}"
        return scalar.encode(errors="backslashreplace").decode() if isinstance(scalar, str) else scalar
    if isinstance(value, Mapping):
        items = islice(value.items(), MAX_ITEMS)
        return {
            text(_shown(name), MAX_NAME).encode(errors="backslashreplace").decode(): (
                redact.REDACTED if redact.is_secret(str(name)) else _plain(item, depth - 1)
            )
            for name, item in items
        }
    return [_plain(item, depth - 1) for item in islice(value, MAX_ITEMS)]


def _shown(value: Any) -> str:
    try:
        return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
    except Exception as error:
        return f"<{type(value).__name__} whose text cannot be had: {type(error).__name__}>"


def _exception(exc_info: Any) -> BaseException | None:
    if exc_info is True:
        exc_info = sys.exc_info()
    if isinstance(exc_info, tuple) and len(exc_info) == 3:
        exc_info = exc_info[1]
    return exc_info if isinstance(exc_info, BaseException) else None
