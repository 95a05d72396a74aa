"""A feed: events that one process publishes and the subscribers of all processes hear, in one order.

With Valkey a feed is a stream there (https://valkey.io/topics/streams-intro/): its ids order the events for all
processes, and it keeps the last ones, so that a client that comes back to another pod with the id of the last event it
has seen goes on after that. Each process reads the stream once, however many subscribers it has. Without Valkey a feed
is this process's own.

While Valkey is away, subscribers wait, and go on where they were when it is back. What is published then is tried again
for as long as the publisher says, and after that it is lost, and counted: a feed tells of what has happened, and is not
where it is stored.
"""

import asyncio
import contextlib
import re
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, NamedTuple, Protocol

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from keel.data.valkey import Valkey, ValkeyUnavailableError

log = structlog.get_logger("keel.data.feed")

ID = re.compile(r"([0-9]{1,19})-([0-9]{1,19})")
MISSED = "missed"
MARK = "\n"  # no event's type
BLOCK_SECONDS = 2  # how long Valkey holds a read while nothing happens
LATE_SECONDS = 1  # how late it may say that nothing has happened: it looks ten times a second, and may be busy
AGAIN_SECONDS = 0.5  # pause before a read after one that has failed
REMEMBERED_SECONDS = 60  # an event that was added, for another attempt
AT_ONCE = 20  # subscribers that are woken before the event loop turns to others
OUTCOMES = ("published", "lost")
# Adds an event once, however often it is tried: the second key keeps what became of it.
ADD = """
local id = redis.call('GET', KEYS[2])
if not id then
  id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', unpack(ARGV, 3))
  redis.call('SET', KEYS[2], id, 'EX', ARGV[2])
end
return id
"""

Position = tuple[int, int]


class Entry(NamedTuple):
    """An event of a feed."""

    id: str
    """Of Valkey's form, as 1526919030474-55; empty if it was not published."""
    data: str
    event: str | None = None
    """Its type. `MISSED` says that events after the one that the subscriber named are not kept any more: it reads
    again whatever they changed."""


