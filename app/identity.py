"""Who answers: name, version and instance, to watch a rollout with."""

import socket

from fastapi import APIRouter
from pydantic import BaseModel

from app import __version__

NAME = "shipshape"

router = APIRouter(tags=["identity"])


class Identity(BaseModel):
    name: str = NAME
    version: str = __version__
    instance: str


# The first route serves both methods, so that Allow names both; the second is for the schema, where
# one route may have but one.
@router.get("/")
@router.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
async def identity() -> Identity:
    """Name and version of the service, and the host (on Kubernetes: the pod) that answers."""
    return Identity(instance=socket.gethostname())
