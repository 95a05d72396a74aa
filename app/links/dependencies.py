"""Dependencies of the API's routes: the parts of the domain, and the access token with its scopes."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Security
from starlette.requests import HTTPConnection

from app.links.checks import TargetChecks
from app.links.clicks import ClickCounter
from app.links.csv_import import Imports
from app.links.metrics import LinkMetrics
from app.links.models import Link
from app.links.store import LinkStore
from app.links.urls import UrlPolicy
from keel.data.feed import Feed
from keel.errors.problems import Problem
from keel.idempotency import IdempotencyKeys
from keel.security.auth import Principal, authenticate

READ, WRITE, ADMIN = "links:read", "links:write", "links:admin"


@dataclass(frozen=True, slots=True)
class Links:
    """The parts that routes use, kept in `app.state.links`."""

    store: LinkStore
    checks: TargetChecks
    imports: Imports
    clicks: ClickCounter
    keys: IdempotencyKeys
    urls: UrlPolicy
    metrics: LinkMetrics
    live: Feed
    """Of clicks."""
    public_url: str

    def short_url(self, slug: str) -> str:
        """The address that clients follow."""
        return f"{self.public_url}/{slug}"


# A coroutine, as every dependency here: FastAPI would run a plain function in another thread.
async def get_links(connection: HTTPConnection) -> Links:
    """The dependency of a route that uses links, by requests or by a WebSocket."""
    links: Links = connection.app.state.links
    return links


LinksDep = Annotated[Links, Depends(get_links)]
Reader = Annotated[Principal, Security(authenticate, scopes=[READ])]
Writer = Annotated[Principal, Security(authenticate, scopes=[WRITE])]
Admin = Annotated[Principal, Security(authenticate, scopes=[ADMIN])]


def check_owner(link: Link, principal: Principal) -> None:
    """Let only the owner of a link, or an administrator of links, pass.

    Raises:
        Problem: 403 for anybody else.
    """
    if link.owner != principal.subject and ADMIN not in principal.scopes:
        raise Problem(403, f"This link belongs to someone else. Access needs the scope {ADMIN}.")
