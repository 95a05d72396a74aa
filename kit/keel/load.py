"""Sends the load that a service's domains bring: `python -m keel.load app.main:SERVICE http://127.0.0.1:8000`.

It is for the service that `python -m app` runs on this machine, with tokens that this machine's key signs. It needs
httpx.
"""

import argparse
import asyncio
import importlib
import ipaddress
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from keel.operations import Call, Kind, LoadProfile
from keel.security import dev_token
from keel.service import Service

if TYPE_CHECKING:
    import httpx

MAX_RATE = 200.0
TOKEN_PER_SECOND = 8  # requests with a token, of ten that the service allows by default
TIMEOUT = 10.0


class LoadError(Exception):
    """The load cannot be sent; the message says why."""


class Mix:
    """The kinds of request that all domains of a service bring."""

    def __init__(self, profiles: Sequence[LoadProfile], chance: random.Random | None = None) -> None:
        self.profiles = profiles
        self.chance = chance or random.Random()  # noqa: S311
        self.kinds: dict[str, Kind] = {}
        for kinds in (profile.kinds() for profile in profiles):
            if twice := self.kinds.keys() & kinds.keys():
                raise LoadError(f"Two domains bring a load of the kind {min(twice)}: rename one.")
            self.kinds |= kinds
        if not self.kinds:
            raise LoadError("No domain brings a load: give the `operations` of one a `load`.")
        self._weights = list(accumulate(kind.share for kind in self.kinds.values()))

    @classmethod
    def of(cls, service: Service, tokens: Sequence[str], chance: random.Random | None = None) -> "Mix":
        """That of a service, for users with these tokens."""
        chosen = chance or random.Random()  # noqa: S311
        made = [each.operations.load(tokens, chosen) for each in service.domains if each.operations.load]
        return cls(made, chosen)

    @property
    def with_token(self) -> float:
        """The share of requests that count against the limit of a token."""
        return sum(kind.share for kind in self.kinds.values() if kind.with_token) / self._weights[-1]

    def choose(self) -> tuple[str, Call]:
        """A kind by chance, and a request of it."""
        while True:
            (name,) = self.chance.choices(list(self.kinds), cum_weights=self._weights)
            if call := self.kinds[name].make():
                return name, call


def headers(call: Call) -> dict[str, str]:
    """Those that a request needs for its token and its body."""
    needed = {}
    if call.token is not None:
        needed["Authorization"] = f"Bearer {call.token}"
    if call.body is not None:
        needed["Content-Type"] = "application/merge-patch+json" if call.method == "PATCH" else "application/json"
    return needed


async def ask(client: "httpx.AsyncClient", call: Call) -> int:
    """Send one request, and let its profile know of a response as it should be. Returns the status."""
    body: dict[str, Any] = {"content": call.body} if isinstance(call.body, bytes) else {"json": call.body}
    answer = await client.request(call.method, call.path, headers=headers(call), follow_redirects=False, **body)
    if call.then and answer.status_code in call.expected:
        call.then(answer.json())
    return answer.status_code


async def prepare(client: "httpx.AsyncClient", mix: Mix) -> None:
    """Send what comes before the load, and wait as long as it needs.

    Raises:
        LoadError: it is not answered as it should be.
    """
    for profile in mix.profiles:
        made = False
        for call in profile.preparation():
            status = await ask(client, call)
            if status not in call.expected:
                raise LoadError(f"{call.method} {call.path} was answered with {status}.")
            made = made or status == 201
        if made:
            await asyncio.sleep(profile.settle_seconds)


@dataclass
class Tally:
    """How the requests of one kind were answered."""

    seconds: list[float] = field(default_factory=list)
    unexpected: Counter[str] = field(default_factory=Counter)


