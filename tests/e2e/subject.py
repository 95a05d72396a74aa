"""What the scenarios ask of a service: a public read that is cached, and the write that makes what is read.

A scenario that proves something of the chart, the kit or the platform asks its subject, and knows nothing of what the
service is about. So another service keeps every such proof, by naming its own here.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Subject:
    collection: str
    """Path of the write, which asks for a token: POST."""
    body: Callable[[], dict[str, Any]]
    """What is written, something else each time."""
    path: Callable[[dict[str, Any]], str]
    """Where that can be read by anybody, by the answer to the write."""
    status: int
    """Of the read."""
    route: str
    """Its template, as metrics and logs name it."""
    table: str
    """Where it is stored."""
    column: str
    """By which it is found there: the last segment of the Location that a write answers with."""

    def write(self, web: httpx.Client, token: str, **headers: str) -> httpx.Response:
        """Make something."""
        return web.post(self.collection, json=self.body(), headers={"Authorization": f"Bearer {token}", **headers})

    def make(self, web: httpx.Client, token: str) -> str:
        """Make something, and return the path at which it is read."""
        answer = self.write(web, token)
        assert answer.status_code == 201, answer.text
        return self.path(answer.json())


LINKS = Subject(
    collection="/api/v1/links",
    body=lambda: {"url": "https://example.com/"},
    path=lambda made: f"/{made['slug']}",
    status=307,
    route="/{slug}",
    table="links",
    column="slug",
)
# Of a service that `make new` has made.
ITEMS = Subject(
    collection="/api/v1/items",
    body=lambda: {"name": secrets.token_hex(8), "text": "Hello"},
    path=lambda made: f"/api/v1/items/{made['name']}",
    status=200,
    route="/api/v1/items/{name}",
    table="items",
    column="name",
)
# Of the service that is on the cluster.
SUBJECT = LINKS
