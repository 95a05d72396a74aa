import httpx
import pytest

from tests.support.problems import check_problem

pytestmark = pytest.mark.anyio

JSON = ("Content-Type", "application/json")
BODY = b'{"name": "page"}'


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([JSON], 201),
        ([JSON, ("Content-Encoding", "identity")], 201),
        ([JSON, ("Content-Encoding", "gzip")], 415),
        ([("Content-Type", "text/plain")], 415),
        ([], 415),
        ([JSON, JSON], 400),
        ([JSON, ("Idempotency-Key", "a"), ("Idempotency-Key", "b")], 400),
    ],
)
async def test_the_head_of_a_request_with_a_body(
    writer: httpx.AsyncClient, headers: list[tuple[str, str]], status: int
) -> None:
    own = [("Authorization", writer.headers["Authorization"]), *headers]
    answer = await writer.post("/api/v1/things", content=BODY, headers=own)
    assert answer.status_code == status, answer.text


async def test_a_body_in_a_coding_says_what_would_be_taken(writer: httpx.AsyncClient) -> None:
    answer = await writer.post("/api/v1/things", content=BODY, headers={"Content-Encoding": "br"})
    check_problem(answer, 415, "Unsupported Media Type")
    assert answer.headers["accept-encoding"] == "identity"


async def test_whoever_may_not_write_is_told_before_what_is_wrong_with_the_body(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/v1/things", content=b"x", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 401
