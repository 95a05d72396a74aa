"""On one port, by `fastapi run --workers 2`."""

import os

from fastapi import FastAPI
from prometheus_fastapi_instrumentator import Instrumentator, metrics  # for the chart

app = FastAPI()
Instrumentator().add(metrics.latency()).instrument(app).expose(app)  # for the chart


@app.get("/")
async def root() -> dict[str, str]:
    return {"version": os.environ["VERSION"]}


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/fail")
async def fail() -> float:
    return 1 / 0
