import asyncio
import io
import json
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from keel.observability import ecs, log_fields, logs, request_id, tracing
from tests.kit.subject import Settings
from tests.probe import __version__


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    hook, output = sys.excepthook, logs.output
    yield
    sys.excepthook, logs.output = hook, output


def configured(settings: Settings, stream: io.StringIO | None = None, **changes: str) -> io.StringIO:
    stream = stream or io.StringIO()
    logs.configure(settings.model_copy(update=changes), stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_one_json_object_a_line(settings: Settings) -> None:
    stream = configured(settings, service_name="things", environment="staging")
    structlog.get_logger("app.x").info("hello\nworld", who="me\r\n", reason="why")
    assert stream.getvalue().count("\n") == 1
    (line,) = lines(stream)
    assert line.pop("@timestamp").endswith("Z")
    assert line == {
        "log.level": "info",
        "message": "hello\nworld",
        "log.logger": "app.x",
        "labels.who": "me\r\n",
        "event.reason": "why",
        "ecs.version": ecs.VERSION,
        "service.name": "things",
        "service.version": __version__,
        "service.environment": "staging",
    }


def test_the_standard_library_goes_the_same_way(settings: Settings) -> None:
    stream = configured(settings)
    logging.getLogger("uvicorn.error").warning("Invalid %s", "request", extra={"color_message": "x", "token": "y"})
    (line,) = lines(stream)
    assert (line["message"], line["log.logger"], line["log.level"]) == ("Invalid request", "uvicorn.error", "warning")
    assert (line["labels.token"], line["ecs.version"]) == ("[REDACTED]", ecs.VERSION)
    assert not [name for name in line if "color" in name]


def test_so_do_warnings(settings: Settings) -> None:
    stream = configured(settings)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old ways", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(False)
    assert lines(stream)[0]["log.logger"] == "py.warnings"


def test_exceptions_stay_on_one_line(settings: Settings) -> None:
    stream = configured(settings)
    for log in (structlog.get_logger(), logging.getLogger("other")):
        try:
            raise ValueError("wrong\nindeed")
        except ValueError:
            log.exception("failed")
    for line in lines(stream):
        assert (line["message"], line["log.level"], line["error.type"]) == ("failed", "error", "ValueError")
        assert line["error.message"] == "wrong\nindeed"
        assert line["error.stack_trace"].startswith("Traceback")
        assert "ValueError: wrong\nindeed" in line["error.stack_trace"]
    assert len(lines(stream)) == 2


def test_values_bound_for_a_time(settings: Settings) -> None:
    stream = configured(settings)
    with structlog.contextvars.bound_contextvars(job="nightly"):
        structlog.get_logger().info("hello")
    assert lines(stream)[0]["labels.job"] == "nightly"


class Nasty:
    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


def test_a_log_call_never_raises_nor_loses_a_line(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = configured(settings)
    structlog.get_logger().info("1", value=Nasty(), text="\ud800", number=2**80, nested={Nasty: Nasty()})
    logging.getLogger("other").info("2 %d", "not a number")
    logging.getLogger("other").info("3 %s", Nasty())
    structlog.get_logger().info(Nasty())
    monkeypatch.setattr(log_fields, "sanitize", Nasty.__str__)
    structlog.get_logger().info("5")
    found = lines(stream)
    assert len(found) == 5
    assert (found[0]["labels.text"], found[0]["labels.number"]) == ("\\ud800", str(2**80))
    assert (found[1]["message"], found[1]["labels.arguments"]) == ("2 %d", ["not a number"])
    assert found[4]["message"] == "a line could not be written: RuntimeError"


def test_before_it_is_configured_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "output", None)
    structlog.configure(processors=[], logger_factory=logs._Logger)
    structlog.get_logger().info("hello")
    logs._Handler().emit(logging.makeLogRecord({"msg": "hello"}))


def test_the_level_holds_for_both_and_can_be_changed(settings: Settings) -> None:
    stream = configured(settings, log_level="warning")
    log, other = structlog.get_logger(), logging.getLogger("other")

    def told() -> list[str]:
        before = len(lines(stream))
        for level in ("debug", "info", "warning", "error"):
            getattr(log, level)(level)
            getattr(other, level)(level)
        return [line["message"] for line in lines(stream)[before::2]]

    assert told() == ["warning", "error"]
    for level, expected in (
        ("debug", ["debug", "info", "warning", "error"]),
        ("error", ["error"]),
        ("info", ["info", "warning", "error"]),
    ):
        logs.set_level(level)
        assert (logs.level(), told()) == (level, expected)
    with pytest.raises(KeyError):
        logs.set_level("loud")
    assert logs.level() == "info"


def test_uvicorn_tells_its_steps_only_when_debugging(settings: Settings) -> None:
    stream = configured(settings)
    for level, told in (("info", 0), ("debug", 1), ("warning", 1)):
        logs.set_level(level)
        logging.getLogger("uvicorn.error").info("Started server process")
        assert len(lines(stream)) == told


def test_what_is_written_into_the_database_is_not_told(settings: Settings) -> None:
    """aiosqlite 0.22's debug lines hold the parameters of each statement."""
    stream = configured(settings)
    logs.set_level("debug")
    logging.getLogger("aiosqlite").debug("executing a statement")
    logging.getLogger("aiosqlite").warning("something else")
    assert [line["message"] for line in lines(stream)] == ["something else"]


def test_what_repeats_itself_is_told_once_a_minute(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = configured(settings)
    now = 1000.0
    monkeypatch.setattr(logs, "monotonic", lambda: now)
    exporter, other = logging.getLogger("opentelemetry.exporter.x"), logging.getLogger("other")
    for now in (1000.0, 1059.9, 1060.1):  # noqa: B007
        exporter.warning("no collector")
        exporter.warning("still none")
        other.warning("other")
    once = ["no collector", "still none", "other"]
    assert [line["message"] for line in lines(stream)] == [*once, "other", *once]


def test_a_crash_is_a_line_too(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    stream = configured(settings)
    error = ValueError("valkey://:hunter2@cache/0")
    sys.excepthook(ValueError, error, None)
    (line,) = lines(stream)
    assert (line["log.level"], line["message"], line["error.type"]) == ("critical", "crashed", "ValueError")
    assert "hunter2" not in stream.getvalue()
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert len(lines(stream)) == 1
    assert "KeyboardInterrupt" in capsys.readouterr().err


def test_auto_is_console_on_a_terminal_and_json_elsewhere(settings: Settings) -> None:
    for stream, is_json in ((Terminal(), False), (io.StringIO(), True)):
        configured(settings, stream, log_format="auto")
        structlog.get_logger().info("hello")
        assert stream.getvalue().startswith("{") is is_json
        assert ("\x1b[" in stream.getvalue()) is not is_json


def test_the_console_shows_traces_as_they_are_and_no_secrets(settings: Settings) -> None:
    stream = configured(settings, log_format="console")
    try:
        raise ValueError("postgresql://u:hunter2@db\x1b[31m")
    except ValueError:
        structlog.get_logger().exception("failed", why="because")
    first, *trace = stream.getvalue().splitlines()
    assert first.endswith("failed why=because")
    assert trace[0].startswith("Traceback")
    assert trace[-1] == "ValueError: postgresql://[REDACTED]@db\\x1b[31m"


def test_no_control_character_reaches_the_console(settings: Settings) -> None:
    stream = configured(settings, log_format="console")
    structlog.get_logger().info("one\ntwo", path="\x1b[31m\u2028\x9b\x7f", items=["\x1b"], more={"a": "\u202e\ud800"})
    written = stream.getvalue()
    assert "one\\ntwo" in written
    assert "\\x1b[31m\\u2028\\x9b\\x7f" in written
    assert written.count("\n") == 1
    assert written.removesuffix("\n").isprintable()


def test_lines_of_a_request_bear_its_ids_and_others_do_not(settings: Settings) -> None:
    stream = configured(settings)

    async def request(number: int) -> None:
        request_id.current.set({"request_id": f"request-{number}", "trace": tracing.TraceIds("t", None, True)})
        structlog.get_logger().info("hello")

    async def both() -> None:
        await asyncio.gather(request(1), request(2))
        structlog.get_logger().info("hello")

    asyncio.run(both())
    assert [line.get("http.request.id") for line in lines(stream)] == ["request-1", "request-2", None]
    assert [line.get("trace.id") for line in lines(stream)] == ["t", "t", None]
