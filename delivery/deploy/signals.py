"""SIGINT and SIGTERM: the first one turns a deploy back, and none stops it on its way back."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """The first signal, wherever the deploy was."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def heeded(say: Callable[[str], None]) -> Iterator[None]:
    """While the block runs the first signal raises Interrupted, and every further one only says that it was heard."""
    came = False

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal came
        if came:
            say(f"{signal.Signals(number).name} again: the way back is under way and goes to its end.")
            return
        came = True
        raise Interrupted(number)

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
