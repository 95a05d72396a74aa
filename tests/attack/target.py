"""The service that is attacked: where it is, and the tokens that it takes."""

import base64
import json
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry

from keel.security import dev_token
from tests.attack.wire import Address, Answer, head

LINKS = "/api/v1/links"
READ_WRITE = "links:read links:write"
Headers = Iterable[tuple[str, str]]


class UnfitTargetError(Exception):
    """Nothing can be proven there; the message says why."""


@dataclass
class Target:
    """A running service. `key` signs the tokens that it takes, those of `issuer` for `audience`.

    `direct` is without an ingress in between, which answers some of what is malformed by itself, or tidies it.
    """

    address: Address
    key: ECKey
    issuer: str
    audience: str
    direct: bool = True
    held_seconds: float = 90.0
    """How long the service, or the ingress, may wait for a client that does not go on."""
    sources: bool = False
    """Whether we may come from any address of 127.0.0.0/8, which the service then tells apart."""
    source: str = ""
    run: str = field(default_factory=lambda: secrets.token_hex(4))
    """In the names of users and links, so that no run meets those of another."""

    def move(self) -> None:
        """Come from another address from now on, so that no group uses up the limit of the next one's."""
        if self.sources:
            self.source = f"127.0.1.{int(self.source.rpartition('.')[2] or 0) + 1}"

    def user(self, name: str) -> str:
        return f"attack-{self.run}-{name}"

    def slug(self, name: str) -> str:
        return f"attack-{self.run}-{name}"

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Those of a good token; None leaves one out."""
        now = int(time.time())
        good = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": self.user("alice"),
            "scope": READ_WRITE,
            "iat": now,
            "exp": now + 600,
        }
        return {name: value for name, value in (good | changes).items() if value is not None}

    def token(self, name: str = "alice", scope: str = READ_WRITE) -> str:
        """A good one."""
        return sign(self.header(), self.claims(sub=self.user(name), scope=scope), self.key)

    def header(self, **changes: Any) -> dict[str, Any]:
        """That of a good token; None leaves a parameter out."""
        good = {"alg": "ES256", "kid": self.key.kid, "typ": "at+jwt"}
        return {name: value for name, value in (good | changes).items() if value is not None}

    def ask(
        self,
        method: str,
        path: str,
        *,
        token: str = "",
        headers: Headers = (),
        body: object = None,
        host: str = "",
        source: str = "",
    ) -> Answer:
        """The answer to one request on a connection of its own. A `body` that is not bytes is sent as JSON."""
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        lines = [("Host", host or self.address.name), ("Connection", "close"), *headers]
        if token:
            lines.append(("Authorization", f"Bearer {token}"))
        if body is not None:
            kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
            lines += [("Content-Type", kind)] if not isinstance(body, bytes) else []
            lines.append(("Content-Length", str(len(content))))
        return self.send(head(method, path, lines) + content, method, source)

    def send(self, data: bytes, method: str = "GET", source: str = "") -> Answer:
        """The first answer to these bytes, on a connection of their own."""
        try:
            with self.address.connect(source or self.source) as connection:
                connection.send(data)
                return connection.answer(method)
        except OSError as error:
            return Answer(0, reason=f"no connection: {error}")

    def make_link(self, name: str, url: str = "https://example.com/", owner: str = "alice") -> str:
        """A link of a user's, for attempts to be made at; its slug. Raises UnfitTargetError."""
        slug = self.slug(name)
        made = self.ask("POST", LINKS, token=self.token(owner), body={"url": url, "slug": slug})
        if made.status != 201:
            raise UnfitTargetError(f"It makes no link: {made}")
        return slug

    def check(self) -> None:
        """Look whether this is the service, and takes our tokens: else it would withstand everything.

        Raises:
            UnfitTargetError: with a sentence that says what is wrong.
        """
        found = self.ask("GET", "/")
        if found.status != 200 or "version" not in found.json:
            raise UnfitTargetError(f"There is no such service at 127.0.0.1:{self.address.port}: {found}")
        listed = self.ask("GET", LINKS, token=self.token())
        if listed.status != 200:
            raise UnfitTargetError(f"It does not take our tokens, so give its KEY, ISSUER and AUDIENCE: {listed}")


def sign(header: dict[str, Any], claims: object, key: ECKey) -> str:
    """A token signed by ES256, whatever its header says."""
    return sign_bytes(header, json.dumps(claims).encode(), key)


def sign_bytes(header: dict[str, Any], payload: bytes, key: ECKey) -> str:
    signed = f"{encoded(header)}.{b64(payload)}"
    return f"{signed}.{b64(JWSRegistry.algorithms['ES256'].sign(signed.encode(), key))}"


def encoded(part: object) -> str:
    return b64(json.dumps(part).encode())


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def read_key(file: Path) -> ECKey:
    """The private key in a file of `python -m app token --key FILE`. Raises UnfitTargetError."""
    try:
        keys = dev_token.parse_dev_key(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UnfitTargetError(f"KEY={file} is not there: `make up` makes the local cluster's.") from None
    except (OSError, ValueError) as error:
        raise UnfitTargetError(f"KEY={file} cannot be read: {error}") from error
    key = keys.keys[0]
    assert isinstance(key, ECKey)
    return key
