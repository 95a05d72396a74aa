import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.links.urls import MAX_CHARACTERS, normalise

PUBLIC = "https://links.example.com:8443"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://example.com", "https://example.com/"),
        ("HTTP://EXAMPLE.com:80/A?b=C#d", "http://example.com/A?b=C#d"),
        ("https://münchen.example/straße", "https://xn--mnchen-3ya.example/stra%C3%9Fe"),
        ("http://[::1]:8080/", "http://[::1]:8080/"),
        ("https://example.com/?next=https://links.example.com/", None),
        ("https://notlinks.example.com/", None),
    ],
)
def test_keeps_what_a_browser_would_open(given: str, kept: str | None) -> None:
    assert normalise(given, PUBLIC) == (kept or given)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("example.com/page", "not an absolute URL"),
        ("/page", "not an absolute URL"),
        ("http://", "not an absolute URL"),
        ("https://example.com:99999/", "not an absolute URL"),
        ("javascript:alert(1)", "http:// or https://"),
        ("ftp://example.com/", "http:// or https://"),
        ("data:text/html,hello", "http:// or https://"),
        ("https:example.com", "http:// or https://"),
        ("https://me@example.com/", "user name or password"),
        ("https://me:secret@example.com/", "user name or password"),
        ("https://:secret@example.com/", "user name or password"),
        ("https://example.com/" + "a" * MAX_CHARACTERS, "exceeds 2048 characters"),
        ("https://example.com/" + "ä" * 1000, "exceeds 2048 characters"),
        (" https://example.com/", "space"),
        ("https://example.com/a b", "space"),
        ("https://exam\tple.com/", "control character"),
        ("https://example.com/\r\nSet-Cookie: a=b", "control character"),
        ("https://example.com\\@evil.example/", "backslash"),
        ("https://links.example.com/loop", "back to this service"),
        ("http://LINKS.example.com.:80/loop", "back to this service"),
        ("https://l%69nks.example.com/", "back to this service"),
        ("https://links.example.com/", "back to this service"),
    ],
)
def test_refuses_with_a_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        normalise(text, PUBLIC)


@pytest.mark.parametrize("text", ["http://0x7f.1:1/", "http://2130706433/", "http://127.0.0.1./"])
def test_sees_through_other_spellings_of_our_address(text: str) -> None:
    with pytest.raises(ValueError, match="back to this service"):
        normalise(text, "http://127.0.0.1:8000")


def test_knows_itself_by_an_international_name() -> None:
    with pytest.raises(ValueError, match="back to this service"):
        normalise("https://xn--mnchen-3ya.example/", "https://münchen.example")


@given(st.one_of(st.text(), st.text().map("https://example.com/{}".format), st.text().map("http://{}".format)))
def test_what_is_kept_fits_a_header_and_stays_the_same(text: str) -> None:
    try:
        kept = normalise(text, PUBLIC)
    except ValueError:
        return
    assert kept.isascii()
    assert kept.isprintable()
    assert " " not in kept
    assert kept.startswith(("http://", "https://"))
    assert normalise(kept, PUBLIC) == kept
