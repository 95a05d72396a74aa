"""The middleware that records every request for the metrics and the access log."""

from starlette.types import ASGIApp, Receive, Scope, Send

from keel.observability import access_log
from keel.observability.metrics import RequestMetrics
from keel.observability.request_record import RequestRecord


class RequestRecordMiddleware:
    """Records a request, and at its end updates the metrics and writes its line to the access log."""

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
        finally:
            record.end(failed=True)  # unless the response was whole

    def _tell(self, record: RequestRecord) -> None:
        self.metrics.in_flight -= 1
        self.metrics.observe(record)
        access_log.write(record)
