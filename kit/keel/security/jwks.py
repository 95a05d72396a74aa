"""Public keys from the issuer's address, fetched in the background, and kept while the issuer does not answer."""

import asyncio
import contextlib
import http.client
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import SplitResult, urlsplit

import structlog
from joserfc.jwk import KeySet
from opentelemetry import propagate
from prometheus_client import CollectorRegistry, Counter, Gauge

from keel import happy_eyeballs, strict_json
from keel.security.keys import KeySource, KeysUnavailableError, parse_jwks
from keel.settings.issuer_urls import metadata_urls, parse_url
from keel.settings.masking import mask_url

log = structlog.get_logger("keel.security.jwks")

MAX_BYTES = 65536
DEFAULT_PORTS = {"http": 80, "https": 443}
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
        url = urlsplit(address)
        connected = await happy_eyeballs.connect(url.hostname or "", url.port or DEFAULT_PORTS[url.scheme])
        connected.settimeout(self._timeout)
        request = _Request(url, headers, connected)
        try:
            return await asyncio.to_thread(request.send)
        finally:
            request.abort()


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


class _Request:
    """A GET over a connected socket, run in a thread. http.client follows no redirects and no proxies."""

    def __init__(self, url: SplitResult, headers: dict[str, str], connected: socket.socket) -> None:
        self.url = url
        self.headers = headers
        self.socket = connected

    def send(self) -> str:
        """Send the request; returns the body of the response.

        Raises:
            OSError, HTTPException: there is no response, or its status is not 200.
            ValueError: the body is too large, or is not UTF-8.
        """
        connection = self._connection()
        try:
            if isinstance(self.socket, ssl.SSLSocket):
                self.socket.do_handshake()
            connection.request("GET", self.url._replace(scheme="", netloc="").geturl() or "/", headers=self.headers)
            response = connection.getresponse()
            if response.status != 200:
                hint = ", and redirects are not followed" if 300 <= response.status < 400 else ""
                error = NotFoundError if response.status == 404 else http.client.HTTPException
                raise error(f"the answer has status {response.status}{hint}")
            body = response.read(MAX_BYTES + 1)
        finally:
            connection.close()
        if len(body) > MAX_BYTES:
            raise ValueError(f"the answer exceeds {MAX_BYTES} bytes")
        return body.decode("utf-8")

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self.url.hostname or "", self.url.port
        connection = http.client.HTTPConnection(host, port)
        if self.url.scheme == "https":
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(host, port, context=context)
            self.socket = context.wrap_socket(self.socket, server_hostname=host, do_handshake_on_connect=False)
        connection.sock = self.socket
        return connection

    def abort(self) -> None:
        """End a `send` that is still waiting: the time-out of a socket starts again with each byte."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)  # not SSLSocket's, which is not thread-safe
