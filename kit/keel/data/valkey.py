"""Valkey, which all processes share, behind a short time-out. While it does not answer, nobody but a task asks it.

Everything in it may be lost at any time. Callers must work without it.
"""

import asyncio
import contextlib
import contextvars
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

import structlog
from opentelemetry.trace import INVALID_SPAN, SpanKind, StatusCode, get_tracer
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from pydantic import SecretStr

from keel.patience import Patience
from keel.settings import Settings

if TYPE_CHECKING:
    from keel.data.valkey_client import Valkey as Client

log = structlog.get_logger("keel.data.valkey")

T = TypeVar("T")

# After a failover, connections lead to the former primary. They are dropped; the next ones resolve the name again.
REPLICA = "it is read-only: is it a former primary?"
# A server that answers but cannot serve the kit gets only the check, until that finds another kind of server.
SENTINEL = "it is a Sentinel, which stores no data: set APP_VALKEY_URL to the primary. See docs/caches.md"
SHARDS = "its cluster has several shards: set APP_VALKEY_URL to a server that has all keys. See docs/caches.md"
REDIRECTIONS = ("MOVED ", "ASK ")  # from one node of a cluster to another
CHECK = "check"
QUIET_SECONDS = 60.0  # after the log has told of a refusal, of the same one
BREAK_SECONDS = 1.0  # between two attempts to reach a server that does not answer
SECONDS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)


class ValkeyUnavailableError(Exception):
    """Valkey did not answer in time, refused, or was not called because it did not answer a moment ago."""


def from_settings(settings: Settings, registry: CollectorRegistry) -> "Valkey | None":
    """The server at APP_VALKEY_URL; None if that is not set."""
    return Valkey(settings.valkey_url, settings, registry) if settings.valkey_url else None


