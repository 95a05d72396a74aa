"""Numbers as Grafana writes them, in the units that our panels have.

https://github.com/grafana/grafana/tree/main/packages/grafana-data/src/valueFormats
"""

import math

PER_SECOND = {"reqps": " req/s", "ops": " ops/s", "cpm": " cpm"}
# The least number of seconds that is told in a unit, how many it has, and what it is called for one and for several.
TIMES = [
    (31_536_000, "year"),
    (604_800, "week"),
    (86_400, "day"),
    (3_600, "hour"),
    (60, "min"),
]
UNITS = {"percentunit", "s", "bytes", "none", "short", *PER_SECOND}


def show(value: float, unit: str, decimals: int | None = None) -> str:
    """Of a value; with three digits that count unless `decimals` are given. Raises ValueError for an unknown unit."""
    number, suffix = scaled(value, unit)
    text = f"{number:.{_decimals(number) if decimals is None else decimals}f}"
    return (text.lstrip("-") if float(text) == 0 else text) + suffix


def tick(value: float, unit: str) -> str:
    """Of a round number, beside an axis: without digits that say nothing."""
    number, suffix = scaled(value, unit)
    return f"{number:.6g}{suffix}"


def ago(seconds: float) -> str:
    """How long ago something was, in words."""
    for size, name in (*TIMES[2:], (1, "second")):
        if seconds >= size:
            count = round(seconds / size)
            return f"{count} {'minute' if name == 'min' else name}{'' if count == 1 else 's'} ago"
    return "now"


def scaled(value: float, unit: str) -> tuple[float, str]:
    """The number to be shown, and what comes after it."""
    if unit == "percentunit":
        return value * 100, "%"
    if unit == "none":
        return value, ""
    if unit == "s":
        return _time(value)
    if unit == "bytes":
        power = _power(value, 1024, 5)
        return value / 1024**power, f" {['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'][power]}"
    if unit == "short":
        power = _power(value, 1000, 4)
        return value / 1000**power, ["", " K", " Mil", " Bil", " Tri"][power]
    if unit in PER_SECOND:
        power = _power(value, 1000, 4)
        return value / 1000**power, ["", "K", "M", "B", "T"][power] + PER_SECOND[unit]
    raise ValueError(f"unit {unit} is not known: add it to {__name__}")


def _time(seconds: float) -> tuple[float, str]:
    seconds = float(f"{seconds:.3g}")  # else 999.9 µs would be 1000 µs
    size = abs(seconds)
    for least, name in TIMES:
        if size >= least:
            number = seconds / least
            return number, f" {name}" if number == 1 else f" {name}s"
    for part, name in ((1, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if size >= part:
            return seconds / part, f" {name}"
    return (seconds, " s") if size == 0 else (seconds * 1e9, " ns")


def _power(value: float, base: int, most: int) -> int:
    power = 0
    while abs(value) >= base ** (power + 1) and power < most:
        power += 1
    return power


def _decimals(number: float) -> int:
    """As many as make three digits, none of a whole number."""
    if number == round(number):
        return 0
    return max(0, 2 - math.floor(math.log10(abs(number))))
