"""One user at the links, lists and keys of another (OWASP API1, API3 and API5)."""

from collections.abc import Iterator
from typing import Any

from tests.attack.attempts import Tally
from tests.attack.target import LINKS, Headers, Target
from tests.attack.wire import Answer

KEPT = "https://example.com/kept"
OTHER = {"url": "https://evil.example/"}
METHODS: list[tuple[str, str, str, Any]] = [
    ("read", "GET", "", None),
    ("look at", "HEAD", "", None),
    ("count the clicks of", "GET", "/clicks", None),
    ("change", "PATCH", "", OTHER),
    ("let expire", "PATCH", "", {"expires_at": "2030-01-01T00:00:00Z"}),
    ("change nothing of", "PATCH", "", {}),
    ("delete", "DELETE", "", None),
]
# Who is not alice, though it looks like that in some place or other.
NOT_ALICE = (" ", "\u200b", "%00", "/", "\\", "'", "@example.com", "*")
NOT_TO_BE_SET: list[tuple[str, dict[str, Any]]] = [
    ("owner", {"owner": "bob"}),
    ("clicks", {"clicks": 1_000_000}),
    ("time of creation", {"created_at": "2020-01-01T00:00:00Z"}),
    ("version", {"version": 7}),
    ("short address", {"short_url": "https://evil.example/"}),
    ("a field of JavaScript's", {"__proto__": {"owner": "bob"}}),
]


def attack(target: Target, tally: Tally) -> None:
    slug = target.make_link("kept", KEPT)
    before = target.ask("GET", f"{LINKS}/{slug}", token=target.token())
    etag = before.headers["etag"]
    for name, user in _others(target):
        for what, method, path, body in METHODS:
            answer = target.ask(method, f"{LINKS}/{slug}{path}", token=user, body=body)
            tally.refused(f"{name}: {what} a link", answer, 401 if not user else 403)
    bob = target.token("bob")
    for what, method, path, body in METHODS:
        for header in ("If-Match", "If-None-Match"):
            answer = target.ask(method, f"{LINKS}/{slug}{path}", token=bob, headers=[(header, etag)], body=body)
            tally.refused(f"bob, who knows the ETag ({header}): {what} a link", answer, 403)
    _spelled_otherwise(target, tally, slug, bob)
    _lists(target, tally)
    _keys(target, tally)
    _fields(target, tally, slug)
    after = target.ask("GET", f"{LINKS}/{slug}", token=target.token(), headers=[("If-Match", etag)])
    tally.judge("the link is as it was", (after.status, after.body) == (200, before.body), after)


def _others(target: Target) -> Iterator[tuple[str, str]]:
    """Names, and tokens that are good, but not alice's; an empty one for nobody."""
    yield "nobody", ""
    yield "bob", target.token("bob")
    yield "Alice in capitals", target.token("ALICE")
    yield "an administrator of something else", target.token("root", "links:read links:write admin links:admins")


def _spelled_otherwise(target: Target, tally: Tally, slug: str, bob: str) -> None:
    """A check of the owner that another spelling of the path would go round."""
    paths = [
        f"{LINKS}/{slug.upper()}",
        f"{LINKS}/{slug}/",
        f"{LINKS}//{slug}",
        f"{LINKS}/./{slug}",
        f"{LINKS}/x/../{slug}",
        f"{LINKS}/x/%2e%2e/{slug}",
        f"{LINKS}/%61{slug[1:]}",
        f"{LINKS}/{slug}%00",
        f"{LINKS}/{slug};x=1",
        f"{LINKS}/{slug}.json",
        f"{LINKS}/{slug}%20",
        f"{LINKS}/{slug}?owner={target.user('alice')}",
        f"{LINKS.upper()}/{slug}",
        f"/api/v2/links/{slug}",
        f"//api/v1/links/{slug}",
    ]
    for path in paths:
        for method, body in (("GET", None), ("PATCH", OTHER), ("DELETE", None)):
            answer = _settled(target, method, path, bob, body)
            tally.refused(f"bob: {method} {path}", answer, 400, 403, 404, 405)
    for suffix in NOT_ALICE:
        user = target.token(f"alice{suffix}")
        answer = target.ask("GET", f"{LINKS}/{slug}", token=user)
        tally.refused(f"who is called as alice with {suffix!r}", answer, 401, 403)


