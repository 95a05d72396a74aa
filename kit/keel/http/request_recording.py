"""The middleware that records every request for the metrics and the access log."""

import asyncio

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keel.http.streams import Stream, Streams, close_generators, comes_of_the_end
from keel.observability import access_log
from keel.observability.metrics import RequestMetrics
from keel.observability.request_record import RequestRecord

log = structlog.get_logger("keel.http.request_recording")


class RequestRecordMiddleware:
    """Records a request, and at its end updates the metrics and writes its line to the access log.

    What a route does after its response, as background tasks do, is not part of the request. If it fails, that is
    logged here: to pass the error on would have the server close the connection, and with it the client's next request.

    A stream is counted when it begins, and has its line when it ends.
    """

    def __init__(self, app: ASGIApp, metrics: RequestMetrics, streams: Streams | None = None) -> None:
        self.app = app
        self.metrics = metrics
        self.streams = streams
        self._begin_stream = self._begin if streams else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope.setdefault("state", {})
        record = RequestRecord(scope, receive, send, self._tell, self._begin_stream)
        self.metrics.in_flight += 1
        try:
            await self.app(scope, record.receive, record.send)
        except Exception as error:
            if record.stream is not None:
                if not comes_of_the_end(error):
                    raise
            elif record.ended:
                log.exception("work after the response failed", route=record.route)
            else:
                raise
        except asyncio.CancelledError:
            if record.ended and record.stream is None:
                log.error("work after the response was cut off", route=record.route)
            raise
        finally:
            record.end(failed=True)  # unless the response was whole
            if record.stream is not None:
                await close_generators(scope["state"])

    def _tell(self, record: RequestRecord) -> None:
        if record.first_byte is None:
            self._count(record)
        access_log.write(record)

    def _begin(self, record: RequestRecord, message: Message, send: Send) -> Stream:
        assert self.streams is not None  # noqa: S101 - for the type checker
        self._count(record)
        return self.streams.begin(record, message, send)

    def _count(self, record: RequestRecord) -> None:
        self.metrics.in_flight -= 1
        self.metrics.observe(record)
