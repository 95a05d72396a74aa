"""A realistic load: what visitors, owners and strangers ask of a link shortener."""

import random
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, NamedTuple

from keel.operations import Call, Kind, LoadProfile

API = "/api/v1/links"
POPULAR = 40  # links with names of their own, found again by the next run
EXPIRED = 4
EXPIRY = 3.0  # seconds; the service may be slow to begin with
ERRANDS = ("/wp-login.php", "/.env", "/admin/login", "/favicon.ico", "/robots.txt", "/api/v2/links")
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


class Made(NamedTuple):
    slug: str
    token: str


class LinkLoad(LoadProfile):
    """Links that were made are changed and deleted; popular ones, which stay, are followed."""

    settle_seconds = EXPIRY

    def __init__(self, tokens: Sequence[str], chance: random.Random) -> None:
        super().__init__(tokens, chance)
        self.made: deque[Made] = deque()
        # Zipf's law: the second link is followed half as often as the first, the third a third as often.
        self._popular = [f"load-{rank}" for rank in range(1, POPULAR + 1)]
        self._expired = [f"load-expired-{number}" for number in range(1, EXPIRED + 1)]
        self._popularity = list(accumulate(1 / rank for rank in range(1, POPULAR + 1)))

    def kinds(self) -> Mapping[str, Kind]:
        """Nine of ten requests need no token."""
        return {
            "follow": Kind(780, lambda: Call(path=self.popular_path(), expected=(307,))),
            "look (HEAD)": Kind(20, lambda: Call(method="HEAD", path=self.popular_path(), expected=(307,))),
            "unknown link": Kind(35, lambda: Call(path=f"/lost-{self.chance.randrange(10**9)}", expected=(404,))),
            "expired link": Kind(15, lambda: Call(path=f"/{self.chance.choice(self._expired)}", expected=(410,))),
            "crawler": Kind(10, lambda: Call(path=self.chance.choice(ERRANDS), expected=(404,))),
            "start page": Kind(5, lambda: Call(path="/")),
            "create": Kind(40, self._create, with_token=True),
            "list": Kind(25, lambda: Call(path=f"{API}?limit=20", token=self.token()), with_token=True),
            "change": Kind(15, self._change, with_token=True),
            "delete": Kind(35, self._delete, with_token=True),
            "invalid body": Kind(10, self._invalid, with_token=True),
            "bad token": Kind(10, lambda: Call(path=API, expected=(400, 401), token=self.chance.choice(BAD_TOKENS))),
        }

    def preparation(self) -> Sequence[Call]:
        """The links that are followed, and some that expire."""
        expiry = (datetime.now(UTC) + timedelta(seconds=EXPIRY)).isoformat()
        links: list[Mapping[str, str]] = [{"slug": slug} for slug in self._popular]
        links += [{"slug": slug, "expires_at": expiry} for slug in self._expired]
        return [self._post({"url": f"https://example.com/{link['slug']}", **link}, (201, 409)) for link in links]

    def popular_path(self) -> str:
        (slug,) = self.chance.choices(self._popular, cum_weights=self._popularity)
        return f"/{slug}"

    def _post(self, body: bytes | Mapping[str, Any], expected: Sequence[int]) -> Call:
        return Call(method="POST", path=API, expected=expected, token=self.token(), body=body)

    def _create(self) -> Call:
        token = self.token()

        def note(body: Any) -> None:
            self.made.append(Made(body["slug"], token))

        page = {"url": f"https://example.com/page/{self.chance.randrange(10**6)}"}
        return Call(method="POST", path=API, expected=(201,), token=token, body=page, then=note)

    def _change(self) -> Call | None:
        if not self.made:
            return None
        link = self.made.popleft()  # so that it is not deleted meanwhile
        return Call(
            method="PATCH",
            path=f"{API}/{link.slug}",
            token=link.token,
            body={"url": f"https://example.com/moved/{self.chance.randrange(10**6)}"},
            then=lambda _: self.made.append(link),
        )

    def _delete(self) -> Call | None:
        if not self.made:
            return None
        link = self.made.popleft()
        return Call(method="DELETE", path=f"{API}/{link.slug}", expected=(204,), token=link.token)

    def _invalid(self) -> Call:
        return self._post(self.chance.choice(BAD_BODIES), (400, 422))