class FeedMetrics:
    """The metrics of all feeds of a process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        events = "Events given to feeds, by outcome: lost is what was published while Valkey was away."
        self.events = Counter("feed_events", events, ["feed", "outcome"], registry=registry)
        subscribers = "Subscribers of feeds in this process."
        self.subscribers = Gauge("feed_subscribers", subscribers, ["feed"], registry=registry)
        dropped = "Subscribers that were dropped because they did not keep up."
        self.dropped = Counter("feed_subscribers_dropped", dropped, ["feed"], registry=registry)
        reading = "1 while the feed's events arrive; 0 while Valkey is away."
        self.reading = Gauge("feed_reading", reading, ["feed"], registry=registry)


class Subscription:
    """Iterate over it for the events. The iteration ends if the subscriber does not keep up: subscribe again then."""

    def __init__(self, feed: "Feed", size: int) -> None:
        self.dropped = False
        """Whether it did not keep up."""
        self._feed = feed
        self._size = size
        self._waiting: deque[Entry] = deque()
        self._wakened = asyncio.Event()

    def put(self, entry: Entry) -> bool:
        """Add an event; returns whether there was room for it."""
        self.dropped = len(self._waiting) >= self._size
        if not self.dropped:
            self._waiting.append(entry)
        self._wakened.set()
        return not self.dropped

    async def events(self, after: Position | None) -> AsyncGenerator[Entry]:
        """The events after a position, or from now on."""
        last = after or (0, 0)
        if after is not None:
            kept = await self._feed.kept(after)
            if not kept or position(kept[0].id) != after:
                yield Entry("", "", MISSED)
            for entry in kept:
                if position(entry.id) > last and entry.event != MARK:
                    last = position(entry.id)
                    yield entry
        while True:
            while self._waiting:
                entry = self._waiting.popleft()
                if position(entry.id) > last:
                    last = position(entry.id)
                    yield entry
            if self.dropped:
                return
            self._wakened.clear()
            await self._wakened.wait()


class Store(Protocol):
    """Where the events of a feed are.

    It begins with a mark, which nobody is told of: so that there is an id to come back with before the first event.
    """

    @property
    def position(self) -> str | None:
        """The id of the last entry that this process has read; None if it has not read yet."""

    async def add(self, data: str, event: str | None, attempt: str) -> Entry:
        """Add an event; once, where several calls have the same `attempt`."""

    async def since(self, first: Position) -> Sequence[Entry]:
        """The events that are kept from a position on, with the one at it."""


class Feed:
    """One feed of the service.

    `kept` is about how many of its last events are kept, and `waiting` how many one subscriber may have waiting.
    """

    def __init__(
        self, key: str, valkey: Valkey | None, metrics: FeedMetrics, *, name: str, kept: int = 1000, waiting: int = 100
    ) -> None:
        self.name = name
        self._shared = ValkeyStore(valkey, key, kept) if valkey else None
        self._store: Store = self._shared or LocalStore(kept)
        self._waiting = waiting
        self._subscriptions: set[Subscription] = set()
        self._events = {outcome: metrics.events.labels(name, outcome) for outcome in OUTCOMES}
        self._dropped = metrics.dropped.labels(name)
        self._reading = metrics.reading.labels(name)
        self._reading.set(self._shared is None)
        self._answers = asyncio.Event()
        self._telling = asyncio.Lock()  # events stay in their order
        metrics.subscribers.labels(name).set_function(lambda: len(self._subscriptions))

    @property
    def position(self) -> str | None:
        """The id that who subscribes now can come back with before the first event; None while it is unknown."""
        return self._store.position

    async def publish(self, data: str, event: str | None = None, *, seconds: float = 0) -> bool:
        """Tell all subscribers of an event, once; returns whether that was possible.

        Args:
            data: the text of the event, such as JSON.
            event: its type, if there are several.
            seconds: for how long to try again while Valkey does not answer. Who answers a request has no such time.
        """
        attempt, until = secrets.token_hex(8), time.monotonic() + seconds
        while True:
            try:
                entry = await self._store.add(data, event, attempt)
            except ValkeyUnavailableError:
                if time.monotonic() >= until:
                    self._events["lost"].inc()
                    return False
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                break
        self._events["published"].inc()
        if self._shared is None:
            await self._tell(entry)
        return True

    @contextlib.asynccontextmanager
    async def subscribe(self, after: str | None = None) -> AsyncIterator[AsyncIterator[Entry]]:
        """The events while inside: after the one with the id `after`, or from now on.

        From now on may begin with events of a moment ago, which this process has not read before. An id that is none
        of a feed's counts as one that is not kept any more.
        """
        subscription = Subscription(self, self._waiting)
        self._subscriptions.add(subscription)
        try:
            async with contextlib.aclosing(subscription.events(None if after is None else position(after))) as events:
                yield events
        finally:
            self._subscriptions.discard(subscription)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Read the events of other processes while inside. A domain enters this in its `working`."""
        if self._shared is None:
            yield
            return
        with contextlib.suppress(ValkeyUnavailableError):  # it is tried again below
            await self._shared.find_end()
        reader = asyncio.create_task(self._read(self._shared))
        try:
            yield
        finally:
            reader.cancel()
            await asyncio.wait([reader])

    async def kept(self, first: Position) -> Sequence[Entry]:
        """The events that are kept from a position on. While Valkey is away, it waits."""
        while True:
            with contextlib.suppress(ValkeyUnavailableError):
                return await self._store.since(first)
            self._answers.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._answers.wait(), AGAIN_SECONDS)

    async def _read(self, store: "ValkeyStore") -> None:
        reads = True
        while True:
            try:
                entries = await store.next()
            except ValkeyUnavailableError as error:
                if reads:
                    log.warning("feed waits for valkey", feed=self.name, cause=str(error))
                reads = False
                self._reading.set(0)
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            if not reads:
                log.info("feed goes on", feed=self.name)
            reads = True
            self._reading.set(1)
            self._answers.set()
            for entry in entries:
                if entry.event != MARK:
                    await self._tell(entry)

    async def _tell(self, entry: Entry) -> None:
        """Wake the subscribers, some at a time: requests beside them, and answers of Valkey, need not wait for all."""
        async with self._telling:
            for number, subscription in enumerate(list(self._subscriptions), 1):
                if subscription in self._subscriptions and not subscription.put(entry):
                    self._subscriptions.discard(subscription)
                    self._dropped.inc()
                if number % AT_ONCE == 0:
                    await asyncio.sleep(0)


