"""What visitors, owners and strangers ask of a link shortener, in about the shares in which they do."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, NamedTuple

import aiohttp

from k8s.load.tally import Tally
from toolkit import project

API = "/api/v1/links"
POPULAR = 40  # links with names of their own, found again by the next run
EXPIRED = 4
EXPIRY = 3.0  # seconds; the service may be slow to begin with
ATTEMPTS = 20  # at each link to begin with: a share of errors may be what the load is to show
ERRANDS = ("/wp-login.php", "/.env", "/admin/login", "/favicon.ico", "/robots.txt", "/api/v2/links")
OF_MADE = ("change", "delete")
# What no longer is, or never was, valid: neither JSON nor a link, a scheme, a slug, a field that is not there, a time.
BAD_BODIES: tuple[bytes, ...] = (
    b"{",
    b"[]",
    b'{"url": "ftp://example.com"}',
    b'{"url": "https://example.com", "slug": "a b"}',
    b'{"url": "https://example.com", "colour": "red"}',
    b'{"url": "https://example.com", "expires_at": "2001-01-01T00:00:00Z"}',
)
BAD_TOKENS = ("eyJhbGciOiJub25lIn0.e30.", "not-a-token", "")


class RefusedError(Exception):
    """The service did not let the load prepare itself; the message says how it answered."""


@dataclass(frozen=True)
class Ask:
    """A request, the statuses it should be answered with, and what to do with the body if it is."""

    method: str
    path: str
    expected: Sequence[int]
    token: str | None = None
    body: bytes | dict[str, Any] | None = None
    then: Callable[[Any], None] | None = None

    @property
    def headers(self) -> dict[str, str]:
        headers = {"User-Agent": f"{project.NAME}-load"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        if self.body is not None:
            headers["Content-Type"] = "application/merge-patch+json" if self.method == "PATCH" else "application/json"
        return headers


class Made(NamedTuple):
    slug: str
    token: str


@dataclass
class Traffic:
    """Tokens belong to owners, of whom each may ask but so often: the more requests, the more of them are needed."""

    tokens: Sequence[str]
    chance: random.Random = field(default_factory=random.Random)
    made: deque[Made] = field(default_factory=deque)

    def __post_init__(self) -> None:
        # Zipf's law: the second link is followed half as often as the first, the third a third as often.
        self._popular = [f"load-{rank}" for rank in range(1, POPULAR + 1)]
        self._expired = [f"load-expired-{number}" for number in range(1, EXPIRED + 1)]
        self._popularity = list(accumulate(1 / rank for rank in range(1, POPULAR + 1)))
        self._kinds: dict[str, tuple[int, Callable[[], Ask]]] = {
            "follow": (780, self._follow),
            "look (HEAD)": (20, lambda: Ask("HEAD", self._popular_path(), (307,))),
            "unknown link": (35, lambda: Ask("GET", f"/lost-{self.chance.randrange(10**9)}", (404,))),
            "expired link": (15, lambda: Ask("GET", f"/{self.chance.choice(self._expired)}", (410,))),
            "crawler": (10, lambda: Ask("GET", self.chance.choice(ERRANDS), (404,))),
            "start page": (5, lambda: Ask("GET", "/", (200,))),
            "create": (40, self._create),
            "list": (25, lambda: Ask("GET", f"{API}?limit=20", (200,), self._token())),
            "change": (15, self._change),
            "delete": (35, self._delete),
            "invalid body": (10, self._invalid),
            "bad token": (10, lambda: Ask("GET", API, (400, 401), self.chance.choice(BAD_TOKENS))),
        }
        self._weights = list(accumulate(weight for weight, _ in self._kinds.values()))
        self.tallies = {kind: Tally() for kind in self._kinds}
        self._interval = Tally()

    @property
    def with_token(self) -> float:
        """The share of requests that count against an owner's limit."""
        kinds = ("create", "list", "change", "delete", "invalid body")
        return sum(self._kinds[kind][0] for kind in kinds) / self._weights[-1]

    async def prepare(self, session: aiohttp.ClientSession, url: str) -> None:
        """Make the links that are followed, unless an earlier load has, and wait until some of them have expired.

        Raises:
            RefusedError: the service answers otherwise than it should.
        """
        expiry = datetime.now(UTC) + timedelta(seconds=EXPIRY)
        links = [{"slug": slug} for slug in self._popular]
        links += [{"slug": slug, "expires_at": expiry.isoformat()} for slug in self._expired]
        if 201 in await asyncio.gather(*(self._ensure(session, url, link) for link in links)):
            await asyncio.sleep(max(0, (expiry - datetime.now(UTC)).total_seconds()))

    async def _ensure(self, session: aiohttp.ClientSession, url: str, link: dict[str, str]) -> int:
        ask = Ask("POST", API, (201, 409), self._token(), {"url": f"https://example.com/{link['slug']}", **link})
        for _ in range(ATTEMPTS):
            status, text = await _send(session, url, ask)
            if status in ask.expected:
                return status
            if status < 500:
                break
        raise RefusedError(f"POST {url}{API} was answered with {status}: {str(text)[:300]}")

    def take_interval(self) -> Tally:
        """What was answered since the last time."""
        taken, self._interval = self._interval, Tally()
        return taken

    async def send(self, session: aiohttp.ClientSession, url: str) -> None:
        """One request of a kind chosen by chance."""
        (kind,) = self.chance.choices(list(self._kinds), cum_weights=self._weights)
        if kind in OF_MADE and not self.made:
            kind = "create"
        ask = self._kinds[kind][1]()
        tally = self.tallies[kind]
        began = time.monotonic()
        try:
            status, body = await _send(session, url, ask)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            for each in (tally, self._interval):
                each.unanswered()
            tally.unexpected[type(error).__name__] += 1
            return
        took = time.monotonic() - began
        for each in (tally, self._interval):
            each.answered(status, took)
        if status not in ask.expected:
            tally.unexpected[f"status {status}"] += 1
        elif ask.then:
            ask.then(body)

    def _token(self) -> str:
        return self.chance.choice(self.tokens)

    def _popular_path(self) -> str:
        (slug,) = self.chance.choices(self._popular, cum_weights=self._popularity)
        return f"/{slug}"

    def _follow(self) -> Ask:
        return Ask("GET", self._popular_path(), (307,))

    def _create(self) -> Ask:
        token = self._token()

        def note(body: Any) -> None:
            self.made.append(Made(body["slug"], token))

        page = {"url": f"https://example.com/page/{self.chance.randrange(10**6)}"}
        return Ask("POST", API, (201,), token, page, note)

    def _change(self) -> Ask:
        link = self.made.popleft()  # so that it is not deleted meanwhile
        target = {"url": f"https://example.com/moved/{self.chance.randrange(10**6)}"}
        return Ask("PATCH", f"{API}/{link.slug}", (200,), link.token, target, lambda _: self.made.append(link))

    def _delete(self) -> Ask:
        link = self.made.popleft()
        return Ask("DELETE", f"{API}/{link.slug}", (204,), link.token)

    def _invalid(self) -> Ask:
        return Ask("POST", API, (400, 422), self._token(), self.chance.choice(BAD_BODIES))


async def _send(session: aiohttp.ClientSession, url: str, ask: Ask) -> tuple[int, Any]:
    """The status, and the body: as an object if it is a JSON object that is wanted, else as text."""
    body = {"json": ask.body} if isinstance(ask.body, dict) else {"data": ask.body}
    async with session.request(
        ask.method, url + ask.path, headers=ask.headers, allow_redirects=False, **body
    ) as answer:
        wanted = ask.then is not None and answer.status in ask.expected
        return answer.status, await (answer.json() if wanted else answer.text())
