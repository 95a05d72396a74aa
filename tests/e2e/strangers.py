"""Thousands of requests of which no two are alike in path, method, host or headers, on a few kept-alive connections.

To 127.0.0.1 alone, and as many as were asked for. What they may not do is make a series each.
"""

import http.client
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

LOOPBACK = "127.0.0.1"
CONNECTIONS = 8
MOST = 20_000
PATHS = (
    "/{0}",
    "/{0}/deep",
    "/api/v1/links/{0}",
    "/api/v1/{0}",
    "/%E2%80%A8{0}",
    "/?x={0}",
    "/a%2F{0}",
    "/.well-known/{0}",
)
# WebDAV's are known to HTTP parsers; the others are not, but may be sent.
METHODS = ("GET", "ODD{0}", "DELETE", "get{0}", "PROPFIND", "M-{0}")
HOSTS = ("{1}", "host-{0}.example.com", "{1}:{2}", "10.{0}.example")
# One request in so many carries a token.
TOKENS = 7
KINDS = len(PATHS) * len(METHODS) * len(HOSTS) * TOKENS
"""After so many requests each kind was there once."""
# Numbers of one length, long enough to be a slug: the first requests take the same way through the service as the last.
FIRST = 10_000


@dataclass
class Outcome:
    """`by_service` are the answers that carry the service's request id; the others are of what stands before it."""

    statuses: Counter[int] = field(default_factory=Counter)
    by_service: int = 0
    connections: int = 0
    seconds: float = 0.0

    @property
    def answered(self) -> int:
        return self.statuses.total()


def visit(port: int, host: str, count: int, trust: ssl.SSLContext | None = None) -> Outcome:
    """Send `count` requests, over TLS with the certificate verified for `host` if `trust` is given.

    Raises:
        ValueError: there are too many.
        OSError: nothing answers there, or only breaks off.
    """
    if not 0 < count <= MOST:
        raise ValueError(f"{count} is not between 1 and {MOST}")
    outcome = Outcome()
    numbers = iter(range(count))
    lock = threading.Lock()
    errors: list[BaseException] = []
    started = time.monotonic()

    def work() -> None:
        try:
            _requests(port, host, _shared(numbers, lock), trust, outcome, lock)
        except BaseException as error:  # raised below, where somebody sees it
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    outcome.seconds = time.monotonic() - started
    return outcome


def _shared(numbers: Iterator[int], lock: threading.Lock) -> Iterator[int]:
    while True:
        with lock:
            number = next(numbers, None)
        if number is None:
            return
        yield number


def _requests(
    port: int,
    host: str,
    numbers: Iterator[int],
    trust: ssl.SSLContext | None,
    outcome: Outcome,
    lock: threading.Lock,
) -> None:
    connection = _Connection(port, host, trust)
    for number in numbers:
        answer = _ask(connection, number, host)
        answer.read()
        with lock:
            outcome.statuses[answer.status] += 1
            outcome.by_service += "X-Request-ID" in answer.headers
    connection.close()
    with lock:
        outcome.connections += connection.made


class _Connection(http.client.HTTPConnection):
    """Opened anew by http.client itself where the server has closed it."""

    def __init__(self, port: int, host: str, trust: ssl.SSLContext | None) -> None:
        super().__init__(LOOPBACK, port, timeout=30)
        self.made = 0
        self._name, self._trust = host, trust

    def connect(self) -> None:
        self.made += 1
        super().connect()
        if self._trust:
            self.sock = self._trust.wrap_socket(self.sock, server_hostname=self._name)


def _ask(connection: _Connection, number: int, host: str) -> http.client.HTTPResponse:
    path, method, name = spelled(number, host)
    for attempt in (1, 2):
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", name)
            connection.putheader("User-Agent", f"stranger-{number}")
            connection.putheader("X-Request-ID", f"stranger-{number}")
            connection.putheader("Referer", f"https://example.com/{number}")
            if number % TOKENS == 0:
                connection.putheader("Authorization", f"Bearer stranger-{number}")
            connection.endheaders()
            return connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            connection.close()  # it was closed while we wrote, as servers may
            if attempt == 2:
                raise
    raise AssertionError


def spelled(number: int, host: str) -> tuple[str, str, str]:
    """Path, method and host of a request."""
    rest, path = divmod(number, len(PATHS))
    rest, method = divmod(rest, len(METHODS))
    name = rest % len(HOSTS)
    port = 1024 + number
    unlike = FIRST + number
    return (
        PATHS[path].format(unlike),
        METHODS[method].format(unlike),
        HOSTS[name].format(unlike, host, port),
    )