class LocalStore:
    """The last events in this process's memory."""

    def __init__(self, kept: int) -> None:
        self._last: Position = (_now(), 0)
        self._entries = deque([Entry(self.position, "", MARK)], maxlen=kept)

    @property
    def position(self) -> str:
        return "{}-{}".format(*self._last)

    async def add(self, data: str, event: str | None, attempt: str) -> Entry:  # noqa: ARG002  # the first one succeeds
        now = _now()
        milliseconds, number = self._last
        self._last = (now, 0) if now > milliseconds else (milliseconds, number + 1)
        entry = Entry(self.position, data, event)
        self._entries.append(entry)
        return entry

    async def since(self, first: Position) -> Sequence[Entry]:
        return [entry for entry in self._entries if position(entry.id) >= first]


class ValkeyStore:
    """A stream in Valkey, and how far this process has read it."""

    def __init__(self, valkey: Valkey, key: str, kept: int) -> None:
        self._valkey = valkey
        self._key = key
        self._kept = kept
        self._read_to: str | None = None

    @property
    def position(self) -> str | None:
        return self._read_to

    async def add(self, data: str, event: str | None, attempt: str) -> Entry:
        fields = ("data", data) if event is None else ("data", data, "event", event)
        # With the other key as its hash tag a cluster keeps it at the same place.
        keys = (self._key, f"{{{self._key}}}:{attempt}")
        command = ("EVAL", ADD, len(keys), *keys, str(self._kept), str(REMEMBERED_SECONDS), *fields)
        found = await self._valkey.call(
            "feed_add",
            lambda client: client.execute_command(*command),  # type: ignore[no-untyped-call]
            even_if_away=True,  # an event that is not told now may be lost
        )
        return Entry(found.decode(), data, event)

    async def since(self, first: Position) -> Sequence[Entry]:
        begin = "{}-{}".format(*first)
        return _entries(await self._valkey.call("feed_since", lambda client: client.xrange(self._key, begin)))

    async def find_end(self) -> None:
        """Begin to read after the last event that there is."""
        found = _entries(await self._valkey.call("feed_end", lambda client: client.xrevrange(self._key, count=1)))
        self._read_to = found[0].id if found else await self._mark()

    async def _mark(self) -> str:
        found = await self._valkey.call("feed_mark", lambda client: client.xadd(self._key, {"mark": ""}))
        return str(found.decode())

    async def next(self) -> Sequence[Entry]:
        """The events that have come since the last call, as soon as there is one; none after BLOCK_SECONDS."""
        if self._read_to is None:
            await self.find_end()
        streams: Any = {self._key: self._read_to}
        found = await self._valkey.call(
            "feed_read",
            lambda client: client.xread(streams, block=BLOCK_SECONDS * 1000),
            held_seconds=BLOCK_SECONDS + LATE_SECONDS,
        )
        entries = _entries(found[0][1]) if found else []
        if entries:
            self._read_to = entries[-1].id
        return entries


def position(id_: str) -> Position:
    """An id as what can be compared; before all others if it is not one of a feed."""
    match = ID.fullmatch(id_)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _now() -> int:
    """In milliseconds."""
    return time.time_ns() // 1_000_000


def _entries(found: Any) -> list[Entry]:
    return [
        _entry(id_.decode(), fields) for id_, fields in found if fields and (b"data" in fields or b"mark" in fields)
    ]


def _entry(id_: str, fields: dict[bytes, bytes]) -> Entry:
    if b"mark" in fields:
        return Entry(id_, "", MARK)
    event = fields.get(b"event")
    return Entry(id_, fields[b"data"].decode(), event.decode() if event else None)
