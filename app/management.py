"""The management port: probes and metrics, never exposed to users."""

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.probes import OK, Health


def create_management(health: Health, registry: CollectorRegistry) -> Starlette:
    async def startupz(_request: Request) -> Response:
        return _report(health.startup())

    async def livez(_request: Request) -> Response:
        return _report({"event loop": OK})  # that it answers is the proof

    async def readyz(_request: Request) -> Response:
        return _report(health.readiness())

    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": content_type})

    return Starlette(
        routes=[
            Route("/startupz", startupz),
            Route("/livez", livez),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
        ]
    )


def _report(checks: dict[str, str]) -> Response:
    ok = all(result == OK for result in checks.values())
    return JSONResponse({"status": OK if ok else "unavailable", "checks": checks}, 200 if ok else 503)
