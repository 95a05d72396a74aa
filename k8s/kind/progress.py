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


def spell(seconds: float) -> str:
    """A duration as people say it: 8 s, 2 min 5 s."""
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"


@dataclass
class Step:
    """One thing that takes a while; `detail` may be changed while it runs."""

    name: str
    expected: float | None = None
    started: float = field(default_factory=time.monotonic)
    detail: str = ""
    told: float = 0.0  # seconds after the start of the last sign of life

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started

    def line(self) -> str:
        about = f" of about {spell(self.expected)}" if self.expected else ""
        detail = f" — {self.detail}" if self.detail else ""
        return f"{self.name}: {spell(self.elapsed)}{about}{detail}"


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
