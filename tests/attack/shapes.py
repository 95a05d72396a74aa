"""Requests of odd shape: methods, hosts, headers of proxies, lengths, sizes and bodies (RFC 9112; OWASP API8)."""

from tests.attack.attempts import Tally
from tests.attack.target import LINKS, Headers, Target
from tests.attack.wire import Answer, head

OVERRIDES = ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-Method")
HOSTS = (
    "evil.example",
    "{0}.evil.example",
    "evil.example:443",
    "evil-{0}",
    "user@{0}",
    "evil.example#{0}",
    "evil.example/{0}",
    "{0} evil.example",
    "{0}, evil.example",
    "",
)
REWRITES = ("X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Path", "X-Forwarded-Prefix", "X-Override-URL")
ORIGINS = ("https://evil.example", "null", "http://{0}", "https://{0}.evil.example", "https://evil-{0}")
# Lengths and codings that two readers could read in two ways: RFC 9112, section 11.2. An ingress tidies some of them;
# the request that the service then gets has no token.
FRAMES: list[tuple[str, str, bytes]] = [
    ("a length and chunks", "Content-Length: 5\r\nTransfer-Encoding: chunked", b"0\r\n\r\n"),
    ("chunks and a length", "Transfer-Encoding: chunked\r\nContent-Length: 5", b"0\r\n\r\n"),
    ("two lengths", "Content-Length: 1\r\nContent-Length: 2", b"a"),
    ("one length twice", "Content-Length: 1\r\nContent-Length: 1", b"a"),
    ("lengths in a list", "Content-Length: 1, 1", b"a"),
    ("a length with a sign", "Content-Length: +1", b"a"),
    ("a negative length", "Content-Length: -1", b"a"),
    ("a hexadecimal length", "Content-Length: 0x1", b"a"),
    ("a length in words", "Content-Length: one", b"a"),
    ("a length of many digits", "Content-Length: 99999999999999999999999", b"a"),
    ("chunks, twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"0\r\n\r\n"),
    ("chunks that are none", "Transfer-Encoding: xchunked", b"0\r\n\r\n"),
    ("chunks, and then as it is", "Transfer-Encoding: chunked, identity", b"0\r\n\r\n"),
    ("packed chunks", "Transfer-Encoding: gzip, chunked", b"0\r\n\r\n"),
    ("a blank before the colon", "Transfer-Encoding : chunked", b"0\r\n\r\n"),
    ("a tab before the coding", "Transfer-Encoding: \x0bchunked", b"0\r\n\r\n"),
    ("a chunk of no size", "Transfer-Encoding: chunked", b"x\r\n\r\n"),
    ("a chunk of negative size", "Transfer-Encoding: chunked", b"-1\r\n\r\n"),
]
LINES: list[tuple[str, bytes]] = [
    ("no HTTP at all", b"NONSENSE\r\n\r\n"),
    ("a greeting of TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    ("HTTP/0.9", b"GET /\r\n\r\n"),
    ("HTTP/9.9", b"GET / HTTP/9.9\r\nHost: {0}\r\n\r\n"),
    ("HTTP/2 without asking", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("a way to elsewhere", b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
    ("another host's address", b"GET http://evil.example/ HTTP/1.1\r\nHost: {0}\r\n\r\n"),
    ("another host's address, no path", b"GET http://evil.example HTTP/1.1\r\nHost: {0}\r\n\r\n"),
    ("an address of another scheme", b"GET gopher://evil.example/ HTTP/1.1\r\nHost: {0}\r\n\r\n"),
    ("a target without a slash", b"GET metrics HTTP/1.1\r\nHost: {0}\r\n\r\n"),
    ("two targets", b"GET / /metrics HTTP/1.1\r\nHost: {0}\r\n\r\n"),
    ("no Host", b"GET / HTTP/1.1\r\n\r\n"),
    ("two Hosts", b"GET / HTTP/1.1\r\nHost: {0}\r\nHost: evil.example\r\n\r\n"),
    ("a header over two lines", b"GET / HTTP/1.1\r\nHost: {0}\r\nX: a\r\n b\r\n\r\n"),
    ("a header without a colon", b"GET / HTTP/1.1\r\nHost: {0}\r\nNo colon\r\n\r\n"),
    ("a header without a name", b"GET / HTTP/1.1\r\nHost: {0}\r\n: x\r\n\r\n"),
    ("a zero byte in a header", b"GET / HTTP/1.1\r\nHost: {0}\r\nX: a\x00b\r\n\r\n"),
    ("a carriage return in a header", b"GET / HTTP/1.1\r\nHost: {0}\rX: y\r\n\r\n"),
    ("a control character in the path", b"GET /\x01 HTTP/1.1\r\nHost: {0}\r\n\r\n"),
]
REFUSED = (400, 404, 405, 421, 501, 505)
# A proxy may write one line for two: RFC 9112, section 5.2.
TIDIED = ("a header over two lines",)
JSON = "application/json"
GOOD = b'{"url": "https://example.com/"}'
BODIES: list[tuple[str, Headers, bytes, int]] = [
    ("a form", [("Content-Type", "application/x-www-form-urlencoded")], b"url=https://example.com/", 415),
    ("a form with a file", [("Content-Type", "multipart/form-data; boundary=x")], b"--x--\r\n", 415),
    ("plain text", [("Content-Type", "text/plain")], GOOD, 415),
    ("XML", [("Content-Type", "application/xml")], b"<url>https://example.com/</url>", 415),
    ("pickled objects", [("Content-Type", "application/python-pickle")], b".", 415),
    ("no type", [], GOOD, 415),
    ("two types", [("Content-Type", JSON), ("Content-Type", "text/plain")], GOOD, 400),
    ("a packed body", [("Content-Type", JSON), ("Content-Encoding", "gzip")], GOOD, 415),
    ("two keys", [("Content-Type", JSON), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")], GOOD, 400),
    ("no body", [("Content-Type", JSON)], b"", 422),
    ("half of a body", [("Content-Type", JSON)], b'{"url": "https://exa', 400),
    ("two bodies", [("Content-Type", JSON)], GOOD + GOOD, 400),
    ("a member twice", [("Content-Type", JSON)], b'{"url": "https://a.example/", "url": "https://b.example/"}', 400),
    ("not a number", [("Content-Type", JSON)], b'{"url": NaN}', 400),
    ("a comment", [("Content-Type", JSON)], b'{"url": "https://example.com/" /* a */}', 400),
    ("bytes that are no text", [("Content-Type", JSON)], b'{"url": "\xff"}', 400),
    ("UTF-16", [("Content-Type", JSON)], GOOD.decode().encode("utf-16"), 400),
    ("deep lists", [("Content-Type", JSON)], b"[" * 100 + b"]" * 100, 422),
    ("a list", [("Content-Type", JSON)], b"[" + GOOD + b"]", 422),
    ("a word", [("Content-Type", JSON)], b'"https://example.com/"', 422),
    ("a number", [("Content-Type", JSON)], b"1", 422),
    ("nothing", [("Content-Type", JSON)], b"null", 422),
    ("more than may be", [("Content-Type", JSON)], b'{"url": "' + b"a" * 70_000 + b'"}', 413),
]


def attack(target: Target, tally: Tally) -> None:
    slug = target.make_link("shaped")
    _methods(target, tally, slug)
    _hosts(target, tally)
    _proxies(target, tally)
    _wire(target, tally)
    for name, headers, body, status in BODIES:
        answer = target.ask("POST", LINKS, token=target.token(), headers=headers, body=body)
        tally.refused(f"a body: {name}", answer, status)
    still = target.ask("GET", f"/{slug}")
    tally.refused("the link is still there", still, 307)


def _methods(target: Target, tally: Tally, slug: str) -> None:
    own = f"{LINKS}/{slug}"
    for header in OVERRIDES:
        read = target.ask("GET", own, token=target.token(scope="links:read"), headers=[(header, "DELETE")])
        tally.refused(f"{header} in a GET", read, 200)
        posted = target.ask("POST", own, token=target.token(), headers=[(header, "DELETE")], body={})
        tally.refused(f"{header} in a POST", posted, 405)
    queried = target.ask("GET", f"{own}?_method=DELETE", token=target.token(scope="links:read"))
    tally.refused("_method in the query", queried, 200)
    for method in ("TRACE", "TRACK", "DEBUG", "PROPFIND", "MOVE", "PURGE", "get", "PUT", "A" * 200):
        tally.refused(f"the method {method[:20]}", target.ask(method, own, token=target.token()), 400, 405, 501)


def _hosts(target: Target, tally: Tally) -> None:
    ours = target.address.name
    for form in HOSTS:
        name = form.format(ours)
        answer = target.send(head("GET", "/", [("Host", name), ("Connection", "close")]))
        tally.refused(f"the host '{name}'", answer, 400, 404, 421)
    for header in ("X-Forwarded-Host", "X-Host", "X-Forwarded-Server", "Forwarded"):
        value = "host=evil.example" if header == "Forwarded" else "evil.example"
        body = {"url": "https://example.com/"}
        made = target.ask("POST", LINKS, token=target.token(), headers=[(header, value)], body=body)
        told = f"{made.headers} {made.body!r}"
        tally.judge(f"a link made under {header}", made.status == 201 and "evil.example" not in told, made)


def _proxies(target: Target, tally: Tally) -> None:
    """What only a proxy would add."""
    for header in REWRITES:
        answer = target.ask("GET", "/", headers=[(header, "/metrics")])
        tally.judge(f"{header} to the metrics", answer.status == 200 and b"# HELP" not in answer.body, answer)
        listed = target.ask("GET", LINKS, headers=[(header, "/")])
        tally.refused(f"{header} away from what needs a token", listed, 401)
    for header in ("X-Forwarded-For", "X-Real-IP", "X-Client-IP", "True-Client-IP", "Forwarded"):
        value = "for=127.0.0.1" if header == "Forwarded" else "127.0.0.1"
        tally.refused(f"{header} of this machine", target.ask("GET", LINKS, headers=[(header, value)]), 401)
    for form in ORIGINS:
        origin = form.format(target.address.name)
        asked = [("Origin", origin), ("Access-Control-Request-Method", "DELETE")]
        for method in ("GET", "OPTIONS"):
            answer = target.ask(method, LINKS, headers=asked)
            tally.judge(f"{method} from {origin}", "access-control-allow-origin" not in answer.headers, answer)


def _wire(target: Target, tally: Tally) -> None:
    ours = target.address.name.encode()
    for name, frame, body in FRAMES:
        data = f"POST {LINKS} HTTP/1.1\r\nHost: {target.address.name}\r\n{frame}\r\n\r\n".encode() + body
        answer = target.send(data)
        tally.judge(name, answer.status in (400, 501) or _is_the_ingress_s(target, answer, 401), answer)
    for name, data in LINES:
        answer = target.send(data.replace(b"{0}", ours))
        tidied = 200 if name in TIDIED else 0
        tally.judge(name, answer.status in REFUSED or _is_the_ingress_s(target, answer, tidied), answer)
    many = [(f"X-{number}", "x" * 60) for number in range(300)]
    tally.refused("three hundred headers", target.ask("GET", "/", headers=many), 431)
    tally.refused("a header of 20 kB", target.ask("GET", "/", headers=[("X", "x" * 20_000)]), 431)
    tally.refused("a path of 9 kB", target.ask("GET", "/" + "x" * 9_000), 414)
    tally.refused("a query of 9 kB", target.ask("GET", "/?" + "x" * 9_000), 414)
    wish = [("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAAQAAP__")]
    for kind, more in [("HTTP/2", wish), ("WebSocket", [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")])]:
        lines = [("Host", target.address.name), ("Connection", "Upgrade"), *more]
        answer = target.send(head("GET", LINKS, lines))
        tally.judge(f"a wish for {kind}", answer.status in (400, 401), answer)


def _is_the_ingress_s(target: Target, answer: Answer, tidied: int) -> bool:
    """Whether an ingress has refused it in its own way: hung up, said 500, or made of it what is answered `tidied`."""
    if target.direct:
        return False
    return answer.status == tidied or (answer.status in (0, 500) and "x-request-id" not in answer.headers)
