"""What a client's words become in logs and metrics: no line, no command to a terminal, no secret, no series of its own.

It reads both, so the service is one that the suite has started (OWASP API8; ASVS 16).
"""

import unicodedata

from tests.attack.attempts import Tally
from tests.attack.own import Own
from tests.attack.target import LINKS, Headers
from tests.attack.wire import head

SECRET = "hunter2hunter2"
FORGED = '{"message": "forged"}'
INJECTIONS: list[tuple[str, str, Headers]] = [
    ("a line feed in the path", f"/a%0A{FORGED.replace(' ', '%20')}", []),
    ("a line end in the path", "/a%0D%0A%7B%22message%22:%22forged%22%7D", []),
    ("a terminal's command in the path", "/%1B%5B2J%1B%5B31m", []),
    ("a terminal's title in the path", "/%1B%5D0;title%07", []),
    ("C1 controls in the path", "/%C2%9B31m%C2%85", []),
    ("separators of lines and paragraphs", "/%E2%80%A8%E2%80%A9", []),
    ("text that turns round", "/%E2%80%AEgpj.exe", []),
    ("a zero byte in the path", "/a%00b", []),
    ("no UTF-8 in the path", "/%ff%fe", []),
    ("quotes in the path", '/"},{"message":"forged"}', []),
    ("a lookup in the path", "/$%7Bjndi:ldap:%7D", []),
    ("a format in the path", "/%25s%25n%7B0%7D", []),
    ("controls in the User-Agent", "/agent", [("User-Agent", "a\x85\x9b31m\xad")]),
    ("quotes in the User-Agent", "/agent", [("User-Agent", f'a", {FORGED}')]),
    ("a long User-Agent", "/agent", [("User-Agent", "x" * 5000)]),
    ("a long path", "/" + "x" * 5000, []),
    ("a forged trace", "/trace", [("traceparent", 'x", "message": "forged')]),
]
SECRETS: list[tuple[str, str, Headers]] = [
    ("as a token", LINKS, [("Authorization", f"Bearer {SECRET}")]),
    ("as a password", LINKS, [("Authorization", f"Basic {SECRET}")]),
    ("as a cookie", "/cookie", [("Cookie", f"session={SECRET}")]),
    ("as a key", "/key", [("X-Api-Key", SECRET)]),
    ("in the query", f"/query?access_token={SECRET}&q={SECRET}", []),
    ("in the path", f"/password={SECRET}/x", []),
    ("as a token in the path", f"/x/eyJhbGciOiJFUzI1NiJ9.{SECRET}.{SECRET}", []),
    ("in the User-Agent", "/agent", [("User-Agent", f"x http://user:{SECRET}@example.com/")]),
    ("in the Referer", "/referer", [("Referer", f"https://example.com/?token={SECRET}")]),
    ("in an unknown header", "/header", [("X-Secret", SECRET)]),
    ("in the Host", "/host", [("Host", f"user:{SECRET}@example.com")]),
]
# Each twice, so unlike in this one thing that a label of it would make a series more.
UNLIKE: list[tuple[str, str, str, Headers]] = [
    ("path", "GET", "/path-{0}", []),
    ("deep path", "GET", "/path/{0}/deep", []),
    ("path of the API", "GET", f"{LINKS}/link-{{0}}", []),
    ("unknown path of the API", "GET", "/api/v1/{0}", []),
    ("query", "GET", "/?q={0}", []),
    ("method", "ODD{0}", "/method", []),
    ("method in small letters", "get{0}", "/method", []),
    ("Host", "GET", "/host", [("Host", "host-{0}.example.com")]),
    ("port of a Host", "GET", "/host", [("Host", "localhost:{0}")]),
    ("User-Agent", "GET", "/", [("User-Agent", "agent-{0}")]),
    ("token", "GET", LINKS, [("Authorization", "Bearer token-{0}")]),
    ("Origin", "GET", "/", [("Origin", "https://{0}.example.com")]),
    ("Accept", "GET", "/", [("Accept", "text/x-{0}")]),
    ("request id", "GET", "/", [("X-Request-ID", "request-{0}")]),
    ("forwarded address", "GET", "/", [("X-Forwarded-For", "203.0.113.{0}")]),
    ("header's name", "GET", "/", [("X-{0}", "x")]),
]


def attack(own: Own, tally: Tally) -> None:
    _injections(own, tally)
    _secrets(own, tally)
    _series(own, tally)


def _injections(own: Own, tally: Tally) -> None:
    for number, (name, path, headers) in enumerate(INJECTIONS):
        line = _logged(own, f"injection-{own.run}-{number}", path, headers)
        held = line.count("\n") == 1 and len(line) < 8192 and not any(map(_obeyed, line[:-1]))
        tally.judge(name, held, line)
    tally.judge("no line was forged", not any(each["message"] == "forged" for each in own.app.log))
    for name, value in [("short", "x"), ("long", "x" * 200), ("with a blank", "a b c d e f g h"), ("quoted", '"' * 10)]:
        answer = own.ask("GET", "/", headers=[("X-Request-ID", value)])
        tally.judge(f"a request id that is {name}", answer.headers.get("x-request-id") != value, answer)


def _obeyed(character: str) -> bool:
    """Whether a terminal would do something else than show it."""
    return unicodedata.category(character) in {"Cc", "Zl", "Zp"} or character in "\u202a\u202b\u202d\u202e\u2066\u2067"


def _secrets(own: Own, tally: Tally) -> None:
    for number, (name, path, headers) in enumerate(SECRETS):
        line = _logged(own, f"secret-{own.run}-{number}", path, headers)
        tally.judge(f"a secret {name}", bool(line) and SECRET not in line, line)
    token = own.token()
    own.ask("GET", LINKS, token=token)
    own.ask("POST", LINKS, token=token, body={"url": f"https://user:{SECRET}@example.com/"})
    _logged(own, f"last-{own.run}", "/", [])
    everything = "".join(own.app.lines) + own.metrics()
    for name, secret in [
        ("a password in a target", SECRET),
        ("a good token", token.rpartition(".")[2]),
        ("the database's password", own.database.password),
        ("Valkey's password", own.cache.password),
    ]:
        tally.judge(f"{name}, in all logs and metrics", secret not in everything)


def _logged(own: Own, request_id: str, path: str, headers: Headers) -> str:
    """The access line of a request, as it was written; empty if there is none or more than one."""
    _send(own, "GET", path, [("X-Request-ID", request_id), *headers])
    return own.line_of(request_id)


def _send(own: Own, method: str, path: str, headers: Headers) -> None:
    """A request with these headers, and a Host if it is not among them."""
    given = [("Connection", "close"), *headers]
    if "Host" not in dict(given):
        given.insert(0, ("Host", own.address.name))
    own.send(head(method, path, given))


def _series(own: Own, tally: Tally) -> None:
    for name, method, path, headers in UNLIKE:
        before = set[str]()
        for number in (101, 102):
            before = own.series()
            given = [(key.format(number), value.format(number)) for key, value in headers]
            _send(own, method.format(number), path.format(number), given)
        more = own.series() - before
        tally.judge(f"another {name} makes no series", not more, more)
