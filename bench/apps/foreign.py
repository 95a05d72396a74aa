"""An application of somebody else's: FastAPI, served by whatever its command line says."""

import socket

from fastapi import FastAPI

from bench.apps.answers import Identity

app = FastAPI()


@app.get("/")
async def identity() -> Identity:
    return Identity(version="1", instance=socket.gethostname())
