"""Links that lead where none may, under names that none may have (OWASP API6, API7 and API8)."""

from typing import Any
from urllib.parse import urlsplit

from tests.attack.attempts import Tally
from tests.attack.target import LINKS, Target

SCHEMES = (
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "javascript://example.com/%0aalert(1)",
    "data:text/html,hello",
    "vbscript:msgbox(1)",
    "file:///etc/passwd",
    "ftp://example.com/",
    "gopher://127.0.0.1:6379/_INFO",
    "ldap://127.0.0.1/",
    "ws://example.com/",
    "mailto:me@example.com",
    "about:blank",
    "view-source:https://example.com/",
    "intent://example.com/#Intent;scheme=https;end",
)
NO_TARGETS = (
    "",
    "/relative",
    "//example.com/",
    "example.com",
    "https:example.com",
    "https:/example.com",
    "https:///example.com",
    "https://",
    "https://example.com:99999/",
    "https://user@example.com/",
    "https://user:secret@example.com/",
    "https://example.com@evil.example/",
    "https://example.com\\@evil.example/",
    "https://example.com/\r\nSet-Cookie: a=b",
    "https://example.com/\n",
    "https://exam\tple.com/",
    "https://example.com/ a",
    "https://example.com/\0",
    "https://example.com/\u2028",
    " https://example.com/",
    "\x00https://example.com/",
    "https://example.com/" + "a" * 2048,
)
# Cloud metadata, this machine, the cluster: the service hands such addresses out, and goes to none.
PRIVATE = (
    "http://169.254.169.254/latest/meta-data/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://[::ffff:169.254.169.254]/",
    "http://metadata.google.internal/",
    "http://10.0.0.1/",
    "http://192.168.0.1/",
    "http://172.16.0.1/",
    "http://0.0.0.0:9000/metrics",
    "http://127.0.0.2:9000/metrics",
    "http://2852039166/",
    "http://kubernetes.default.svc/",
    "http://postgresql.data.svc:5432/",
)
OURS = ("{0}/loop", "{1}", "http://{2}/", "https://{2}./x", "https://{3}/", "https://{2}:1/x", "https://{4}/")
RESERVED = ("api", "admin", "docs", "metrics", "livez", "login", "openapi", "robots", "token", "www")
LOOK_ALIKES = ("ap1", "adrnin", "AP-I", "metr1cs", "l0gin", "1ogin", "d0cs", "r_obots", "tok-en", "vvww", "WWW", "ApI")
NO_SLUGS = (
    "",
    "ab",
    "a" * 65,
    "-abc",
    "_abc",
    "a b",
    "a/b",
    "../metrics",
    "..",
    "a%2Fb",
    "abc\r\nX: y",
    "abc\0",
    "abc?x",
    "abc#x",
    "abc;x",
    "abc.php",
    "\u0430bcd",
    "abc\u202e",
    "<b>abc",
    "' OR '1'='1",
    "{{7*7}}",
    "$(id)",
)
NO_TIMES: tuple[Any, ...] = (
    "2001-01-01T00:00:00Z",
    "9999-01-01T00:00:00Z",
    "tomorrow",
    0,
    -1,
    4102444800,
    True,
    [],
    "",
)


def attack(target: Target, tally: Tally) -> None:
    alice = target.token()
    ours = _spellings(target)
    no_texts: list[Any] = [None, 7, [], {}, ["https://example.com/"]]
    for url in (*SCHEMES, *NO_TARGETS, *ours, *no_texts):
        answer = target.ask("POST", LINKS, token=alice, body={"url": url})
        tally.refused(f"a link to {url!r}"[:120], answer, 422)
    slug = target.make_link("aims")
    for url in (*SCHEMES[:4], *NO_TARGETS[8:16], *ours):
        answer = target.ask("PATCH", f"{LINKS}/{slug}", token=alice, body={"url": url})
        tally.refused(f"a change to {url!r}"[:120], answer, 422)
    for name in (*RESERVED, *LOOK_ALIKES, *NO_SLUGS, *no_texts[1:]):
        answer = target.ask("POST", LINKS, token=alice, body={"url": "https://example.com/", "slug": name})
        tally.refused(f"the slug {name!r}"[:120], answer, 422)
    for time in NO_TIMES:
        answer = target.ask("POST", LINKS, token=alice, body={"url": "https://example.com/", "expires_at": time})
        tally.refused(f"an end at {time!r}", answer, 422)
    for url in PRIVATE:
        _is_only_handed_out(target, tally, url)


def _spellings(target: Target) -> list[str]:
    """Our own address in ways that browsers understand: a link to it would lead round in circles."""
    short = target.ask("GET", f"{LINKS}/{target.make_link('own')}", token=target.token()).json["short_url"]
    base = short.rpartition("/")[0]
    host = urlsplit(base).hostname or ""
    quoted = f"%{ord(host[0]):02x}{host[1:]}"
    return [form.format(base, short, host, host.upper(), quoted) for form in OURS]


def _is_only_handed_out(target: Target, tally: Tally, url: str) -> None:
    """A link to an address that only the service reaches is refused, or answered without a look at it."""
    made = target.ask("POST", LINKS, token=target.token(), body={"url": url})
    if made.status == 422:
        tally.judge(f"the address {url}", True)
        return
    followed = target.ask("GET", f"/{made.json.get('slug')}")
    held = followed.status == 307 and not followed.body and followed.headers.get("location") == made.json["url"]
    tally.judge(f"the address {url}", held, followed)