class Valkey:
    """The server at `url`, or at what the secret file of APP_VALKEY_URL says when a connection is made."""

    def __init__(self, url: SecretStr, settings: Settings, registry: CollectorRegistry) -> None:
        from keel.data import valkey_client  # noqa: PLC0415  # see there

        self._errors = valkey_client
        self._client = valkey_client.create_client(
            url.get_secret_value(), settings.secret_file("valkey_url"), settings.valkey_timeout_seconds
        )
        self._seconds = settings.valkey_timeout_seconds
        self._absent = ""  # why it is not called
        self._trials: asyncio.Task[None] | None = None
        self._refusals: dict[str, float] = {}
        """When each cause was last logged."""
        self._unfit = ""  # SENTINEL or SHARDS, if it is that
        self._tracer = get_tracer("keel.data.valkey")
        self._calls = Counter("valkey_calls", "Calls by outcome.", ["operation", "outcome"], registry=registry)
        self._duration = Histogram(
            "valkey_call_duration_seconds",
            "Duration of calls, whatever their outcome.",
            ["operation"],
            buckets=SECONDS,
            registry=registry,
        )
        Gauge(
            "valkey_breaker_open",
            "1 while Valkey is not called, because it does not answer or cannot be used.",
            registry=registry,
        ).set_function(lambda: self.is_away)

    @property
    def is_away(self) -> bool:
        """It is not called, because it did not answer a moment ago, or cannot be used."""
        return bool(self._absent or self._unfit)

    async def call(
        self,
        name: str,
        operation: "Callable[[Client], Awaitable[T]]",
        even_if_away: bool = False,
        held_seconds: float = 0,
    ) -> T:
        """Run `operation`, as in `call("cache_get", lambda client: client.get(key))`; returns its result.

        `name` is what metrics and traces call the operation; use few names. `even_if_away` calls the server even
        while it does not answer: for what matters more than the wait for a time-out. `held_seconds` is how
        long the server may hold a command that waits for something to happen. That wait says nothing of the server,
        so it has no span, and is not in the histogram.

        Raises:
            ValkeyUnavailableError: after APP_VALKEY_TIMEOUT_SECONDS and `held_seconds`, or later where this process was
                too busy to read an answer. Valkey may have executed the command all the same, or may still do so.
        """
        if self._unfit and name != CHECK:
            self._calls.labels(name, "skipped").inc()
            raise ValkeyUnavailableError(self._unfit)
        if self._absent and not even_if_away:
            self._calls.labels(name, "skipped").inc()
            raise ValkeyUnavailableError("it did not answer a moment ago")
        about = {"db.system.name": "valkey", "db.operation.name": name}
        span = INVALID_SPAN if held_seconds else self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=about)
        started = perf_counter()
        outcome = "aborted"
        try:
            async with Patience(self._seconds + held_seconds):
                if self._absent:  # the idle connections are probably dead too
                    await self._drop_idle_connections()
                answer = await operation(self._client)
            outcome = "ok"
        except (TimeoutError, self._errors.TimeoutError) as error:
            outcome = "timeout"
            raise self._failed(f"no answer within {self._seconds + held_seconds:g} s") from error
        except self._errors.ReadOnlyError as error:
            outcome = "read_only"
            raise self._failed(REPLICA) from error
        except self._errors.ResponseError as error:
            if str(error).startswith(REDIRECTIONS):  # as from a former primary of a cluster
                outcome = "moved"
                raise self._failed(SHARDS) from error
            outcome = "refused"
            raise self._refused(str(error)) from error
        except (OSError, self._errors.ValkeyError) as error:
            outcome = "unreachable"
            raise self._failed(str(error)) from error
        finally:
            self._calls.labels(name, outcome).inc()
            if not held_seconds:
                self._duration.labels(name).observe(perf_counter() - started)
            if outcome != "ok":
                span.set_attribute("error.type", outcome)
                span.set_status(StatusCode.ERROR)
            span.end()
        if name != CHECK:  # of which the answer is judged first
            self._answered()
        return answer

    async def check(self) -> None:
        """Check that Valkey answers, takes writes and has all keys.

        Raises:
            ValkeyUnavailableError: it does not. The message says why.
        """
        role, shards = await self.call(CHECK, _describe, even_if_away=True)
        self._unfit = SENTINEL if role == "sentinel" else SHARDS if shards > 1 else ""
        if self._unfit:
            await self._drop_idle_connections()  # the next check resolves the name again
            raise self._refused(self._unfit)
        if role == "slave":
            raise self._failed(REPLICA)
        self._answered()

    async def close(self) -> None:
        """Close all connections."""
        if self._trials:
            self._trials.cancel()
            await asyncio.wait([self._trials])
        with contextlib.suppress(OSError, self._errors.ValkeyError):
            await self._client.aclose()

    async def _drop_idle_connections(self) -> None:
        await self._client.connection_pool.disconnect(inuse_connections=False)

    def _answered(self) -> None:
        if self._absent:
            log.info("valkey answers again")
        self._absent = ""

    def _refused(self, cause: str) -> ValkeyUnavailableError:
        self._answered()
        # A server that is out of memory refuses every write, a script in other words: each is logged at times.
        now = perf_counter()
        if now - self._refusals.get(cause, -QUIET_SECONDS) >= QUIET_SECONDS:
            log.warning("valkey refuses", cause=cause)
            self._refusals = {each: at for each, at in self._refusals.items() if now - at < QUIET_SECONDS} | {
                cause: now
            }
        return ValkeyUnavailableError(cause)

    def _failed(self, cause: str) -> ValkeyUnavailableError:
        if not self._absent:
            log.warning("valkey does not answer: continuing without it", cause=cause)
        self._absent = cause
        if self._trials is None or self._trials.done():
            # In a context of its own: it is no part of the request that has noticed.
            self._trials = asyncio.create_task(self._recover(), context=contextvars.Context())
        return ValkeyUnavailableError(cause)

    async def _recover(self) -> None:
        """Ask until it answers. So no caller waits for a time-out to find out whether it does."""
        while self._absent:
            await asyncio.sleep(BREAK_SECONDS)
            with contextlib.suppress(ValkeyUnavailableError):
                await self.check()


async def _describe(client: "Client") -> tuple[str, int]:
    """The server's replication role, and the number of shards of its cluster.

    The role is "" if this user may not ask for it; the number is 0 likewise, or if there is no cluster.
    """
    pipeline = client.pipeline(transaction=False)
    pipeline.execute_command("ROLE")
    pipeline.execute_command("CLUSTER INFO")
    role, cluster = await pipeline.execute(raise_on_error=False)
    return (
        "" if isinstance(role, Exception) else role[0].decode(),
        0 if isinstance(cluster, Exception) else int(cluster["cluster_size"]),
    )
