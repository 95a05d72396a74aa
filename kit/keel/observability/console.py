"""Log lines for people, on a terminal."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from structlog.dev import ConsoleRenderer, plain_traceback

CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
IN_TRACES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


class ConsoleEncoder:
    """Encodes log lines for a terminal, in colour if it has `colours`."""

    def __init__(self, colours: bool) -> None:
        self._render = ConsoleRenderer(colors=colours, exception_formatter=plain_traceback, pad_event_to=0)

    def encode(self, timestamp: datetime, level: str, fields: Mapping[str, Any]) -> bytes:
        """A line, followed by the stack trace if there is one.

        Control characters are escaped, so that request data cannot inject terminal sequences.
        """
        shown: dict[str, Any] = {"timestamp": f"{timestamp.astimezone():%H:%M:%S}", "level": level}
        for name, value in fields.items():
            if name == "error.stack_trace":
                shown["exception"] = IN_TRACES.sub(_escape, value.rstrip())
            elif not name.startswith("error."):
                shown[CONTROL_CHARACTERS.sub(_escape, name)] = _harmless(value)
        return (self._render(None, level, shown) + "\n").encode()


def _harmless(value: Any) -> Any:
    if isinstance(value, str):
        return CONTROL_CHARACTERS.sub(_escape, value)
    if isinstance(value, list):
        return [_harmless(item) for item in value]
    return value


def _escape(match: re.Match[str]) -> str:
    return ascii(match.group())[1:-1]