def _settled(target: Target, method: str, path: str, token: str, body: object) -> Answer:
    """The answer, behind a redirect to a tidier path if the ingress sends one."""
    answer = target.ask(method, path, token=token, body=body)
    location = answer.headers.get("location", "")
    if answer.status in (301, 308) and location.startswith("/"):
        return target.ask(method, location, token=token, body=body)
    return answer


def _lists(target: Target, tally: Tally) -> None:
    alice, bob = target.token(), target.token("bob")
    target.make_link("kept-too")
    target.make_link("bobs-own", owner="bob")
    cursor = target.ask("GET", f"{LINKS}?limit=1", token=alice).json["next_cursor"]
    owner = target.user("alice")
    for query in (f"owner={owner}", f"owner={owner}&limit=1", f"owner={target.user('bob')}&owner={owner}"):
        answer = target.ask("GET", f"{LINKS}?{query}", token=bob)
        tally.refused(f"bob: the list of another (?{query})", answer, 403, 422)
    for name, query in [("all", ""), ("from alice's cursor on", f"?cursor={cursor}"), ("of nobody", "?owner=")]:
        answer = target.ask("GET", f"{LINKS}{query}", token=bob)
        foreign = [item for item in answer.json.get("items", []) if item["owner"] != target.user("bob")]
        tally.judge(f"bob: a list, {name}", answer.status in (200, 422) and not foreign, answer)
    for name, value in [
        ("changed", cursor[:-2] + ("AA" if not cursor.endswith("AA") else "BB")),
        ("cut", cursor[:-5]),
        ("a number", "1"),
        ("SQL", "'%20OR%201=1"),
        ("too long", "A" * 200),
        ("given twice", f"{cursor}&cursor={cursor}"),
    ]:
        answer = target.ask("GET", f"{LINKS}?limit=1&cursor={value}", token=bob)
        foreign = [item for item in answer.json.get("items", []) if item["owner"] != target.user("bob")]
        tally.judge(f"bob: a cursor, {name}", answer.status == 422 or (answer.status == 200 and not foreign), answer)
    for limit in ("0", "-1", "101", "1000000", "1e9", "1%00", "1&limit=100"):
        answer = target.ask("GET", f"{LINKS}?limit={limit}", token=bob)
        tally.refused(f"bob: a page of limit={limit}", answer, 422)
    answer = target.ask("GET", LINKS)
    tally.refused("nobody: a list", answer, 401)


def _keys(target: Target, tally: Tally) -> None:
    """Another one's Idempotency-Key must bring neither their answer nor their link."""
    key: Headers = [("Idempotency-Key", target.slug("key"))]
    body = {"url": "https://example.com/by-key"}
    first = target.ask("POST", LINKS, token=target.token(), headers=key, body=body).json
    theirs = target.ask("POST", LINKS, token=target.token("bob"), headers=key, body=body)
    own = theirs.json.get("owner") == target.user("bob") and theirs.json.get("slug") != first.get("slug")
    held = theirs.status == 201 and own and "idempotent-replayed" not in theirs.headers
    tally.judge("bob: the answer to alice's Idempotency-Key", held, theirs)
    tally.refused("nobody: the same", target.ask("POST", LINKS, headers=key, body=body), 401)
    other = target.ask("POST", LINKS, token=target.token(), headers=key, body=OTHER)
    tally.refused("the same key for another link", other, 422)
    reader = target.ask("POST", LINKS, token=target.token(scope="links:read"), headers=key, body=body)
    tally.refused("the same key without the scope", reader, 403)


def _fields(target: Target, tally: Tally, slug: str) -> None:
    """What nobody may set: OWASP's mass assignment."""
    alice = target.token()
    for name, field in NOT_TO_BE_SET:
        made = target.ask("POST", LINKS, token=alice, body=OTHER | field)
        tally.refused(f"a new link with a chosen {name}", made, 422)
        changed = target.ask("PATCH", f"{LINKS}/{slug}", token=alice, body=field)
        tally.refused(f"a change of the {name}", changed, 422)
    renamed = target.ask("PATCH", f"{LINKS}/{slug}", token=alice, body={"slug": target.slug("renamed")})
    tally.refused("a change of the slug", renamed, 422)
    taken = target.ask("POST", LINKS, token=target.token("bob"), body=OTHER | {"slug": slug})
    tally.refused("bob: a link of the same slug", taken, 409)
    read_only = target.token(scope="links:read")
    for method, body in (("PATCH", OTHER), ("DELETE", None)):
        answer = target.ask(method, f"{LINKS}/{slug}", token=read_only, body=body)
        tally.refused(f"{method} of an own link without the scope to write", answer, 403)
