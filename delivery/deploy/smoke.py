"""The public address, as users reach it: TLS that is verified, the new version alone, and answers as they should be."""

import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx

from delivery.deploy.environment import Environment
from toolkit.process import Failure

SECONDS = 60.0
PAUSE = 0.1
TIMEOUT = 10.0


class ConnectTo(httpx.HTTPTransport):
    """Connects to one address whatever the name, and verifies the certificate for the name (curl's --connect-to)."""

    def __init__(self, address: str, trust: ssl.SSLContext) -> None:
        # No connection is kept: each request may meet another pod.
        super().__init__(verify=trust, limits=httpx.Limits(max_keepalive_connections=0))
        self.address = address

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions["sni_hostname"] = request.url.host
        request.url = request.url.copy_with(host=self.address)
        return super().handle_request(request)


def client(connect: str | None, ca: Path | None) -> httpx.Client:
    """Trusts that authority alone, or else the public ones."""
    try:
        trust = ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise Failure(f"The authority's certificate {ca} cannot be read: {error}") from None
    transport = (
        ConnectTo(connect, trust)
        if connect
        else httpx.HTTPTransport(verify=trust, limits=httpx.Limits(max_keepalive_connections=0))
    )
    return httpx.Client(transport=transport, timeout=TIMEOUT, follow_redirects=False)


@dataclass(frozen=True)
class Answer:
    """What the address says of who answers; empty where an image does not say."""

    version: str = ""
    instance: str = ""


def identity(answer: httpx.Response) -> Answer:
    """From a JSON object with `version` and `instance`, the pod's name."""
    try:
        said: Any = answer.json()
    except ValueError:
        return Answer()
    if not isinstance(said, dict):
        return Answer()
    return Answer(str(said.get("version", "")), str(said.get("instance", "")))


@dataclass(frozen=True)
class Smoke:
    """The checks of one environment."""

    environment: Environment
    seconds: float = SECONDS

    def _client(self) -> httpx.Client:
        return client(self.environment.smoke.connect, self.environment.smoke.ca)

    def version(self) -> str:
        """What serves now; empty where nothing does, or does not say."""
        with self._client() as web:
            try:
                answer = web.get(self.environment.url + self.environment.smoke.path)
            except httpx.HTTPError:
                return ""
        return identity(answer).version if answer.is_success else ""

    def run(self, pods: Callable[[], set[str]], requests: Sequence[Mapping[str, Any]] = ()) -> Answer:
        """Raises Failure unless the address answers well, and only by these pods: asked again, as there may be more.

        `requests` are those of the release's own tests, as the chart's values have them.
        """
        with self._client() as web:
            answer = self._only(web, pods)
            for each in requests:
                self._own(web, each)
            if self.environment.smoke.missing:
                self._problem(web, self.environment.smoke.missing)
            if self.environment.plain:
                self._redirect(web, self.environment.plain)
        return answer

    def _only(self, web: httpx.Client, pods: Callable[[], set[str]]) -> Answer:
        """A number of good answers in a row: for a moment the ingress may still know a pod that has left."""
        url = self.environment.url + self.environment.smoke.path
        deadline = time.monotonic() + self.seconds
        row, why, known = 0, "", pods()
        while row < self.environment.smoke.answers:
            if time.monotonic() > deadline:
                raise Failure(f"{url} did not answer well {self.environment.smoke.answers} times in a row: {why}.")
            try:
                answer = web.get(url)
            except httpx.HTTPError as error:
                row, why = 0, f"{type(error).__name__}: {error}"
                time.sleep(PAUSE)
                continue
            found = identity(answer)
            if answer.status_code >= HTTPStatus.BAD_REQUEST:
                row, why = 0, f"the last answer was {answer.status_code} {answer.reason_phrase}"
            elif found.instance and found.instance not in known:
                known = pods()
                row, why = 0, f"{found.instance}, which is no pod of the new version, still answers"
            else:
                row += 1
                continue
            time.sleep(PAUSE)
        return found

    def _own(self, web: httpx.Client, request: Mapping[str, Any]) -> None:
        answer = _get(web, self.environment.url + request["path"])
        kind, wanted = _media_type(answer), request.get("contentType", "")
        if answer.status_code != request["status"] or wanted not in ("", kind):
            raise Failure(
                f"{self.environment.url}{request['path']} should be answered with "
                f"{request['status']}{f', {wanted}' if wanted else ''} (tests.requests, {request['name']}), but the "
                f"answer was {answer.status_code}, {kind or 'without a type'} (`smoke.requests: false` asks none)."
            )

    def _problem(self, web: httpx.Client, path: str) -> None:
        answer = _get(web, self.environment.url + path)
        kind = _media_type(answer)
        if answer.status_code != HTTPStatus.NOT_FOUND or kind != "application/problem+json":
            raise Failure(
                f"{self.environment.url}{path} should not be there and be answered by a problem (RFC 9457), "
                f"but the answer was {answer.status_code}, {kind or 'without a type'} (`smoke.missing: null` asks for "
                "none)."
            )

    def _redirect(self, web: httpx.Client, plain: str) -> None:
        answer = _get(web, plain + self.environment.smoke.path)
        to = answer.headers.get("location", "")
        if not answer.is_redirect or not to.startswith("https://"):
            raise Failure(
                f"{plain} should redirect to TLS, but the answer was {answer.status_code}"
                f"{f', to {to}' if to else ''}: have the ingress redirect it."
            )


def _media_type(answer: httpx.Response) -> str:
    return str(answer.headers.get("content-type", "")).partition(";")[0]


def _get(web: httpx.Client, url: str) -> httpx.Response:
    try:
        return web.get(url)
    except httpx.HTTPError as error:
        raise Failure(f"{url} cannot be reached: {type(error).__name__}: {error}") from None
