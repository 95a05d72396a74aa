"""How much of a CPU a busy process in the foreground gets beside a busy background.

Both are held on one CPU. What counts is their CPU time, not the clock, so that other load hardly matters.
`python -m tests.tools.toolkit.cpu_share` prints it.
"""

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from toolkit import background

Start = Callable[[Sequence[str]], "subprocess.Popen[bytes]"]
BUSY = "while :; do :; done"
# As `go build` does: what burns the CPU are children.
SEVERAL_BUSY = ["sh", "-c", f"for _ in 1 2 3 4; do sh -c '{BUSY}' & done; wait"]


def nice_alone(argv: Sequence[str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["nice", "--adjustment=19", *argv], start_new_session=True)


def in_the_background(argv: Sequence[str]) -> "subprocess.Popen[bytes]":
    return background.start(argv)


@contextmanager
def on_one_cpu() -> Iterator[None]:
    """What is started in the block stays on one CPU."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def members(session: int) -> list[Path]:
    """The folders in /proc of a session's processes."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            if int(file.read_text().rpartition(")")[2].split()[3]) == session:
                found.append(file.parent)
    return found


def cpu_seconds(session: int) -> float:
    """What the processes of a session have used until now (the kernel's documentation: sched-stats)."""
    return sum(int((p / "schedstat").read_text().split()[0]) for p in members(session)) / 1e9


def foreground_share(start: Start, seconds: float) -> float:
    """The foreground's part of the CPU time that it and a background started by `start` get together."""
    with on_one_cpu():
        behind = start(SEVERAL_BUSY)
        while len(members(behind.pid)) < 5:  # the command's shell and its four
            time.sleep(0.01)
        before = subprocess.Popen(["sh", "-c", BUSY], start_new_session=True)
    try:
        begun = [cpu_seconds(p.pid) for p in (before, behind)]
        time.sleep(seconds)
        first, second = (cpu_seconds(p.pid) - b for p, b in zip((before, behind), begun, strict=True))
    finally:
        for process in (before, behind):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return first / (first + second)


if __name__ == "__main__":
    for what, way in (("nice 19 in a session of its own", nice_alone), ("toolkit.background", in_the_background)):
        shares = [foreground_share(way, 2) for _ in range(3)]
        each = ", ".join(f"{s:.1%}" for s in shares)
        sys.stdout.write(f"{what}: the foreground gets {statistics.median(shares):.1%} (of {each})\n")
