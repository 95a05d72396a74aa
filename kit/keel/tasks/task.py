"""What a domain says of its background work: tasks, and schedules of tasks."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import BaseModel

MAX_NAME_CHARACTERS = 100
MAX_RETRY_SECONDS = 3600.0

Payload = TypeVar("Payload", bound=BaseModel)


class Empty(BaseModel):
    """The payload of a task that needs none."""


@dataclass(frozen=True, kw_only=True)
class Task(Generic[Payload]):
    """A kind of background work. Keep its name: tasks that are waiting are found by it."""

    name: str
    """Unique in the service, such as send-invoice."""
    payload: type[Payload]
    """What a task carries. A field that is added needs a default, because tasks of before are waiting without it."""
    attempts: int = 5
    """How often it is tried before it counts as failed for good."""
    timeout_seconds: float = 300
    """Longest time of one attempt."""
    first_retry_seconds: float = 5
    """Wait after the first failed attempt. It doubles with each one, up to an hour."""

    def __post_init__(self) -> None:
        if not 0 < len(self.name) <= MAX_NAME_CHARACTERS:
            raise ValueError(f"The name of a task has 1 to {MAX_NAME_CHARACTERS} characters: {self.name!r}.")
        if self.attempts < 1:
            raise ValueError(f"The task {self.name} needs at least one attempt.")

    def retry_seconds(self, attempt: int) -> float:
        """The wait after failed attempt number `attempt`, which counts from 1."""
        doublings = min(attempt - 1, 32)  # a float has no end, but a sentence about overflow helps nobody
        return min(self.first_retry_seconds * 2.0**doublings, MAX_RETRY_SECONDS)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Puts a task at the times of a cron expression: once for each time, however many processes there are.

    Times that pass while no process runs are made up for by one run.
    """

    task: Task[Any]
    """Its payload must need no fields."""
    cron: str
    """Five fields as in crontab(5): minute, hour, day of the month, month, day of the week."""
    zone: str = "UTC"
    """The time zone, such as Europe/Berlin. A time that daylight saving leaves out or repeats happens once."""

    def mistake(self) -> str | None:
        """A sentence that says why it could never run; None if it can. A service with such a one does not start."""
        where = f"The schedule of the task {self.task.name}"
        try:
            self.task.payload()
        except ValueError:
            return f"{where}: its payload needs fields, and a schedule has none to give."
        try:
            zone = ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError):
            return f"{where}: there is no time zone {self.zone}."
        try:
            times: Iterator[datetime] = CronSim(self.cron, datetime.now(zone))
        except CronSimError as error:
            return f"{where}: {self.cron!r} is no cron expression: {error}."
        return None if next(times, None) else f"{where}: {self.cron!r} never comes."

    def after(self, seconds: float) -> float:
        """The first time after `seconds`; both in seconds since 1970."""
        before = datetime.fromtimestamp(seconds, UTC).astimezone(ZoneInfo(self.zone))
        return next(CronSim(self.cron, before)).timestamp()
