"""Requests as the service's domains say that users send them: prepares, sends and counts them."""

import asyncio
import time
from typing import Any

import aiohttp

from k8s.load.tally import Tally
from keel.load import Mix, headers
from keel.operations import Call
from toolkit import project

ATTEMPTS = 20  # at each request of the preparation: a share of errors may be what the load is to show


class RefusedError(Exception):
    """The service did not let the load prepare itself; the message says how it answered."""


class Traffic:
    """Tokens belong to users, of whom each may ask but so often: the more requests, the more of them are needed."""

    def __init__(self, mix: Mix) -> None:
        self.mix = mix
        self.tallies = {kind: Tally() for kind in mix.kinds}
        self._interval = Tally()

    async def prepare(self, session: aiohttp.ClientSession, url: str) -> None:
        """Send what comes before the load, and wait as long as it needs.

        Raises:
            RefusedError: the service answers otherwise than it should.
        """
        for profile in self.mix.profiles:
            if 201 in await asyncio.gather(*(self._ensure(session, url, each) for each in profile.preparation())):
                await asyncio.sleep(profile.settle_seconds)

    async def _ensure(self, session: aiohttp.ClientSession, url: str, call: Call) -> int:
        for _ in range(ATTEMPTS):
            status, text = await _send(session, url, call)
            if status in call.expected:
                return status
            if status < 500:
                break
        raise RefusedError(f"{call.method} {url}{call.path} was answered with {status}: {str(text)[:300]}")

    def take_interval(self) -> Tally:
        """What was answered since the last time."""
        taken, self._interval = self._interval, Tally()
        return taken

    async def send(self, session: aiohttp.ClientSession, url: str) -> None:
        """One request of a kind chosen by chance."""
        kind, call = self.mix.choose()
        tally = self.tallies[kind]
        began = time.monotonic()
        try:
            status, body = await _send(session, url, call)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            for each in (tally, self._interval):
                each.unanswered()
            tally.unexpected[type(error).__name__] += 1
            return
        took = time.monotonic() - began
        for each in (tally, self._interval):
            each.answered(status, took)
        if status not in call.expected:
            tally.unexpected[f"status {status}"] += 1
        elif call.then:
            call.then(body)


def _headers(call: Call) -> dict[str, str]:
    return {"User-Agent": f"{project.NAME}-load", **headers(call)}


async def _send(session: aiohttp.ClientSession, url: str, call: Call) -> tuple[int, Any]:
    """The status, and the body: as an object if it is a JSON object that is wanted, else as text."""
    body = {"data": call.body} if isinstance(call.body, bytes) else {"json": call.body}
    async with session.request(
        call.method, url + call.path, headers=_headers(call), allow_redirects=False, **body
    ) as answer:
        wanted = call.then is not None and answer.status in call.expected
        return answer.status, await (answer.json() if wanted else answer.text())
