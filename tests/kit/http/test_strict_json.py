import json

import pytest

from keel import strict_json


@pytest.mark.parametrize("text", [b'{"a": [1, 2.5, null, {"a": "\xc3\xa9"}], "b": true}', b"[]", b'"x"', b" 1 "])
def test_reads_what_json_reads(text: bytes) -> None:
    assert strict_json.loads(text) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"a": 1, "a": 1}', "names a member twice"),
        (b'{"a": 1, "\\u0061": 2}', "names a member twice"),
        (b'[{"b": {"a": 1, "a": 2}}]', "names a member twice"),
        (b"NaN", "NaN is not a number"),
        (b'{"a": -Infinity}', "-Infinity is not a number"),
        (b"\xff", "utf-8"),
        ("{}".encode("utf-16"), "utf-8"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b"{} {}", "Extra data"),
        (b"", "Expecting value"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_refuses_what_can_be_read_in_two_ways(text: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        strict_json.loads(text)
