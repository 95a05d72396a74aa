import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from keel.http import etags

NOW = etags.strong("5-1")


@pytest.mark.parametrize(
    ("lines", "matches"),
    [
        ([], True),
        (["*"], True),
        ([" * "], True),
        (['"5-1"'], True),
        (['"other"'], False),
        (['W/"5-1"'], False),  # the strong comparison of RFC 9110, section 8.8.3.2
        (['"other", "5-1"'], True),
        (['"other"', '"5-1"'], True),
        (['W/"5-1" , "5-1"'], True),
        ([' ,, "5-1",'], True),
        (['"a,b", "5-1"'], True),
        (["5-1"], False),
        (['"5-1'], False),
        (['"5-1" "other"'], False),
        (['w/"5-1"', '"5-1"'], False),
        ([""], False),
        (['*, "5-1"'], False),
        (['"5-1" x'], False),
        (['"5-1"\n'], False),
        (["\n"], False),
    ],
)
def test_if_match(lines: list[str], matches: bool) -> None:
    assert etags.if_match(lines, NOW) is matches


@pytest.mark.parametrize(
    ("lines", "passes"),
    [
        ([], True),
        (["*"], False),
        (['"5-1"'], False),
        (['W/"5-1"'], False),  # the weak comparison
        (['"other"'], True),
        (['"other", W/"5-1"'], False),
        (['"other"', '"5-1"'], False),
        (["5-1"], True),
        ([""], True),
    ],
)
def test_if_none_match(lines: list[str], passes: bool) -> None:
    assert etags.if_none_match(lines, NOW) is passes


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {}, None),
        ("GET", {"If-None-Match": NOW}, 304),
        ("HEAD", {"If-None-Match": NOW}, 304),
        ("PATCH", {"If-None-Match": NOW}, 412),
        ("DELETE", {"If-None-Match": "*"}, 412),
        ("GET", {"If-None-Match": '"other"'}, None),
        ("PATCH", {"If-Match": NOW}, None),
        ("PATCH", {"If-Match": '"other"'}, 412),
        ("GET", {"If-Match": '"other"'}, 412),
        ("GET", {"If-Match": '"other"', "If-None-Match": NOW}, 412),
    ],
)
def test_what_to_answer_instead(method: str, headers: dict[str, str], status: int | None) -> None:
    assert etags.failed_precondition(method, Headers(headers), NOW) == status


@given(st.text(alphabet=string.printable + "\xe9"))
def test_a_header_never_fails_and_matches_only_what_it_names(header: str) -> None:
    assert etags.if_match([header], NOW) in (header.strip() == "*", NOW in header)
    assert etags.if_none_match([header], NOW) in (True, not (header.strip() == "*" or NOW in header))


@given(st.lists(st.text(alphabet=[chr(code) for code in range(0x21, 0x7F) if chr(code) != '"'])))
def test_reads_every_list_that_a_client_writes(values: list[str]) -> None:
    header = ", ".join(map(etags.strong, values))
    assert all(etags.if_match([header], etags.strong(value)) for value in values)
    assert not etags.if_match([header], etags.strong("".join(values) + "other"))


LONG = 8_000


@pytest.mark.parametrize("header", [" " * LONG + "x", '"a",' * LONG + "x", "," * LONG, '"a"' + " \t" * LONG + "x"])
@pytest.mark.timeout(2)
def test_is_quick_with_headers_made_to_be_slow(header: str) -> None:
    assert not etags.if_match([header], NOW)
