"""A circuit breaker: what does not answer is left alone for a while instead of being waited for each time."""

import time
from collections.abc import Callable


class CircuitBreaker:
    """Closed until `failed()`; then open, but for one trial every `seconds`, until `succeeded()`.

    A trial that tells nothing, because whoever made it was cancelled, is followed by the next one.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self.open = False
        self._clock = clock
        self._next_trial = 0.0

    def allows(self) -> bool:
        """Whether to call now. While open, a yes is the trial: nobody else gets one before the next is due."""
        if not self.open:
            return True
        now = self._clock()
        if now < self._next_trial:
            return False
        self._next_trial = now + self.seconds
        return True

    def failed(self) -> None:
        self.open = True
        self._next_trial = self._clock() + self.seconds

    def succeeded(self) -> None:
        self.open = False
