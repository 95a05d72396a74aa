"""What a domain brings for those who operate the service. It is plain data that tools read; no server needs it.

`python -m app values` prints what of it the chart takes: docs/decisions/0018-kit-and-domains.md says why.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class SmokeRequest:
    """A GET without a token, and the response that shows that a release works.

    `helm test` sends it inside the cluster, and `make deploy` over the public address.
    """

    name: str
    """A word for it, unique in the service: a test's pod has it in its name."""
    path: str
    status: int = 200
    content_type: str = ""
    """The media type wanted; any if empty."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request of a load, and the statuses that it should be answered with."""

    method: str = "GET"
    path: str
    expected: Sequence[int] = (200,)
    token: str | None = None
    body: bytes | Mapping[str, Any] | None = None
    """A mapping is sent as JSON."""
    then: Callable[[Any], None] | None = None
    """Is called with the JSON of an expected response."""


@dataclass(frozen=True)
class Kind:
    """One of the kinds of request that a load has."""

    share: int
    """How many there are of it, compared with the other kinds."""
    make: Callable[[], Call | None]
    """Makes a request; None if there is nothing yet that it could be about, and another kind is taken."""
    with_token: bool = False
    """Whether it counts against the limit of a token."""


class LoadProfile:
    """The requests that users of a domain send, by chance and in about the shares in which they do."""

    settle_seconds: float = 0
    """How long to wait after the preparation, if any of it was answered with 201."""

    def __init__(self, tokens: Sequence[str], chance: random.Random) -> None:
        """`tokens` are of several users, with the domain's `development_scopes`."""
        self.tokens = tokens
        self.chance = chance

    def kinds(self) -> Mapping[str, Kind]:
        """What is sent, by names that are unique in the service."""
        return {}

    def preparation(self) -> Sequence[Call]:
        """Requests to send before the load; they must succeed again if an earlier load has sent them already."""
        return ()

    def token(self) -> str:
        """The token of a user."""
        return self.chance.choice(self.tokens)


@dataclass(frozen=True, kw_only=True)
class Operations:
    """What a domain brings beside its code."""

    requests: Sequence[SmokeRequest] = ()
    dashboards: Mapping[str, Path] = field(default_factory=dict)
    """Files with the JSON of Grafana dashboards, by names that are unique in the service."""
    load: Callable[[Sequence[str], random.Random], LoadProfile] | None = None
    """The class of its load profile."""
    example: str = ""
    """Arguments of curl that make a first request. `{url}` stands for the service's, `{token}` for an access token."""
