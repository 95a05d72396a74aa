import json
import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keel.observability import ecs

encoder = ecs.EcsEncoder({"service.name": "things"})
NOW = datetime(2026, 2, 3, 4, 5, 6, 789012, UTC)


def read(line: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_line() -> None:
    line = encoder.encode(ecs.fields(NOW, "info", "app.x", {"event": "hello", "reason": "why", "a.b": 1, "who": "me"}))
    assert line.endswith(b"}\n")
    assert list(read(line).items()) == [
        ("@timestamp", "2026-02-03T04:05:06.789012Z"),
        ("log.level", "info"),
        ("message", "hello"),
        ("log.logger", "app.x"),
        ("event.reason", "why"),
        ("a.b", 1),
        ("labels.who", "me"),
        ("ecs.version", "9.3.0"),
        ("service.name", "things"),
    ]


def test_time_is_utc_wherever_it_was_taken() -> None:
    there = NOW.astimezone(timezone(timedelta(hours=9)))
    assert ecs.fields(there, "info", "x", {"event": "e"})["@timestamp"].utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("a\ud800", "a\\ud800"),
        ({"\udfff": ["\ud800", 1, True, None, 1.5]}, {"\\udfff": ["\\ud800", 1, True, None, 1.5]}),
        (2**70, str(2**70)),
        ({1: {2: 3}}, {"1": {"2": 3}}),
    ],
)
def test_what_json_cannot_say_is_said_otherwise(value: Any, written: Any) -> None:
    line = read(encoder.encode({"@timestamp": NOW, "message": "m", "x": value}))
    assert (line["message"], line["x"], line["service.name"]) == ("m", written, "things")
    assert datetime.fromisoformat(line["@timestamp"]) == NOW


ANY_TEXT = st.text(st.characters(exclude_categories=[]))
TURNS_TEXT = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@given(st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=5))
@example({"a": "\x7f"})
def test_any_text_makes_one_line_that_no_terminal_obeys(fields: dict[str, str]) -> None:
    line = encoder.encode({"message": "m"} | {f"x{key}": value for key, value in fields.items()})
    text = line.decode().removesuffix("\n")
    assert text.splitlines() == [text]
    assert not {"Cc", "Zl", "Zp"} & {unicodedata.category(character) for character in text}
    assert not TURNS_TEXT & {unicodedata.bidirectional(character) for character in text}
    if not any("\ud800" <= character <= "\udfff" for pair in fields.items() for character in "".join(pair)):
        assert {key[1:]: value for key, value in read(line).items() if key.startswith("x")} == fields
