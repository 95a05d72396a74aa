"""What every candidate answers: the same two routes, with the same bytes in the body."""

import socket
import sys

import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.responses import RedirectResponse
from pydantic import BaseModel

TARGETS = {"bench": "https://example.com/page"}


class Identity(BaseModel):
    name: str = "shipshape"
    version: str
    instance: str


def add_routes(app: FastAPI) -> None:
    version = sys.argv[2]

    @app.get("/")
    async def identity() -> Identity:
        return Identity(version=version, instance=socket.gethostname())

    @app.get("/{slug}", status_code=307, response_class=RedirectResponse)
    async def follow(slug: str) -> RedirectResponse:
        target = TARGETS.get(slug)
        if target is None:
            raise HTTPException(404)
        return RedirectResponse(target)


def serve(app: FastAPI) -> None:
    """With the settings kit/keel/server.py gives uvicorn."""
    uvicorn.run(
        app,
        port=int(sys.argv[1]),
        http="httptools",
        loop="uvloop",
        ws="none",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=2048,
        timeout_keep_alive=100,
    )