async def send(client: "httpx.AsyncClient", mix: Mix, rate: float, seconds: float) -> dict[str, Tally]:
    """Begin `rate` requests a second, whatever becomes of those before; then wait for the last ones."""
    import httpx  # noqa: PLC0415  # no server needs it

    tallies = {kind: Tally() for kind in mix.kinds}

    async def one() -> None:
        kind, call = mix.choose()
        began = time.monotonic()
        try:
            status = await ask(client, call)
        except httpx.HTTPError as error:
            tallies[kind].unexpected[type(error).__name__] += 1
            return
        tallies[kind].seconds.append(time.monotonic() - began)
        if status not in call.expected:
            tallies[kind].unexpected[f"status {status}"] += 1

    async with asyncio.TaskGroup() as tasks:
        began = time.monotonic()
        for number in range(math.ceil(rate * seconds)):
            tasks.create_task(one())
            await asyncio.sleep(max(0.0, began + (number + 1) / rate - time.monotonic()))
    return tallies


def summary(tallies: dict[str, Tally]) -> str:
    """A table by kind, and what came that should not have."""
    lines = [f"{'':<16}{'sent':>8}{'p50 ms':>9}{'p99 ms':>9}"]
    unexpected: Counter[str] = Counter()
    for kind, tally in tallies.items():
        unexpected += tally.unexpected
        sent = len(tally.seconds) + sum(n for why, n in tally.unexpected.items() if not why.startswith("status"))
        times = sorted(tally.seconds) or [0.0]
        p50, p99 = (1000 * times[math.ceil(q * len(times)) - 1] for q in (0.5, 0.99))
        lines.append(f"{kind:<16}{sent:>8}{p50:>9.1f}{p99:>9.1f}")
    told = ", ".join(f"{count} x {reason}" for reason, count in unexpected.most_common())
    lines.append(f"Not as they should be: {told}." if told else "Every response was as it should be.")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 if every response was as it should be, 1 if not, 2 if nothing could be sent."""
    parser = argparse.ArgumentParser(prog="python -m keel.load", description="Send a service's own load to it.")
    parser.add_argument("service", help="where it is, such as app.main:SERVICE")
    parser.add_argument("url", help="its address on this machine, such as http://127.0.0.1:8000")
    parser.add_argument("--rate", type=float, default=20.0, help="requests a second (default: 20)")
    parser.add_argument("--seconds", type=float, default=30.0, help="for how long (default: 30)")
    options = parser.parse_args(arguments)
    try:
        if not 0 < options.rate <= MAX_RATE or not 0 < options.seconds <= 3600:
            raise LoadError(f"Give a rate up to {MAX_RATE:g} and seconds up to 3600.")
        _require_this_machine(options.url)
        return asyncio.run(_run(_service(options.service), options.url, options.rate, options.seconds))
    except LoadError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        return 130


async def _run(service: Service, url: str, rate: float, seconds: float) -> int:
    import httpx  # noqa: PLC0415  # no server needs it

    needed = math.ceil(rate * Mix.of(service, []).with_token / TOKEN_PER_SECOND)
    mix = Mix.of(service, _tokens(service, needed, seconds))
    try:
        async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT, limits=httpx.Limits()) as client:
            await client.get("/")  # whether there is anyone
            await prepare(client, mix)
            tallies = await send(client, mix, rate, seconds)
    except httpx.HTTPError as error:
        raise LoadError(f"{url} does not answer ({error}): is the service up?") from error
    sys.stdout.write(summary(tallies) + "\n")
    return 1 if any(tally.unexpected for tally in tallies.values()) else 0


def _tokens(service: Service, count: int, seconds: float) -> list[str]:
    if not service.product.tokens:
        return []
    settings = service.load().settings
    key = dev_token.obtain_key(settings.dev_key_file)
    return [
        dev_token.mint(
            key,
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            subject=f"load-{number}",
            scope=service.development_scopes,
            expires_in=math.ceil(seconds) + 600,
        )
        for number in range(1, count + 1)
    ]


def _service(target: str) -> Service:
    module, _, name = target.partition(":")
    try:
        found = getattr(importlib.import_module(module), name or "SERVICE")
    except (ImportError, AttributeError) as error:
        raise LoadError(f"{target} is no service: write it as package.main:SERVICE ({error}).") from error
    if not isinstance(found, Service):
        raise LoadError(f"{target} is no keel.service.Service.")
    return found


def _require_this_machine(url: str) -> None:
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if parts.scheme not in ("http", "https") or not local:
        raise LoadError(f"{url} is not this machine, such as http://127.0.0.1:8000: it is for a developer's service.")


if __name__ == "__main__":
    sys.exit(main())
