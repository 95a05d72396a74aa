"""Sliding windows: how many requests each client has sent in the last minute, here and to other processes."""

import time
from collections import OrderedDict
from collections.abc import Callable
from itertools import islice

WINDOW = 60  # seconds


class WindowCount:
    """The requests of one client in one window.

    `mine` were counted by this process, and `sent` of them are known to the other processes. `others` were counted by
    other processes. `before` is the same client's count in the window before.
    """

    __slots__ = ("before", "key", "mine", "others", "sent", "window")

    def __init__(self, key: str, window: int, before: "WindowCount | None" = None) -> None:
        self.key = key
        self.window = window
        self.before = before
        self.mine = self.others = self.sent = 0


class SlidingWindow:
    """Allows each key `limit` requests a minute; 0 means no limit.

    Windows begin at whole minutes of the clock, in all processes. The requests of the window before count in part: by
    the share of that window that lies within the last minute. Refused requests do not count. The `max_keys` most
    recently seen keys are kept.
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
        """Count a request and return 0; over the limit, return the seconds until the next request is allowed."""
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
        """What `take` would return, but without counting."""
        if not self.limit:
            return 0
        age = self._age()
        counter = self._counters.get(key) or WindowCount(key, self._window, self._earlier.get(key))
        return self._wait(counter, age)

    def take_unsent(self, count: int) -> list[WindowCount]:
        """At most `count` counters with requests that other processes do not know; each is returned once."""
        counters = list(islice(self._unsent, count))
        for counter in counters:
            del self._unsent[counter]
        return counters

    def put_back(self, counters: list[WindowCount]) -> None:
        """Return counters that could not be sent: `take_unsent` returns them again."""
        self._unsent.update(dict.fromkeys(counters))

    def _age(self) -> float:
        """The elapsed share of the current window, from 0 to 1."""
        window, seconds = divmod(self._clock(), WINDOW)
        if window != self._window:
            self._begin(int(window))
        return seconds / WINDOW

    def _begin(self, window: int) -> None:
        # If the clock was set, the counts of windows that are neither this one nor the last are dropped.
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
        """Seconds until the next request is allowed; 0 if it is now."""
        now, before = counter.mine + counter.others, counter.before
        then = before.mine + before.others if before is not None else 0
        if now + then * (1 - age) < self.limit:
            return 0
        if now < self.limit:  # when enough of the window before has passed
            return int((1 - (self.limit - now) / then - age) * WINDOW) + 1
        return int((1 - age + 1 - self.limit / now) * WINDOW) + 1
