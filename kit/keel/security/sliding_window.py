"""Sliding window counters: how many requests a minute each client has made, here and in other processes."""

import time
from collections import OrderedDict
from collections.abc import Callable
from itertools import islice

WINDOW = 60  # seconds


class WindowCount:
    """Requests of one client in one window: `mine` were counted here, `others` in other processes.

    Of mine the others know `sent`. `before` is the client's counter of the window before.
    """

    __slots__ = ("before", "key", "mine", "others", "sent", "window")

    def __init__(self, key: str, window: int, before: "WindowCount | None" = None) -> None:
        self.key = key
        self.window = window
        self.before = before
        self.mine = self.others = self.sent = 0


class SlidingWindow:
    """Allows each key `limit` requests a minute; no limit if it is 0.

    Windows begin at whole minutes of the clock, the same in all processes. A part of the requests in
    the window before counts too: as much as of that window lies within the last minute. Requests
    refused do not count. The `max_keys` most recently seen are kept.
    """

    def __init__(self, limit: int, max_keys: int, clock: Callable[[], float] = time.time) -> None:
        self.limit = limit
        self.max_keys = max_keys
        self._clock = clock
        self._window = 0
        self._counters: OrderedDict[str, WindowCount] = OrderedDict()
        self._earlier: OrderedDict[str, WindowCount] = OrderedDict()
        self._unsent: dict[WindowCount, None] = {}

    def __len__(self) -> int:
        return len(self._counters) + len(self._earlier)

    def take(self, key: str) -> int:
        """Count a request and return 0; or, if it is one too many, whole seconds after which one is allowed."""
        if not self.limit:
            return 0
        age = self._age()
        counter = self._counters.get(key) or self._add(key)
        wait = self._wait(counter, age)
        if not wait:
            counter.mine += 1
            self._unsent[counter] = None
        self._counters.move_to_end(key)
        return wait

    def wait(self, key: str) -> int:
        """What `take` would return, without counting."""
        if not self.limit:
            return 0
        age = self._age()
        counter = self._counters.get(key) or WindowCount(key, self._window, self._earlier.get(key))
        return self._wait(counter, age)

    def take_unsent(self, count: int) -> list[WindowCount]:
        """At most `count` counters with requests that other processes do not know of; each is handed out once."""
        counters = list(islice(self._unsent, count))
        for counter in counters:
            del self._unsent[counter]
        return counters

    def put_back(self, counters: list[WindowCount]) -> None:
        """They could not be sent; their time will come again."""
        self._unsent.update(dict.fromkeys(counters))

    def _age(self) -> float:
        """How far the window has come, from 0 to 1."""
        window, seconds = divmod(self._clock(), WINDOW)
        if window != self._window:
            self._begin(int(window))
        return seconds / WINDOW

    def _begin(self, window: int) -> None:
        # A clock that was set forgets what it must: windows that are neither this one nor the last.
        self._earlier = self._counters if window == self._window + 1 else OrderedDict()
        self._counters = OrderedDict()
        self._window = window
        self._unsent = {counter: None for counter in self._unsent if counter.window == window - 1}

    def _add(self, key: str) -> WindowCount:
        before = self._earlier.get(key)
        if before is not None:
            before.before = None
        counter = self._counters[key] = WindowCount(key, self._window, before)
        if len(self._counters) > self.max_keys:
            _, dropped = self._counters.popitem(last=False)
            self._unsent.pop(dropped, None)
        return counter

    def _wait(self, counter: WindowCount, age: float) -> int:
        now, before = counter.mine + counter.others, counter.before
        then = before.mine + before.others if before is not None else 0
        if now + then * (1 - age) < self.limit:
            return 0
        if now < self.limit:  # as soon as enough of the window before has left
            return int((1 - (self.limit - now) / then - age) * WINDOW) + 1
        return int((1 - age + 1 - self.limit / now) * WINDOW) + 1
