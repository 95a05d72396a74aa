"""GET /: name, version and instance of the service, to watch a rollout."""

import socket
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, Field

from keel.http.plain_route import PlainRoute
from keel.product import Product

TAG = {"name": "identity", "description": "Which service, version and instance answers."}


class Identity(BaseModel):
    name: str
    version: str
    instance: str = Field(description="The host that answers: on Kubernetes, the pod.")


def install(app: FastAPI, product: Product) -> None:
    """Add the route. To the application itself, because a lookup in a router takes a tenth of a request's time."""
    body = Identity(name=product.name, version=product.version, instance=socket.gethostname()).model_dump_json()

    async def identity(_request: Request) -> Response:
        """Name and version of the service, and the host that answers: on Kubernetes, the pod."""
        return Response(body, media_type="application/json")

    def add(**options: Any) -> None:
        app.router.add_api_route("/", identity, response_model=Identity, route_class_override=PlainRoute, **options)

    # The first route serves both methods, so that Allow names both. The second is for the schema, where a route may
    # have only one.
    add(methods=["GET", "HEAD"], include_in_schema=False)
    add(methods=["GET"], operation_id="identity", summary="Who answers", tags=[TAG["name"]])
