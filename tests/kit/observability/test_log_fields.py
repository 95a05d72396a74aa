import sys
from typing import Any

import pytest

from keel.observability import log_fields
from keel.observability.redact import REDACTED


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


@pytest.mark.parametrize(
    ("given", "written"),
    [
        *((1, 1), (1.5, 1.5), (True, True), ("text", "text"), (2**63 - 1, 2**63 - 1), (2**64, str(2**64))),
        *((b"bytes\xff", "bytes\\xff"), (ValueError("wrong"), "wrong"), ([1, "a", None], [1, "a", None])),
        *((("a", "b"), ["a", "b"]), ({"a"}, ["a"]), ([[1], {}], ["[1]", "{}"])),
        (
            {"a": 1, "token": "x", "b": [{"password": "y"}]},
            f'{{"a":1,"token":"{REDACTED}","b":[{{"password":"{REDACTED}"}}]}}',
        ),
        ({2: {None: "http://u:p@h"}}, f'{{"2":{{"None":"http://{REDACTED}@h"}}}}'),
        ({"\ud800": "\ud800"}, '{"\\\\ud800":"\\\\ud800"}'),
        (Unspeakable(), "<Unspeakable whose text cannot be had: RuntimeError>"),
    ],
)
def test_values(given: Any, written: Any) -> None:
    assert log_fields.sanitize({"event": "e", "x": given}) == {"event": "e", "x": written}


def test_what_is_none_is_left_out() -> None:
    assert log_fields.sanitize({"event": "e", "cause": None}) == {"event": "e"}


def test_secrets_by_name_and_by_shape() -> None:
    given = {"event": "to http://u:hunter2@h", "password": "hunter2", "headers": ["Bearer hunter2hunter2"]}
    cleaned = log_fields.sanitize(given)
    assert "hunter2" not in str(cleaned)
    assert cleaned == {"event": f"to http://{REDACTED}@h", "password": REDACTED, "headers": [f"Bearer {REDACTED}"]}


def test_nothing_is_endless() -> None:
    deep: dict[str, Any] = {}
    for _ in range(1000):
        deep = {"a": deep}
    given = {
        "event": "e" * 10**6,
        "text": "t" * 10**6,
        "list": ["l" * 10**6] * 1000,
        "mapping": {str(number): "m" * 10**6 for number in range(1000)},
        "deep": deep,
    }
    cleaned = log_fields.sanitize(given | {f"x{number}": 1 for number in range(1000)})
    assert len(cleaned) == log_fields.MAX_FIELDS
    assert len(cleaned["event"]) < 2100
    assert len(cleaned["text"]) < 1100
    assert cleaned["text"].startswith("ttt")
    assert cleaned["text"].endswith("ttt")
    assert [len(cleaned["list"]), len(cleaned["list"][0])] <= [50, 1100]
    assert len(cleaned["mapping"]) < 1100
    assert cleaned["deep"] == '{"a":{"a":{"a":{"a":"{…}"}}}}'


def test_a_value_that_contains_itself() -> None:
    loop: list[Any] = []
    loop.append({"loop": loop})
    assert log_fields.sanitize({"event": "e", "loop": loop})["loop"][0].startswith('{"loop":[')


def test_an_exception_in_each_way_it_can_be_given() -> None:
    error = raised(ValueError("wrong"))
    for given in (error, (type(error), error, error.__traceback__)):
        fields = log_fields.error_fields(given)
        assert (fields["error.type"], fields["error.message"]) == ("ValueError", "wrong")
        assert fields["error.stack_trace"].endswith("ValueError: wrong\n")
    try:
        raise error
    except ValueError:
        assert log_fields.error_fields(True)["error.message"] == "wrong"
    for nothing in (None, False, True, (None, None, None), "text", sys.exc_info()):
        assert log_fields.error_fields(nothing) == {}


def test_an_exception_without_a_text_or_with_an_endless_one() -> None:
    assert "cannot be had" in log_fields.error_fields(raised(ValueError(Unspeakable())))["error.message"]
    fields = log_fields.error_fields(raised(ValueError("x" * 10**6)))
    assert len(fields["error.message"]) < 2100
    assert len(fields["error.stack_trace"]) < 8300
    assert "test_log_fields.py" in fields["error.stack_trace"]


def test_a_trace_with_the_database_s_url() -> None:
    try:
        try:
            raise OSError("postgresql+asyncpg://things:hunter2@db/things refuses")
        except OSError as cause:
            raise RuntimeError("password=hunter2") from cause
    except RuntimeError as error:
        fields = log_fields.error_fields(error)
    assert "hunter2" not in str(fields)
    assert f"postgresql+asyncpg://{REDACTED}@db/things refuses" in fields["error.stack_trace"]
    assert fields["error.message"] == f"password={REDACTED}"
