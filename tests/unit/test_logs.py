import io
import json
import logging
import warnings

import structlog

from app import logs
from app.settings import Settings


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def configured(settings: Settings, stream: io.StringIO | None = None, **changes: str) -> io.StringIO:
    stream = stream or io.StringIO()
    logs.configure(settings.model_copy(update=changes), stream)
    return stream


def test_one_json_object_a_line(settings: Settings) -> None:
    stream = configured(settings)
    structlog.get_logger().info("hello\nworld", who="me\r\n")
    line = json.loads(stream.getvalue())
    assert (line["event"], line["who"], line["level"]) == ("hello\nworld", "me\r\n", "info")
    assert stream.getvalue().count("\n") == 1


def test_the_standard_library_goes_the_same_way(settings: Settings) -> None:
    stream = configured(settings)
    logging.getLogger("uvicorn.error").warning("Invalid %s", "request", extra={"color_message": "x"})
    line = json.loads(stream.getvalue())
    assert (line["event"], line["logger"], line["level"]) == ("Invalid request", "uvicorn.error", "warning")
    assert "color_message" not in line


def test_so_do_warnings(settings: Settings) -> None:
    stream = configured(settings)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old ways", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(False)
    assert json.loads(stream.getvalue())["logger"] == "py.warnings"


def test_exceptions_stay_on_one_line(settings: Settings) -> None:
    stream = configured(settings)
    for log in (structlog.get_logger(), logging.getLogger("other")):
        try:
            raise ValueError("wrong\nindeed")
        except ValueError:
            log.exception("failed")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert "ValueError: wrong\nindeed" in first["exception"]
    assert "ValueError: wrong\nindeed" in second["exception"]


def test_the_level_holds_for_both(settings: Settings) -> None:
    stream = configured(settings, log_level="warning")
    structlog.get_logger().info("quiet")
    logging.getLogger("other").info("quiet")
    structlog.get_logger().warning("loud")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["loud"]


def test_uvicorn_tells_its_steps_only_when_debugging(settings: Settings) -> None:
    for level, told in (("info", False), ("debug", True)):
        stream = configured(settings, log_level=level)
        logging.getLogger("uvicorn.error").info("Started server process")
        assert bool(stream.getvalue()) is told


def test_auto_is_console_on_a_terminal_and_json_elsewhere(settings: Settings) -> None:
    for stream, is_json in ((Terminal(), False), (io.StringIO(), True)):
        configured(settings, stream, log_format="auto")
        structlog.get_logger().info("hello")
        assert stream.getvalue().startswith("{") is is_json


def test_no_control_character_reaches_the_console(settings: Settings) -> None:
    stream = configured(settings, log_format="console")
    structlog.get_logger().info("one\ntwo", path="\x1b[31m\u2028\x9b\x7f")
    written = stream.getvalue()
    assert "one\\ntwo" in written
    assert "\\x1b[31m\\u2028\\x9b\\x7f" in written
    assert written.count("\n") == 1
