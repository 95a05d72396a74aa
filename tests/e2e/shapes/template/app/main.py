"""With one probe that is constant true, deep in the API."""

import os

from fastapi import APIRouter, FastAPI
from prometheus_fastapi_instrumentator import Instrumentator, metrics  # for the chart

utils = APIRouter(prefix="/utils", tags=["utils"])


@utils.get("/health-check/")
async def health_check() -> bool:
    return True


@utils.get("/fail")
def fail() -> float:
    return 1 / 0


app = FastAPI(openapi_url="/api/v1/openapi.json")
app.include_router(utils, prefix="/api/v1")
Instrumentator().add(metrics.latency()).instrument(app).expose(app)  # for the chart


@app.get("/")
def root() -> dict[str, str]:
    return {"version": os.environ["VERSION"]}
