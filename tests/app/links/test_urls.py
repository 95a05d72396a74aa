import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.links.urls import MAX_CHARACTERS, WHATWG, UrlPolicy

OURS = ["links.example.com", "go.example.org", "*.links.example.net", "*"]


def normalise(text: str, *own_names: str) -> str:
    return UrlPolicy(own_names or OURS).normalise(text)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://example.com", "https://example.com/"),
        ("HTTP://EXAMPLE.com:80/A?b=C#d", "http://example.com/A?b=C#d"),
        ("https://münchen.example/straße", "https://xn--mnchen-3ya.example/stra%C3%9Fe"),
        ("http://[::1]:8080/", "http://[::1]:8080/"),
        ("https://example.com/?next=https://links.example.com/", None),
        ("https://notlinks.example.com/", None),
        ("https://links.example.net/", None),
        ("https://example.com/?q={a}|b", None),
        ("https://example.com/a@b:c", None),
        ("https://example.com/?mail=me@example.com", None),
        ("https://example.com?me@example.com", "https://example.com/?me@example.com"),
        ("https://example.com#me@example.com", "https://example.com/#me@example.com"),
    ],
)
def test_keeps_what_a_browser_would_open(given: str, kept: str | None) -> None:
    assert normalise(given) == (kept or given)


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
        ("https:///example.com", "http:// or https://"),
        ("https:/example.com", "http:// or https://"),
        ("https://me@example.com/", "user name or password"),
        ("https://me:secret@example.com/", "user name or password"),
        ("https://:secret@example.com/", "user name or password"),
        ("https://@example.com/", "user name or password"),
        ("https://:@example.com/", "user name or password"),
        ("https://a@b@example.com?x", "user name or password"),
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
        ("https://links.example.com..:1/", "back to this service"),
        ("https://links\u3002example\uff0ecom/", "back to this service"),
        ("https://\uff4c\uff49\uff4e\uff4b\uff53.example.com/", "back to this service"),
        ("https://go.example.org:8443/loop", "back to this service"),
        ("https://eu.links.example.net/loop", "back to this service"),
        ("https://EU.links.example.net./loop", "back to this service"),
        ("https://xn--a/", "not an absolute URL"),
        ("https://[::1%25eth0]/", "not an absolute URL"),
    ],
)
def test_refuses_with_a_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        normalise(text)


@pytest.mark.parametrize(
    ("ours", "text"),
    [
        ("127.0.0.1", "http://0x7f.1:1/"),
        ("127.0.0.1", "http://2130706433/"),
        ("127.0.0.1", "http://127.0.0.1./"),
        ("127.0.0.1", "http://[::ffff:127.0.0.1]/"),
        ("127.0.0.1", "http://[::ffff:7f00:1]/"),
        ("[::1]", "http://[0:0:0:0:0:0:0:1]:80/"),
        ("[::1]", "http://[::0001]/"),
        ("[2001:DB8::0:1]", "http://[2001:db8:0::1]/"),
        ("münchen.example", "https://xn--mnchen-3ya.example/"),
        ("xn--mnchen-3ya.example", "https://MÜNCHEN.example/"),
        ("links.example.com:8443", "https://links.example.com/"),
    ],
)
def test_sees_through_other_spellings_of_our_name(ours: str, text: str) -> None:
    with pytest.raises(ValueError, match="back to this service"):
        normalise(text, ours)


hosts = st.sampled_from(
    ["example.com", "LINKS.example.com.", "a.links.example.net", "[::1]", "127.1", "ü.example", "a@b"]
)
paths = st.text(alphabet="/?#@:%[]{}|^`\"<>' .\\~äaZ09\u3002\u00ad\u2028")
urls = st.builds(
    "{}:{}{}{}".format, st.sampled_from(["http", "HTTPS", "ftp"]), st.sampled_from(["//", "/", "///"]), hosts, paths
)


@given(st.one_of(st.text(), urls, st.text().map("https://example.com/{}".format), st.text().map("http://{}".format)))
def test_whatever_is_kept_is_safe_to_send_browsers_to(text: str) -> None:
    try:
        kept = normalise(text)
    except ValueError:
        return
    assert kept.isascii()
    assert kept.isprintable()
    assert " " not in kept
    assert kept.startswith(("http://", "https://"))
    assert len(kept) <= MAX_CHARACTERS
    url = WHATWG.validate_python(kept)
    assert url.username is None
    assert url.password is None
    assert "@" not in kept.partition("://")[2].replace("?", "/").replace("#", "/").partition("/")[0]
    host = url.host.rstrip(".")
    assert host not in OURS
    assert not host.endswith(".links.example.net")
    assert normalise(kept) == kept
