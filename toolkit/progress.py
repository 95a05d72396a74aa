"""What is going on, for how long, and how long it should take: live on a terminal, plain lines elsewhere."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.text import Text

HEARTBEAT = 60.0  # seconds between signs of life of a long step where nothing can be redrawn
PACE_FROM = 0.1  # the share from which on the pace says when the rest will be done: what comes first is small


def spell(seconds: float) -> str:
    """A duration as people say it: 8 s, 2 min 5 s."""
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"


def roughly(seconds: float) -> str:
    """A duration that is a guess: to ten seconds, from a minute on to minutes."""
    return f"{max(10, round(seconds, -1)):.0f} s" if seconds < 55 else f"{max(1, round(seconds / 60))} min"


@dataclass
class Step:
    """One thing that takes a while; `detail` and `done` may be changed while it runs."""

    name: str
    expected: float | None = None
    started: float = field(default_factory=time.monotonic)
    detail: str = ""
    told: float = 0.0  # seconds after the start of the last sign of life
    done: int = 0
    total: int = 0  # what there is to count; 0: nothing is counted
    unit: str = ""
    counted_from: float = 0.0

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started

    def count(self, total: int, unit: str) -> None:
        """From now on show how many of `total` are done; the pace so far takes the place of `expected`."""
        self.done, self.total, self.unit, self.counted_from = 0, total, unit, time.monotonic()
        self.expected = None

    def line(self) -> str:
        share = f"{self.done:,} of {self.total:,} {self.unit}, " if self.total else ""
        detail = f" — {self.detail}" if self.detail else ""
        return f"{self.name}: {share}{spell(self.elapsed)}{self._expectation()}{detail}"

    def _expectation(self) -> str:
        if self.total:
            if self.done == self.total or self.done < self.total * PACE_FROM:
                return ""
            pace = (time.monotonic() - self.counted_from) / self.done
            return f", about {roughly(pace * (self.total - self.done))} left"
        if not self.expected:
            return ""
        if self.elapsed > self.expected:
            return f", longer than the usual {spell(self.expected)}"
        return f" of about {spell(self.expected)}"


class Progress:
    """Shows the steps that run now. Thread-safe; steps may run side by side. Use as a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self.finished: list[tuple[str, float]] = []
        self._running: list[Step] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._live = (
            Live(get_renderable=self._picture, console=self.console, refresh_per_second=4, transient=True)
            if self.console.is_terminal
            else None
        )
        self._heart = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> "Progress":
        if self._live:
            self._live.start()
        else:
            self._heart.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._live:
            self._live.stop()

    @contextmanager
    def step(self, name: str, expected: float | None = None) -> Iterator[Step]:
        """Show a step while its block runs, then its time. `expected` is in seconds."""
        step = Step(name, expected)
        with self._lock:
            self._running.append(step)
        if not self._live and expected and expected >= 20:
            self.say(f"  {escape(name)} (about {spell(expected)}) ...")
        failed = True
        try:
            yield step
            failed = False
        finally:
            with self._lock:
                self._running.remove(step)
                self.finished.append((name, round(step.elapsed, 1)))
            mark = "[red]✗[/]" if failed else "[green]✓[/]"
            detail = f" [dim]({escape(step.detail)})[/]" if step.detail else ""
            self.say(f"{mark} {escape(name)}{detail} [dim]{spell(step.elapsed)}[/]")

    def say(self, line: str) -> None:
        """A line that stays. May carry rich's markup."""
        self.console.print(line)

    def _picture(self) -> RenderableType:
        with self._lock:
            return Group(*(Text("… " + step.line(), style="cyan", no_wrap=True) for step in self._running))

    def _beat(self) -> None:
        while not self._stop.wait(1.0):
            with self._lock:
                due = [s for s in self._running if s.elapsed - s.told >= HEARTBEAT]
            for step in due:
                step.told = step.elapsed
                self.say(f"  … {escape(step.line())}")
