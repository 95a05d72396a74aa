"""What is kept of one run of a scenario."""

from dataclasses import dataclass


@dataclass
class Fault:
    """As build/report/faults.json has it."""

    scenario: str
    run: int
    sent: int
    written: int  # and acknowledged
    failed: dict[str, int]  # by reason
    lost: int  # writes, acknowledged and not in the database
    p50: float  # seconds
    p99: float
    recovery_seconds: float  # from the end of what was done to the last request that failed
    began: float  # what was done, in seconds from the first request
    ended: float
    each_second: list[tuple[int, int]]  # requests, and how many of them failed
    passed: bool
