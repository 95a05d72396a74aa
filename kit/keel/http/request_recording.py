"""The middleware that records every request for the metrics and the access log."""

import asyncio

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from keel.observability import access_log
from keel.observability.metrics import RequestMetrics
from keel.observability.request_record import RequestRecord

log = structlog.get_logger("keel.http.request_recording")


class RequestRecordMiddleware:
    """Records a request, and at its end updates the metrics and writes its line to the access log.

    What a route does after its response, as background tasks do, is not part of the request. If it fails, that is
    logged here: to pass the error on would have the server close the connection, and with it the client's next request.
    """

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope.setdefault("state", {})
        record = RequestRecord(scope, receive, send, self._tell)
        self.metrics.in_flight += 1
        try:
            await self.app(scope, record.receive, record.send)
        except Exception:
            if not record.ended:
                raise
            log.exception("work after the response failed", route=record.route)
        except asyncio.CancelledError:
            if record.ended:
                log.error("work after the response was cut off", route=record.route)
            raise
        finally:
            record.end(failed=True)  # unless the response was whole

    def _tell(self, record: RequestRecord) -> None:
        self.metrics.in_flight -= 1
        self.metrics.observe(record)
        access_log.write(record)
