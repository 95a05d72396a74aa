"""Files that are given back, whole and in ranges, by a real server."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest

from tests.support.problems import check_problem

pytestmark = pytest.mark.anyio

Logs = Callable[[], list[dict[str, Any]]]

CONTENT = bytes(range(256)) * 1000
SIZE = len(CONTENT)


class FileServer(Protocol):
    directory: Path


@pytest.fixture
def page(files: FileServer) -> Path:
    path = files.directory / "page"
    path.write_bytes(CONTENT)
    return path


async def get(client: httpx.AsyncClient, **headers: str) -> httpx.Response:
    return await client.get("/files/page", headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.usefixtures("page")
async def test_the_whole_file(files_client: httpx.AsyncClient, log_lines: Logs) -> None:
    answer = await get(files_client)
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-length"] == str(SIZE)
    assert answer.headers["etag"].startswith('"')
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-request-id"]
    (line,) = (line for line in log_lines() if line["log.logger"] == "app.access")
    assert (line["http.route"], line["http.response.body.bytes"]) == ("/api/v1/files/{name}", SIZE)


async def test_the_head(files_client: httpx.AsyncClient, page: Path) -> None:
    answer = await files_client.head(f"/files/{page.name}")
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", str(SIZE))
    ranged = await files_client.head(f"/files/{page.name}", headers={"Range": "bytes=0-9"})
    assert (ranged.status_code, ranged.headers["content-length"]) == (206, "10")
    assert ranged.headers["etag"] == answer.headers["etag"]


@pytest.mark.usefixtures("page")
@pytest.mark.parametrize(
    ("asked", "first", "end"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=100000-", 100_000, SIZE),
        ("bytes=-10", SIZE - 10, SIZE),
        (f"bytes=10-{SIZE * 2}", 10, SIZE),
        ("BYTES=5-5", 5, 6),
    ],
)
async def test_a_range(files_client: httpx.AsyncClient, asked: str, first: int, end: int) -> None:
    answer = await get(files_client, range=asked)
    assert (answer.status_code, answer.content) == (206, CONTENT[first:end])
    assert answer.headers["content-range"] == f"bytes {first}-{end - 1}/{SIZE}"
    assert answer.headers["content-length"] == str(end - first)
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.usefixtures("page")
async def test_several_ranges(files_client: httpx.AsyncClient, log_lines: Logs) -> None:
    answer = await get(files_client, range="bytes=0-9, 100-109")
    kind, _, boundary = answer.headers["content-type"].partition("; boundary=")
    assert (answer.status_code, kind) == (206, "multipart/byteranges")
    assert answer.headers["content-length"] == str(len(answer.content))
    first, second = answer.content.split(b"--" + boundary.encode())[1:3]
    for part, start in ((first, 0), (second, 100)):
        head, _, content = part.partition(b"\r\n\r\n")
        assert f"Content-Range: bytes {start}-{start + 9}/{SIZE}".encode() in head
        assert content.removesuffix(b"\r\n") == CONTENT[start : start + 10]
    (line,) = (line for line in log_lines() if line["log.logger"] == "app.access")
    assert line["http.response.body.bytes"] == len(answer.content)


@pytest.mark.usefixtures("page")
@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", "bytes=-0"])
async def test_a_range_that_is_not_in_the_file(files_client: httpx.AsyncClient, asked: str) -> None:
    answer = await get(files_client, range=asked)
    check_problem(answer, 416, "Requested Range Not Satisfiable")
    assert answer.headers["content-range"] == f"bytes */{SIZE}"


@pytest.mark.usefixtures("page")
@pytest.mark.parametrize("asked", ["bytes", "bytes=", "bytes=x-y", "bytes=9-1", "lines=1-2", "bytes=" + "0-1," * 200])
async def test_a_range_that_makes_no_sense_is_ignored(files_client: httpx.AsyncClient, asked: str) -> None:
    answer = await get(files_client, range=asked)
    assert (answer.status_code, answer.content) == (200, CONTENT)


async def test_a_download_goes_on_while_the_file_is_the_same(files_client: httpx.AsyncClient, page: Path) -> None:
    etag = (await get(files_client)).headers["etag"]
    assert (await get(files_client, range="bytes=10-19", if_range=etag)).status_code == 206
    assert (await get(files_client, range="bytes=10-19", if_range=f"W/{etag}")).status_code == 200  # weak: never
    page.write_bytes(CONTENT[::-1])  # noqa: ASYNC240
    os.utime(page, (1, 1))
    answer = await get(files_client, range="bytes=10-19", if_range=etag)
    assert (answer.status_code, answer.content) == (200, CONTENT[::-1])
    assert answer.headers["etag"] != etag


@pytest.mark.usefixtures("page")
async def test_a_file_that_the_client_has(files_client: httpx.AsyncClient) -> None:
    etag = (await get(files_client)).headers["etag"]
    answer = await get(files_client, if_none_match=etag)
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
    assert (await get(files_client, if_match=etag)).status_code == 200
    check_problem(await get(files_client, if_match='"other"'), 412, "Precondition Failed")


async def test_there_is_no_such_file(files_client: httpx.AsyncClient, files: FileServer) -> None:
    check_problem(await get(files_client), 404, "Not Found")
    (files.directory / "page").mkdir()
    check_problem(await get(files_client), 404, "Not Found")
