"""A thing that was fetched in another version than the lock says."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """`origin` is the suite or the index; `locked` a version or a range of them."""

    name: str
    origin: str
    locked: str
    fetched: str
