"""Structured logs: lines of JSON by the Elastic Common Schema, or coloured lines on a terminal.

The standard library's loggers (uvicorn, SQLAlchemy, Alembic, warnings) are included, so every line on stdout has the
same form. A log call never raises.
"""

import atexit
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from types import TracebackType
from typing import Any, TextIO

import structlog

from keel.dialects import DIALECTS
from keel.observability import ecs, log_fields, request_id, tracing
from keel.observability.console import ConsoleEncoder
from keel.observability.log_writer import LogWriter
from keel.settings import Settings

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
# Loggers that are too chatty at INFO; keel.server logs the same events once.
NOISY_LOGGERS = ("uvicorn.error", "asyncio", "alembic.runtime.plugins")
# Warns of every form that a client got wrong, which gets a 400 and has its line in the access log.
CLIENT_FAULTS = "python_multipart"
# Loggers whose debug lines contain the values that are written to the database: never below INFO.
UNREDACTED = tuple(name for dialect in DIALECTS for name in dialect.unredacted_loggers)
# While the trace collector is unavailable, these log once per batch of spans; show one line a minute.
DEDUPLICATED_LOGGERS = ("opentelemetry.", "urllib3.", "keel.observability.span_losses")
REPEAT_SECONDS = 60
STANDARD_ATTRIBUTES = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "color_message"}


@dataclass
class Output:
    """Where log lines go, in which format, and from which level on."""

    writer: LogWriter
    console: ConsoleEncoder
    json: ecs.EcsEncoder | None
    access: ecs.EcsEncoder | None
    """The encoder of access-log lines, whose constant fields are encoded once."""
    level: int = logging.INFO

    def emit(self, logger: str, level: str, event: Mapping[str, Any]) -> None:
        """Write the line of a log call."""
        now = datetime.now(UTC)
        try:
            line = self.line(now, level, logger, log_fields.sanitize({**_ids(), **event}))
        except Exception as error:
            reason = f"a line could not be written: {type(error).__name__}"
            line = self.line(now, "error", logger, {"event": reason})
        self.writer.write(line)

    def line(self, timestamp: datetime, level: str, logger: str, fields: Mapping[str, Any]) -> bytes:
        """Encode a line in the format of this output."""
        if self.json is None:
            return self.console.encode(timestamp, level, fields)
        return self.json.encode(ecs.fields(timestamp, level, logger, fields))


output: Output | None = None
_turns: int | None = None


def take_turns(file: int) -> None:
    """Let this process and its forks write to one stream by turns, for which they lock a file, from `configure` on."""
    global _turns  # noqa: PLW0603
    _turns = file


def configure(settings: Settings, stream: TextIO | None = None) -> None:
    """Send all logs of the process to `stream`, or to stdout if it is not given."""
    global output  # noqa: PLW0603
    stream = stream or sys.stdout
    console = settings.log_format == "console" or (settings.log_format == "auto" and stream.isatty())
    constants = {
        "service.name": settings.service_name,
        "service.version": settings.product.version,
        "service.environment": settings.environment,
    }
    if output is not None:
        atexit.unregister(output.writer.flush)
    writer = LogWriter(stream, _turns)
    atexit.register(writer.flush)
    output = Output(
        writer,
        ConsoleEncoder(stream.isatty()),
        None if console else ecs.EcsEncoder(constants),
        None if console else ecs.EcsEncoder(ecs.ACCESS | constants),
    )
    structlog.configure(processors=[structlog.contextvars.merge_contextvars], logger_factory=_Logger)
    handler = _Handler()
    handler.addFilter(_RepeatFilter())
    logging.basicConfig(handlers=[handler], force=True)
    logging.captureWarnings(True)
    sys.excepthook = _log_crash
    set_level(settings.log_level)


def set_level(name: str) -> None:
    """Change the level of all loggers at once. Raises KeyError if `name` is not one of LEVELS."""
    level = LEVELS[name]
    if output is not None:
        output.level = level
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(level))
    logging.getLogger().setLevel(level)
    for noisy in NOISY_LOGGERS:
        logging.getLogger(noisy).setLevel(level if level == logging.DEBUG else max(level, logging.WARNING))
    logging.getLogger(CLIENT_FAULTS).setLevel(max(level, logging.ERROR))
    for unredacted in UNREDACTED:
        logging.getLogger(unredacted).setLevel(max(level, logging.INFO))


def level() -> str:
    """The level in force."""
    return next(name for name, number in LEVELS.items() if output is not None and number == output.level)


def _ids() -> dict[str, str | None]:
    """The ids that correlate a line with its request and its span."""
    state = request_id.current.get()
    trace: tracing.TraceIds | None = tracing.current_ids() or state.get("trace")
    return {
        "request_id": state.get("request_id"),
        "trace_id": trace.trace_id if trace else None,
        "span_id": trace.span_id if trace else None,
    }


def _method(level: str) -> Callable[..., None]:
    def log(self: "_Logger", **event: Any) -> None:
        if output is not None:
            output.emit(self.name, level, event)

    return log


class _Logger:
    """The logger that structlog wraps: it has a name, and writes to the output."""

    def __init__(self, name: str = "app") -> None:
        self.name = name

    debug, info, warning, error, critical = map(_method, ("debug", "info", "warning", "error", "critical"))


class _Handler(logging.Handler):
    """The handler that sends the standard library's records to the output."""

    def emit(self, record: logging.LogRecord) -> None:
        event = {name: value for name, value in vars(record).items() if name not in STANDARD_ATTRIBUTES}
        try:
            event["event"] = record.getMessage()
        except Exception:  # the arguments do not fit the format
            event |= {"event": record.msg, "arguments": record.args}
        if record.exc_info:
            event["exc_info"] = record.exc_info
        if output is not None:
            output.emit(record.name, record.levelname.lower(), event)


class _RepeatFilter(logging.Filter):
    """Passes each log call of DEDUPLICATED_LOGGERS once a minute."""

    def __init__(self) -> None:
        super().__init__()
        self._passed: dict[tuple[str, object], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(DEDUPLICATED_LOGGERS):
            return True
        key, now = (record.name, record.lineno), monotonic()
        if now - self._passed.get(key, -REPEAT_SECONDS) < REPEAT_SECONDS:
            return False
        self._passed[key] = now
        return True


def _log_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if output is None or issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        output.emit("app", "critical", {"event": "crashed", "exc_info": error})
