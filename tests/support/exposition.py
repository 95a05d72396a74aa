"""What /metrics says, as values to compare."""

import re

import httpx

COUNT = "http_request_duration_seconds_count"


async def series(management: httpx.AsyncClient, name: str) -> dict[tuple[str, ...], float]:
    """Values of a metric by its labels' values, in the order of their names; without errors that have not been."""
    found = {}
    for line in (await management.get("/metrics")).text.splitlines():
        if match := re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', match[1] or ""))
            key = tuple(labels[key] for key in sorted(labels))
            if key[-1:] not in (("500",), ("503",)) or float(match[2]):
                found[key] = float(match[2])
    return found
