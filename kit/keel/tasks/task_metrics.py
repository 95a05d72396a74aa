"""Metrics of the queue."""

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from keel.tasks.store import Count

SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600)
OUTCOMES = ("done", "retried", "failed", "put_back", "lost")
OTHER = "other"
"""The label of tasks whose names this version does not know."""


class TaskMetrics:
    """What this process has done, and how many tasks the database has."""

    def __init__(self, registry: CollectorRegistry, names: Iterable[str], at_once: int) -> None:
        self.running = Gauge("tasks_running", "Tasks that this process is running.", ["task"], registry=registry)
        limit = Gauge("tasks_running_limit", "Tasks that this process may run at a time.", registry=registry)
        limit.set(at_once)
        self.duration = Histogram(
            "task_duration_seconds", "Duration of attempts.", ["task"], buckets=SECONDS, registry=registry
        )
        self.outcomes = Counter(
            "task_attempts",
            "Attempts by outcome: done, retried, failed (for good), put_back (at the drain), lost (the lease).",
            ["task", "outcome"],
            registry=registry,
        )
        # All processes see the same table: use max(), not sum().
        self._waiting = Gauge(
            "tasks_waiting", "Tasks in the database that have not failed for good.", ["task"], registry=registry
        )
        self._failed = Gauge("tasks_failed", "Tasks that have failed for good.", ["task"], registry=registry)
        self._oldest = Gauge(
            "tasks_oldest_seconds", "For how long the oldest due task has waited.", ["task"], registry=registry
        )
        self._names = sorted(names)
        # Series that are there before the first attempt, as rate() needs two points.
        for name in self._names:
            self.running.labels(name)
            self.duration.labels(name)
            for outcome in OUTCOMES:
                self.outcomes.labels(name, outcome)
        self.stored({})

    def stored(self, counts: Mapping[str, Count]) -> None:
        """Take over what the database has."""
        for name in self._names:
            self._show(name, counts.get(name, Count(0, 0, 0)))
        others = [count for name, count in counts.items() if name not in self._names]
        oldest = max((count.oldest_seconds for count in others), default=0.0)
        self._show(OTHER, Count(sum(each.waiting for each in others), sum(each.failed for each in others), oldest))

    def _show(self, name: str, count: Count) -> None:
        self._waiting.labels(name).set(count.waiting)
        self._failed.labels(name).set(count.failed)
        self._oldest.labels(name).set(count.oldest_seconds)
