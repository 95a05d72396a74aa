"""A circuit breaker: calls to a server that does not answer fail at once for a while, instead of waiting each time."""

import time
from collections.abc import Callable


class CircuitBreaker:
    """Closed until `failed()`; then open until `succeeded()`, except for one trial call every `seconds`.

    If a trial call is cancelled, the next one is allowed `seconds` later.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self.open = False
        self._clock = clock
        self._next_trial = 0.0

    def allows(self) -> bool:
        """Whether to call now. While open, True makes the caller the trial; others wait until the next is due."""
        if not self.open:
            return True
        now = self._clock()
        if now < self._next_trial:
            return False
        self._next_trial = now + self.seconds
        return True

    def failed(self) -> None:
        """Open after a call that failed."""
        self.open = True
        self._next_trial = self._clock() + self.seconds

    def succeeded(self) -> None:
        """Close after a call that succeeded."""
        self.open = False
