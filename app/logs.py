"""Structured logs: one JSON object a line, or coloured lines on a terminal.

The standard library's loggers (uvicorn, SQLAlchemy, Alembic, warnings) go through the same
processors, so every line on stdout has one shape.
"""

import logging
import re
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from app.settings import Settings

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def configure(settings: Settings, stream: TextIO | None = None) -> None:
    """Send all logs of the process to `stream`, stdout if none is given."""
    stream = stream or sys.stdout
    level = LEVELS[settings.log_level]
    console = settings.log_format == "console" or (settings.log_format == "auto" and stream.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: list[Processor] = (
        [_escape_control_characters, structlog.dev.ConsoleRenderer(colors=stream.isatty())]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stream),
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _drop_colour, *render],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.captureWarnings(True)
    # Two servers would each tell of every step; the lifecycle logs them once.
    for name in ("uvicorn.error", "asyncio"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING) if level > logging.DEBUG else level)


def _escape_control_characters(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Keep a client from forging lines or driving the terminal; JSON escapes by itself."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = CONTROL_CHARACTERS.sub(lambda match: ascii(match.group())[1:-1], value)
    return event


def _drop_colour(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event.pop("color_message", None)
    return event
