"""What every answer of a kind has in common."""

from typing import Any

import httpx


def check_problem(answer: httpx.Response, status: int, title: str) -> dict[str, Any]:
    """The body of an answer that must be problem details."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    body: dict[str, Any] = answer.json()
    assert body["type"] == "about:blank"
    assert (body["status"], body["title"]) == (status, title)
    assert body["request_id"] == answer.headers["x-request-id"]
    return body
