"""How fast this machine is. Loads, and what is allowed to take so long, are written for two cores at their full speed.

A virtual machine may get half of its cores' speed, or less, while others use them: a hundred requests a second are
then as much as two hundred, and every rollout takes twice as long. What is sent and allowed goes by the speed, so that
a test measures the service and not the machine. At full speed, or above it, everything is as it is written.
"""

import time

# Of the processor, for `_work`, on the machine that docs/proof.md was measured on.
FULL_SPEED_SECONDS = 0.126
# A machine that was slow a moment ago may be so again in the middle of what is measured now.
REMEMBERED_SECONDS = 900
_seen: list[tuple[float, float]] = []


def slowness() -> float:
    """How many times as long as at full speed something takes; 1 at least. The worst that was seen lately."""
    now = time.monotonic()
    _seen.append((now, _work() / FULL_SPEED_SECONDS))
    return max([1.0, *(found for at, found in _seen if now - at <= REMEMBERED_SECONDS)])


def _work() -> float:
    """Seconds of the processor for always the same; those that others had it are not among them."""
    began = time.process_time()
    total = 0
    for number in range(1_500_000):
        total += number * number
    return time.process_time() - began
