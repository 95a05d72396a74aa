"""A span for each statement, by OpenTelemetry's conventions for databases: what it does, never its values."""

import re
from functools import lru_cache
from typing import Any

from opentelemetry.trace import Span, SpanKind, StatusCode, get_tracer
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext

from keel.data.async_engine import AsyncEngine
from keel.dialects import Dialect

TARGET = re.compile(r'\b(?:FROM|INTO|UPDATE)\s+(?:ONLY\s+)?"?([A-Za-z_][A-Za-z0-9_.]*)', re.IGNORECASE)


@lru_cache(maxsize=256)
def summary(statement: str) -> str:
    """The operation and the tables of a statement, such as "SELECT orders"."""
    words = statement.split(None, 1)
    tables = dict.fromkeys(match[1] for match in TARGET.finditer(statement))
    return " ".join([words[0].upper(), *tables]) if words else ""


def trace_statements(engine: AsyncEngine, dialect: Dialect) -> None:
    """Record the statements of `engine` from now on."""
    tracer = get_tracer("keel.data.database")
    url = engine.url
    always = {"db.system.name": dialect.name}
    if url.host:
        always |= {"server.address": url.host, "db.namespace": str(url.database)}

    def begin(_connection: object, _cursor: object, statement: str, _values: object, context: Any, _many: bool) -> None:
        short = summary(statement)
        attributes = {**always, "db.query.summary": short, "db.operation.name": short.partition(" ")[0]}
        context.span = tracer.start_span(short, kind=SpanKind.CLIENT, attributes=attributes)

    def end(_connection: object, _cursor: object, _statement: str, _values: object, context: Any, _many: bool) -> None:
        context.span.end()

    def fail(failure: ExceptionContext) -> None:
        span: Span | None = getattr(failure.execution_context, "span", None)
        if span is not None:
            error = failure.original_exception
            span.set_attribute("error.type", dialect.code(error) or type(error).__name__)
            span.set_status(StatusCode.ERROR)
            span.end()

    event.listen(engine.sync_engine, "before_cursor_execute", begin)
    event.listen(engine.sync_engine, "after_cursor_execute", end)
    event.listen(engine.sync_engine, "handle_error", fail)
