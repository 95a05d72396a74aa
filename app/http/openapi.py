"""The OpenAPI document: what FastAPI makes of the routes, and what every route has in common."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI

from app.errors.problems import MEDIA_TYPE, ProblemDetails, title

DESCRIPTION = """\
Errors are problem details (RFC 9457, `application/problem+json`). Every answer names its request in
`X-Request-ID`: quote it in a report, or send one of your own. Where an access token is needed, its
`scope` claim must hold the scope named.
"""
SCHEMA = {"$ref": "#/components/schemas/ProblemDetails"}
RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}

# A detail for each status, as an example.
DETAILS = {
    400: "The body is not JSON: see character 7.",
    401: "Send an access token: Authorization: Bearer <token>.",
    403: "The token lacks a scope: this needs links:write.",
    404: "There is no such link.",
    408: "The body did not arrive within 30 seconds.",
    409: "The slug spring-sale is taken. Choose another one.",
    410: "This link has expired.",
    412: "The link is not as your precondition says. Read it again, and decide anew.",
    413: "The body exceeds 65536 bytes.",
    414: "The request target exceeds 8192 bytes.",
    415: "Send the body as JSON, with the header Content-Type: application/json.",
    421: "This service does not answer to that host name.",
    422: "The request is not valid: see errors.",
    429: "Too many requests. Try again in 7 seconds.",
    431: "The request line and headers are too large together.",
    500: "Something went wrong on our side. Quote the request id if you report it.",
    501: "A body may come in chunks, and in no other transfer coding.",
    503: "The database cannot be reached. Try again soon.",
    505: "The request is not of HTTP/1.1 or HTTP/1.0.",
}
# What any request may be answered, and one that has a body.
COMMON = (400, 408, 413, 414, 421, 429, 431, 500, 501, 503, 505)
WITH_BODY = (415, 422)


def install(app: FastAPI, public_url: str, tags: Sequence[dict[str, Any]] = ()) -> None:
    """Complete the document of `app`, which is made when it is first asked for."""
    app.description = DESCRIPTION
    app.servers = [{"url": public_url}]
    app.openapi_tags = list(tags)
    generate = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            complete(generate())
        return generate()

    app.openapi = document  # type: ignore[method-assign]


def complete(document: dict[str, Any]) -> None:
    """Give every error its media type, shape and example, and every operation the errors that all have."""
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    for operation in operations:
        responses: dict[str, Any] = operation["responses"]
        for status, response in responses.items():
            if status >= "400":
                response["description"] = title(int(status))  # FastAPI calls its own 422s otherwise
                response["content"] = _content(int(status))
        for status in (*COMMON, *(WITH_BODY if "requestBody" in operation else ())):
            responses.setdefault(str(status), {"$ref": f"#/components/responses/{status}"})
        operation["responses"] = dict(sorted(responses.items()))
    components = document.setdefault("components", {"schemas": {}})
    components["responses"] = {str(status): _response(status) for status in sorted((*COMMON, *WITH_BODY))}
    shape = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
    components["schemas"] |= shape.pop("$defs") | {"ProblemDetails": shape}
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)


def _response(status: int) -> dict[str, Any]:
    headers = {"headers": RETRY_AFTER} if status in (429, 503) else {}
    return {"description": title(status), "content": _content(status), **headers}


def _content(status: int) -> dict[str, Any]:
    example: dict[str, Any] = {
        "type": "about:blank",
        "title": title(status),
        "status": status,
        "detail": DETAILS.get(status, title(status)),
        "request_id": "0af7651916cd43dd8448eb211c80319c",
    }
    if status == 422:
        example["errors"] = [{"detail": "Field required", "pointer": "#/url"}]
    return {MEDIA_TYPE: {"schema": SCHEMA, "example": example}}
