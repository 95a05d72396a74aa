"""Public keys from the issuer's address, fetched in the background, and kept while the issuer does not answer."""

import asyncio
import contextlib
import http.client
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlsplit

import structlog
from joserfc.jwk import KeySet
from opentelemetry import propagate
from prometheus_client import CollectorRegistry, Counter, Gauge

from keel import outgoing, strict_json
from keel.security.keys import KeySource, KeysUnavailableError, parse_jwks
from keel.settings.issuer_urls import metadata_urls, parse_url
from keel.settings.masking import mask_url

log = structlog.get_logger("keel.security.jwks")

MAX_BYTES = 65536
OUTCOMES = ("ok", "unreachable", "unusable")


class JwksUrl(KeySource):
    """Keys from `url`, fetched every `refresh` seconds.

    They are also fetched when a token names an unknown key, but never twice within `cooldown` seconds, whatever tokens
    clients send. After a failure the next attempt is after `cooldown` seconds. The issuer has `timeout` seconds to
    respond. Redirects and proxies are not followed.
    """

    def __init__(
        self,
        url: str,
        *,
        refresh: float,
        cooldown: float,
        timeout: float,
        registry: CollectorRegistry,
        user_agent: str = "keel",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = url
        self._asked = url
        self._user_agent = user_agent
        self._refresh = refresh
        self._cooldown = cooldown
        self._timeout = timeout
        self._clock = clock
        self._keys: KeySet | None = None
        self._text = ""
        self._next = clock()  # when the next fetch may begin
        self._fetching: asyncio.Task[None] | None = None
        self._fetched_at = self._clock()
        self._failing = False
        fetches = Counter("jwks_fetches", "Fetches of the issuer's keys, by outcome.", ["outcome"], registry=registry)
        self._count = {outcome: fetches.labels(outcome) for outcome in OUTCOMES}
        age = "Time since the issuer's keys were last fetched; since the start, if they never were."
        Gauge("jwks_age_seconds", age, registry=registry).set_function(lambda: self._clock() - self._fetched_at)

    def current(self) -> KeySet:
        if self._keys is None:
            raise KeysUnavailableError(retry_after=max(1, self._next - self._clock()))
        return self._keys

    async def refetch(self) -> None:
        if self._fetching is None:
            if self._clock() < self._next:
                return
            self._fetching = asyncio.create_task(self._fetch())
        # If one client disconnects, the fetch must go on for the others.
        await asyncio.shield(self._fetching)

    @contextlib.asynccontextmanager
    async def refreshing(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._keep_fresh())
        try:
            yield
        finally:
            tasks = [task, *filter(None, [self._fetching])]
            for each in tasks:
                each.cancel()
            await asyncio.wait(tasks)

    async def _keep_fresh(self) -> None:
        while True:
            await self.refetch()
            due = self._next if self._failing else max(self._next, self._fetched_at + self._refresh)
            await asyncio.sleep(max(0, due - self._clock()))

    async def _fetch(self) -> None:
        self._next = self._clock() + self._cooldown
        outcome, reason = "ok", ""
        try:
            async with self._deadline():
                self._take(await self._get())
        except (OSError, http.client.HTTPException) as error:
            outcome, reason = "unreachable", str(error) or type(error).__name__
        except ValueError as error:
            outcome, reason = "unusable", str(error)
        finally:
            self._fetching = None
        self._count[outcome].inc()
        self._failing = outcome != "ok"
        if self._failing:
            log.error("keys not fetched, keeping the last ones", url=mask_url(self._asked), reason=reason)

    def _take(self, text: str) -> None:
        if text != self._text:
            self._keys, self._text = parse_jwks(text), text
            log.info("keys fetched", url=mask_url(self._asked), ids=[key.kid for key in self._keys])
        self._fetched_at = self._clock()

    @contextlib.asynccontextmanager
    async def _deadline(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except TimeoutError:
            raise OSError(f"no answer within {self._timeout:g} s") from None

    async def _get(self) -> str:
        """The text of the key set."""
        return await self._ask(self.url)

    async def _ask(self, address: str) -> str:
        self._asked = address
        headers = {"Accept": "application/jwk-set+json, application/json", "User-Agent": self._user_agent}
        propagate.inject(headers)
        answer = await outgoing.send("GET", address, headers, max_bytes=MAX_BYTES + 1, seconds=self._timeout)
        if answer.status != 200:
            hint = ", and redirects are not followed" if 300 <= answer.status < 400 else ""
            error = NotFoundError if answer.status == 404 else http.client.HTTPException
            raise error(f"the answer has status {answer.status}{hint}")
        if len(answer.body) > MAX_BYTES:
            raise ValueError(f"the answer exceeds {MAX_BYTES} bytes")
        return answer.body.decode("utf-8")


class DiscoveredJwks(JwksUrl):
    """Keys from the address in the issuer's metadata (OpenID Connect Discovery 1.0), which is fetched each time.

    `timeout` is for both responses together.
    """

    def __init__(self, issuer: str, **others: Any) -> None:
        self.issuer = issuer
        openid, self._oauth = metadata_urls(issuer)
        super().__init__(openid, **others)

    async def _get(self) -> str:
        return await self._ask(self._keys_url(await self._metadata()))

    async def _metadata(self) -> str:
        """The issuer's metadata by OpenID Connect, or by RFC 8414 if there is none."""
        with contextlib.suppress(NotFoundError):
            return await self._ask(self.url)
        try:
            return await self._ask(self._oauth)
        except NotFoundError:
            raise NotFoundError(f"the answer has status 404, and so has that of {mask_url(self.url)}") from None

    def _keys_url(self, metadata: str) -> str:
        """The address of the keys, from the issuer's metadata.

        Raises:
            ValueError: the metadata is of another issuer, or has no valid address.
        """
        document: Any = strict_json.loads(metadata.encode())
        if not isinstance(document, dict):
            raise ValueError('expected a JSON object with "issuer" and "jwks_uri" (OpenID Connect Discovery 1.0)')
        issuer, url = document.get("issuer"), document.get("jwks_uri")
        if issuer != self.issuer:
            raise ValueError(f"its issuer is {issuer!r}, and APP_JWT_ISSUER {self.issuer!r}: they must be the same")
        if not isinstance(url, str):
            raise ValueError("it has no jwks_uri, which would be the address of the keys")
        try:
            return parse_url(url, https_only=urlsplit(self.issuer).scheme == "https")
        except ValueError as error:
            raise ValueError(f"its jwks_uri is {mask_url(url)!r}, and {error}") from None


class NotFoundError(http.client.HTTPException):
    """The response has status 404."""
