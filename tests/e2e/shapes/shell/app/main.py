"""With a database, whose migrations its shell runs before each start."""

import os

from fastapi import FastAPI
from prometheus_fastapi_instrumentator import Instrumentator, metrics  # for the chart
from sqlalchemy import create_engine, text

engine = create_engine(os.environ["DATABASE_URL"], pool_pre_ping=True)
app = FastAPI()
Instrumentator().add(metrics.latency()).instrument(app).expose(app)  # for the chart


@app.get("/")
def root() -> dict[str, str | int]:
    with engine.connect() as connection:
        orders = connection.execute(text("SELECT count(*) FROM orders")).scalar_one()
    return {"version": os.environ["VERSION"], "orders": orders}


@app.get("/healthz")
def healthz() -> dict[str, str]:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    return {"database": "ok"}


@app.get("/fail")
def fail() -> float:
    return 1 / 0
