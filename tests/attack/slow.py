"""Clients that begin and do not go on: others are answered meanwhile, and their connections end (OWASP API4)."""

import contextlib
import time
from collections.abc import Iterator

from tests.attack.attempts import Tally
from tests.attack.target import LINKS, Target
from tests.attack.wire import Connection, head

HELD = 20  # connections of each kind
ASKED = 5  # requests of others, while they are held
SOON = 5.0  # seconds for each of these, on a busy machine
BIG = 30  # links in a list, each with a target of 2,000 characters
SMALLEST = 1024  # bytes that the kernel keeps for a slow reader; it may give more


def attack(target: Target, tally: Tally) -> None:
    slug = target.make_link("waited-for")
    _unfinished(target, tally, slug)
    _unread(target, tally, slug)


def _unfinished(target: Target, tally: Tally, slug: str) -> None:
    """All at once, so that the longest wait is that for one."""
    kinds = {
        "no byte": b"",
        "half a line": f"GET /{slug}".encode(),
        "a head without end": f"GET /{slug} HTTP/1.1\r\nHost: {target.address.name}\r\nX: ".encode(),
        "a body that does not come": _posting(target, "Content-Length: 100"),
        "a body that stops": _posting(target, "Content-Length: 100") + b'{"url": ',
        "chunks that stop": _posting(target, "Transfer-Encoding: chunked") + b'8\r\n{"url": ',
    }
    with contextlib.ExitStack() as held:
        connections: list[tuple[str, Connection]] = []
        for name, data in kinds.items():
            for _ in range(HELD):
                connection = held.enter_context(target.address.connect(target.source))
                connection.send(data)
                connections.append((name, connection))
        _others_are_answered(target, tally, slug, f"{len(connections)} connections are held")
        until = time.monotonic() + target.held_seconds
        for name, connection in connections:
            answer = connection.answer(seconds=max(0.1, until - time.monotonic()))
            over = answer.status >= 400 or (answer.status == 0 and "Timeout" not in answer.reason)
            tally.judge(f"a connection with {name} comes to an end", over, answer)


def _unread(target: Target, tally: Tally, slug: str) -> None:
    """Answers that nobody takes, each longer than what is kept for a reader who is slow."""
    reader = target.token("reader")
    for number in range(BIG):
        target.make_link(f"long-{number}", "https://example.com/" + "x" * 2000, owner="reader")
    lines = [("Host", target.address.name), ("Authorization", f"Bearer {reader}")]
    asking = head("GET", f"{LINKS}?limit={BIG}", lines) * 3
    with contextlib.ExitStack() as held:
        for _ in range(HELD):
            connection = held.enter_context(target.address.connect(target.source, SMALLEST))
            connection.send(asking)
        _others_are_answered(target, tally, slug, f"{HELD} readers do not read")


def _others_are_answered(target: Target, tally: Tally, slug: str, while_: str) -> None:
    for name, status, seconds in _answers(target, slug):
        held = status in (200, 307) and seconds < SOON
        tally.judge(f"others are answered while {while_}: {name}", held, f"{status} after {seconds:.1f} s")


def _answers(target: Target, slug: str) -> Iterator[tuple[str, int, float]]:
    for _ in range(ASKED):
        for name, path, token in [("a visitor", f"/{slug}", ""), ("an owner", LINKS, target.token("other"))]:
            started = time.monotonic()
            yield name, target.ask("GET", path, token=token).status, time.monotonic() - started


def _posting(target: Target, length: str) -> bytes:
    """The head of a request with a body."""
    lines = f"Host: {target.address.name}\r\nAuthorization: Bearer {target.token('slow')}\r\n"
    return f"POST {LINKS} HTTP/1.1\r\n{lines}Content-Type: application/json\r\n{length}\r\n\r\n".encode()
