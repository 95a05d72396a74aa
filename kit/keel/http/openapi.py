"""The OpenAPI document: FastAPI's, completed with the errors that all routes share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI

from keel.errors.problems import MEDIA_TYPE, ProblemDetails, documented, title
from keel.http.limits import Limits

DESCRIPTION = """\
Errors are problem details (RFC 9457, `application/problem+json`). Every response has the request's id in
`X-Request-ID`: quote it in a report, or send an id of your own. Where an operation needs an access token, the token's
`scope` claim must contain the scope that the operation names.
"""
SCHEMA = {"$ref": "#/components/schemas/ProblemDetails"}
RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}

# Examples: a detail for each status.
DETAILS = {
    400: "The body is not JSON: see character 7.",
    401: "Send an access token: Authorization: Bearer <token>.",
    404: "There is nothing here.",
    408: "The body did not arrive within 30 seconds.",
    413: "The body exceeds 65536 bytes.",
    414: "The request target exceeds 8192 bytes.",
    415: "Send the body as JSON, with the header Content-Type: application/json.",
    416: "The file has 1024 bytes: the range is not in it.",
    421: "This service does not answer to that host name.",
    422: "The request is not valid: see errors.",
    429: "Too many requests. Try again in 7 seconds.",
    431: "The request line and headers together are too large.",
    500: "Something went wrong on our side. Quote the request id if you report it.",
    501: "No transfer coding but chunked is supported.",
    503: "The database cannot be reached. Try again soon.",
    505: "Use HTTP/1.1 or HTTP/1.0.",
    507: "There is no room to store the body. Try again later.",
}
# Errors of any request, and those of a request with a body.
COMMON = (400, 408, 413, 414, 421, 429, 431, 500, 501, 503, 505)
WITH_BODY = (415, 422)

ETAG = {
    "ETag": {
        "description": "Version of the resource, for If-Match and If-None-Match (RFC 9110).",
        "schema": {"type": "string"},
        "example": '"64bd1a2f3c400-1"',
    }
}
_CHALLENGE = {"WWW-Authenticate": {"description": "What is missing (RFC 6750).", "schema": {"type": "string"}}}
_PROBLEM_HEADERS = {401: _CHALLENGE, 412: ETAG}

KEY_DESCRIPTION = (
    "A string of your own, unique for each object that you make. If you do not know whether a request arrived, repeat "
    "it with the same key and body: for a day or more you get the stored response, and nothing is made twice."
)
REPLAYED = {
    "Idempotent-Replayed": {
        "description": "The stored response to an earlier request with this Idempotency-Key; nothing was made now.",
        "schema": {"type": "string", "const": "true"},
    },
}


@dataclass(frozen=True)
class Section:
    """A part of the document: tags, and examples of details by status, for the operations with those tags."""

    tags: Sequence[Mapping[str, str]]
    details: Mapping[int, str] = field(default_factory=dict)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` argument of a route for these problems. `complete` adds those of all routes."""
    responses = documented(*statuses)
    for status, headers in _PROBLEM_HEADERS.items():
        if status in responses:
            responses[status]["headers"] = headers
    return responses


def condition(name: str, description: str) -> dict[str, Any]:
    """The `openapi_extra` argument of a route that reads a conditional header through keel.http.etags."""
    schema = {"type": "string"}
    return {"parameters": [{"name": name, "in": "header", "description": description, "schema": schema}]}


def install(
    app: FastAPI,
    public_url: str,
    sections: Sequence[Section] = (),
    limits: Mapping[tuple[str, str], Limits] = MappingProxyType({}),
) -> None:
    """Have the document of `app` completed when it is first requested.

    `limits` has those of routes with their own, by method and path template.
    """
    app.description = DESCRIPTION
    app.servers = [{"url": public_url}]
    app.openapi_tags = [dict(tag) for section in sections for tag in section.tags]
    details = {tag["name"]: section.details for section in sections for tag in section.tags}
    generate = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = generate()
            complete(made, details)
            for (method, path), own in limits.items():
                if operation := made["paths"].get(path, {}).get(method.lower()):
                    _describe_limits(operation, own)
        return generate()

    app.openapi = document  # type: ignore[method-assign]


def complete(document: dict[str, Any], details: Mapping[str, Mapping[int, str]]) -> None:
    """Give each error its media type, schema and example, and each operation the errors that all have in common.

    `details` has the examples for the operations with a tag, by status.
    """
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    for operation in operations:
        responses: dict[str, Any] = operation["responses"]
        own = _details(operation, details)
        for status, response in responses.items():
            if status >= "400":
                response["description"] = title(int(status))  # FastAPI describes its own 422s differently
                response["content"] = _content(int(status), own)
        for status in (*COMMON, *(WITH_BODY if "requestBody" in operation else ())):
            responses.setdefault(str(status), {"$ref": f"#/components/responses/{status}"})
        operation["responses"] = dict(sorted(responses.items()))
    components = document.setdefault("components", {"schemas": {}})
    components["responses"] = {str(status): _response(status) for status in sorted((*COMMON, *WITH_BODY))}
    shape = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
    components["schemas"] |= shape.pop("$defs") | {"ProblemDetails": shape}
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)


def _details(operation: dict[str, Any], details: Mapping[str, Mapping[int, str]]) -> dict[int, str]:
    """Examples of the details of an operation's errors: the kit's, the scopes it needs, and those of its tags."""
    found = dict(DETAILS)
    needed = [scope for each in operation.get("security", ()) for scopes in each.values() for scope in scopes]
    if needed:
        found[403] = f"The token lacks a scope: this needs {' '.join(needed)}."
    for tag in operation.get("tags", ()):
        found |= details.get(tag, {})
    return found


def _describe_limits(operation: dict[str, Any], limits: Limits) -> None:
    """Say in the responses of an operation which limits of its own it has."""
    if limits.max_body_bytes:
        operation["responses"]["413"] = _response(413, {413: f"The body exceeds {limits.max_body_bytes} bytes."})
    if limits.seconds:
        detail = f"The body did not arrive within {limits.seconds:g} seconds."
        operation["responses"]["408"] = _response(408, {408: detail})


def _response(status: int, details: Mapping[int, str] = MappingProxyType(DETAILS)) -> dict[str, Any]:
    headers = {"headers": RETRY_AFTER} if status in (429, 503) else {}
    return {"description": title(status), "content": _content(status, details), **headers}


def _content(status: int, details: Mapping[int, str]) -> dict[str, Any]:
    example: dict[str, Any] = {
        "type": "about:blank",
        "title": title(status),
        "status": status,
        "detail": details.get(status, title(status)),
        "request_id": "0af7651916cd43dd8448eb211c80319c",
    }
    if status == 422:
        example["errors"] = [{"detail": "Field required", "pointer": "#/name"}]
    return {MEDIA_TYPE: {"schema": SCHEMA, "example": example}}
