"""More requests than one client may send: that client is refused, and the others are not (OWASP API4 and API6).

Bounded: at most MOST requests of a client, on a few connections at a time.
"""

import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.attack.attempts import Tally
from tests.attack.target import LINKS, Target
from tests.attack.wire import Answer

MOST = 1_500
AT_A_TIME = 8
AFTER = 20  # requests of each kind, once the limit is reached
SYNC_SECONDS = 1.0  # in which all pods have heard that it is


class Flood:
    """Requests of one client until it is refused, and then a little longer."""

    def __init__(self, tally: Tally, name: str, ask: Callable[[], Answer]) -> None:
        self.tally = tally
        self.limit = 0
        self.served = 0  # since it was refused for the first time
        self.since = 0.0
        refusal = self._send(ask)
        policy = re.fullmatch(r'"\w+";q=(\d+);w=60', refusal.headers.get("ratelimit-policy", ""))
        told = policy is not None and refusal.headers.get("retry-after", "").isdigit()
        tally.judge(f"{name} is refused, and told when to come again", refusal.status == 429 and told, refusal)
        if policy:
            self.limit = int(policy[1])

    def _send(self, ask: Callable[[], Answer]) -> Answer:
        """The last refusal, or else the last answer."""
        answer, refusal = Answer(0), None
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            for _ in range(MOST // AT_A_TIME):
                for answer in pool.map(lambda _: ask(), range(AT_A_TIME)):
                    if answer.status == 429:
                        self.since = self.since or time.monotonic()
                        refusal = answer
                    elif refusal:
                        self.served += 1
                if refusal and time.monotonic() > self.since + SYNC_SECONDS:
                    break
        return refusal or answer

    def goes_on(self, name: str, answer: Answer) -> None:
        """Judge another request of the same client: refused, but for those that the limit allows as time goes by."""
        self.served += answer.status != 429
        allowed = (time.monotonic() - self.since + SYNC_SECONDS) * self.limit / 60
        self.tally.judge(name, answer.status == 429 or self.served <= allowed, answer)


def attack(target: Target, tally: Tally) -> None:
    _of_a_subject(target, tally)
    if target.sources:  # else everybody here has one address, whose limit others need as well
        _of_an_address(target, tally)


def _of_a_subject(target: Target, tally: Tally) -> None:
    token = target.token("flood")
    flood = Flood(tally, "a subject's flood", lambda: target.ask("GET", LINKS, token=token))
    for number in range(AFTER):
        headers = [("X-Forwarded-For", f"203.0.113.{number}")]
        answer = target.ask("GET", LINKS, token=target.token("flood"), headers=headers)
        flood.goes_on("the same subject with a new token", answer)
    for number in range(AFTER):
        answer = target.ask("GET", LINKS, token=target.token(f"calm-{number}"))
        tally.refused("another subject meanwhile", answer, 200)
    tally.refused("a visitor meanwhile", target.ask("GET", "/"), 200)


def _of_an_address(target: Target, tally: Tally) -> None:
    flooding, calm = "127.0.2.1", "127.0.2.2"
    neighbour = target.token("neighbour")
    target.ask("GET", LINKS, token=neighbour, source=calm)  # so that its token is known: others are not looked at
    flood = Flood(tally, "an address's flood", lambda: target.ask("GET", "/", source=flooding))
    for number in range(AFTER):
        for header in ("X-Forwarded-For", "X-Real-IP", "Forwarded"):
            value = f"for=203.0.113.{number}" if header == "Forwarded" else f"203.0.113.{number}"
            answer = target.ask("GET", "/", headers=[(header, value)], source=flooding)
            flood.goes_on(f"the same address with another {header}", answer)
        bad = target.ask("GET", LINKS, token=f"not-a-token-{number}", source=flooding)
        flood.goes_on("the same address with a bad token", bad)
    for _ in range(AFTER):
        tally.refused("another address meanwhile", target.ask("GET", "/", source=calm), 200)
    tally.refused("an owner at the same address", target.ask("GET", LINKS, token=neighbour, source=flooding), 200)
