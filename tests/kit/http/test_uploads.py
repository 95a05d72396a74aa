"""Uploads to a real server: whole ones, and whatever may be wrong with one."""

import asyncio
import resource
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Protocol

import httpx
import pytest
from fastapi import Request

from keel.errors.problems import Problem
from keel.http import uploads
from tests.support.problems import check_problem

pytestmark = pytest.mark.anyio

Logs = Callable[[], list[dict[str, Any]]]
Until = Callable[[Callable[[], object]], Awaitable[None]]

PNG = b"\x89PNG\r\n--y\r\n" * 1000  # with what begins like a boundary
HOST = b"Host: 127.0.0.1\r\n"


class FileServer(Protocol):
    port: int
    left: list[str]
    apps: Any
    directory: Any

    async def send(self, *pieces: bytes) -> bytes: ...


def form(*parts: bytes, end: bytes = b"--x--\r\n") -> dict[str, Any]:
    """Arguments of a request with these parts, each with its headers."""
    body = b"".join(b"--x\r\n" + part + b"\r\n" for part in parts) + end
    return {"content": body, "headers": {"Content-Type": "multipart/form-data; boundary=x"}}


def part(name: str, body: bytes = PNG, filename: str | None = "page.png", media_type: str = "image/png") -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"' + (f'; filename="{filename}"' if filename else "")
    content_type = f"Content-Type: {media_type}\r\n" if filename else ""
    return f"{disposition}\r\n{content_type}\r\n".encode() + body


@pytest.fixture
def room() -> Iterator[Callable[[int], None]]:
    """Lets no file of this process grow beyond so many bytes, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_body_that_is_the_file(files: FileServer, files_client: httpx.AsyncClient) -> None:
    for content in (PNG, b"other"):  # the second replaces the first
        answer = await files_client.put("/files/page", content=content)
        assert (answer.status_code, answer.json()) == (201, len(content))
        assert (files.directory / "page").read_bytes() == content
        assert files.left == ["page"]


async def test_a_body_in_chunks(files: FileServer, files_client: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for number in range(100):
            yield b"%d," % number * 1000

    answer = await files_client.put("/files/page", content=chunks())
    assert answer.json() == (files.directory / "page").stat().st_size == 290_000


async def test_json_is_not_looked_at_where_it_is_a_file(files: FileServer, files_client: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "application/json"}
    assert (await files_client.put("/files/page", content=b'{"no":', headers=headers)).json() == 6
    assert (files.directory / "page").read_bytes() == b'{"no":'
    assert (await files_client.post("/counts", content=b"[" * 100_000, headers=headers)).json() == 100_000


async def test_a_part_of_a_form(files: FileServer, files_client: httpx.AsyncClient) -> None:
    answer = await files_client.post(
        "/pictures",
        **form(part("note", "Grüße".encode(), None), part("picture"), part("more", b"", None)),
    )
    assert answer.json() == {
        "size": len(PNG),
        "on_disk": len(PNG),
        "filename": "page.png",
        "media_type": "image/png",
        "fields": {"note": "Grüße", "more": ""},
    }
    assert files.left == []


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
async def test_a_form_in_small_pieces(files_client: httpx.AsyncClient, size: int) -> None:
    whole = form(part("note", b"hello", None), part("picture", PNG[:200]))
    body = whole.pop("content")

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(body), size):
            yield body[at : at + size]

    answer = await files_client.post("/pictures", content=pieces(), **whole)
    assert (answer.json()["on_disk"], answer.json()["fields"]) == (200, {"note": "hello"})


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\\\temp\\\\page.png", "page.png"),
        ("/etc/", None),
        ("..", None),
        (" ", None),
        ("pa\u202ege\u0007.png", "page.png"),
        ("Grüße.png", "Grüße.png"),
    ],
)
async def test_a_file_name_has_no_folders(files_client: httpx.AsyncClient, sent: str, shown: str | None) -> None:
    answer = await files_client.post("/pictures", **form(part("picture", filename=sent)))
    assert answer.json()["filename"] == shown


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (form(part("picture", media_type="text/html")), 415, "Send a file of the type image/* or application/json"),
        (form(part("picture", media_type="")), 415, "Send a file of the type"),
        (form(part("picture", b"")), 422, "The file is empty."),
        (form(part("note", b"hello", None)), 422, "The form has no file in a part named picture."),
        (form(part("picture", filename=None)), 413, "The part picture of the form exceeds 1024 bytes."),
        (form(part("picture"), part("picture")), 422, "Send one file, in the part named picture."),
        (form(part("other")), 422, "Send one file, in the part named picture."),
        (form(*[part("note", b"", None)] * 3), 400, "The form has more than 2 parts besides the file."),
        (form(part("note", b"x" * 1025, None)), 413, "The part note of the form exceeds 1024 bytes."),
        (form(b"Content-Type: image/png\r\n\r\nx"), 400, "a part lacks its name."),
        (form(b"no header\r\n\r\nx"), 400, "The body is not multipart/form-data: "),
        (form(part("picture"), end=b""), 400, "it lacks its last boundary."),
        ({"content": b"", "headers": form()["headers"]}, 400, "it lacks its last boundary."),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400, "without a boundary."),
        (
            {"content": b"x", "headers": {"Content-Type": f"multipart/form-data; boundary={'x' * 300}"}},
            400,
            "The Content-Type is not valid: ",
        ),
        ({"content": b"x", "headers": {"Content-Type": "image/png"}}, 415, "Send the body as multipart/form-data."),
        ({"content": b"x"}, 415, "Send the body as multipart/form-data."),
        ({**form(part("picture")), "headers": [*form()["headers"].items()] * 2}, 400, "Send only one Content-Type"),
        (
            {**form(part("picture")), "headers": {**form()["headers"], "Content-Encoding": "gzip"}},
            415,
            "Send the body without a Content-Encoding.",
        ),
    ],
)
async def test_a_form_that_is_refused(
    files: FileServer, files_client: httpx.AsyncClient, body: dict[str, Any], status: int, said: str
) -> None:
    answer = await files_client.post("/pictures", **body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    assert said in answer.json()["detail"]
    assert files.left == []


async def test_a_body_without_a_byte(files: FileServer, files_client: httpx.AsyncClient) -> None:
    check_problem(await files_client.put("/files/page"), 422, "Unprocessable Content")
    assert files.left == []
    assert (await files_client.post("/counts")).json() == 0  # which takes it


@pytest.mark.parametrize("path", [b"PUT /api/v1/files/page", b"POST /api/v1/pictures", b"POST /api/v1/forms"])
async def test_a_body_that_is_too_large(files: FileServer, path: bytes) -> None:
    head = path + b" HTTP/1.1\r\n" + HOST + b"Content-Type: multipart/form-data; boundary=x\r\n"
    answer = await files.send(head + b"Content-Length: 268435457\r\n\r\n" + b"x" * 100)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"The body exceeds 268435456 bytes." in answer
    assert files.left == []


async def test_a_body_that_becomes_too_large_leaves_nothing(files: FileServer, files_client: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 100_000

    answer = await files_client.put("/notes/page", content=chunks())
    check_problem(answer, 413, "Content Too Large")
    assert files.left == []


@pytest.mark.parametrize("path", [b"PUT /api/v1/files/page", b"POST /api/v1/pictures", b"POST /api/v1/forms"])
async def test_a_client_that_leaves_half_way_leaves_nothing(
    files: FileServer, until: Until, log_lines: Logs, path: bytes
) -> None:
    body = form(part("picture", PNG * 50), part("file", PNG * 50))["content"]
    _, writer = await asyncio.open_connection("127.0.0.1", files.port)
    head = b" HTTP/1.1\r\n" + HOST + b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: %d\r\n\r\n"
    writer.write(path + head % len(body) + body[:400_000])
    if path != b"POST /api/v1/forms":  # whose file has no name on the disk
        await until(lambda: len(files.left) == 1)
        assert files.left[0].startswith(uploads.TEMPORARY_PREFIX)
    else:
        await until(lambda: len(files.apps.bodies) == 1)
    writer.close()
    await until(lambda: [line for line in log_lines() if line["log.logger"] == "app.access"])
    assert files.left == []
    (line,) = (line for line in log_lines() if line["log.logger"] == "app.access")
    assert line["http.response.status_code"] == 499
    assert not [line for line in log_lines() if line["log.level"] == "error"]
    assert len(files.apps.bodies) == 0


async def test_a_body_that_stalls_leaves_nothing(files: FileServer) -> None:
    answer = await files.send(b"PUT /api/v1/files/page HTTP/1.1\r\n" + HOST + b"Content-Length: 9\r\n\r\nhalf")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"No part of the body arrived for 2 seconds." in answer
    assert files.left == []


async def test_more_than_the_length_says_is_not_of_the_file(files: FileServer) -> None:
    answer = await files.send(
        b"PUT /api/v1/files/page HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\n\r\nfourmore\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert b"connection: close" in answer
    assert (files.directory / "page").read_bytes() == b"four"


@pytest.mark.parametrize("path", ["/files/page", "/pictures", "/forms"])
async def test_where_there_is_no_room(
    files: FileServer, files_client: httpx.AsyncClient, room: Callable[[int], None], log_lines: Logs, path: str
) -> None:
    room(1_500_000)  # UploadFile keeps the first MiB in memory
    body = form(part("file" if path == "/forms" else "picture", PNG * 200))
    answer = await files_client.request("PUT" if path == "/files/page" else "POST", path, **body)
    check_problem(answer, 507, "Insufficient Storage")
    assert answer.json()["detail"] == "There is no room to store the body. Try again later."
    assert files.left == []
    (line,) = (line for line in log_lines() if line["message"] == "request failed")
    assert (line["log.level"], "File too large" in line["labels.cause"]) == ("error", True)


def upload(body: bytes) -> Request:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request({"type": "http", "method": "PUT", "path": "/", "headers": []}, receive)


async def test_a_sink_without_room() -> None:
    class Full:
        async def write(self, data: bytes) -> None:
            with open("/dev/full", "wb", buffering=0) as full:  # noqa: ASYNC230
                full.write(data)

    with pytest.raises(Problem) as raised:
        await uploads.to_sink(upload(b"x"), Full())
    assert raised.value.status_code == 507


async def test_what_else_a_sink_raises_is_its_own(tmp_path: Any) -> None:
    class Broken:
        async def write(self, data: bytes) -> None:
            raise ConnectionResetError(len(data))

    with pytest.raises(ConnectionResetError, match="5"):
        await uploads.to_sink(upload(b"bytes"), Broken())
    with pytest.raises(FileNotFoundError):
        await uploads.to_file(upload(b"x"), directory=tmp_path / "none").__aenter__()


async def test_a_file_that_is_not_moved_is_removed_whatever_happens(tmp_path: Any) -> None:
    async def fail() -> None:
        async with uploads.to_file(upload(b"bytes"), directory=tmp_path) as file:
            assert file.path.read_bytes() == b"bytes"
            assert (file.filename, file.media_type) == (None, "application/octet-stream")
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert list(tmp_path.iterdir()) == []


async def test_uploadfile(files_client: httpx.AsyncClient) -> None:
    answer = await files_client.post("/forms", files={"file": ("page.png", PNG * 300)}, data={"note": "hello"})
    assert answer.json() == {"size": len(PNG) * 300, "note": "hello"}


@pytest.mark.parametrize(
    ("request_", "status", "said"),
    [
        ({"data": {"note": "hello"}}, 422, "see errors"),
        ({"json": {}}, 415, "Send the body as multipart/form-data."),
        ({"files": [("file", b"a"), ("file", b"b")]}, 400, "Too many files"),
        ({"files": {"file": b"a"}, "data": {"a": "1", "b": "2", "c": "3"}}, 400, "Too many fields"),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400, "Missing boundary"),
    ],
)
async def test_uploadfile_that_is_refused(
    files_client: httpx.AsyncClient, request_: dict[str, Any], status: int, said: str
) -> None:
    answer = await files_client.post("/forms", **request_)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    assert said in answer.json()["detail"]


async def test_a_form_that_is_wrong_is_no_warning(files_client: httpx.AsyncClient, log_lines: Logs) -> None:
    await files_client.post("/pictures", **form(b"no header\r\n\r\nx"))
    assert {line["log.level"] for line in log_lines()} == {"info"}


async def test_the_document_describes_the_body(files: FileServer) -> None:
    paths = files.apps.public.openapi()["paths"]
    assert paths["/api/v1/files/{name}"]["put"]["requestBody"] == uploads.request_body()["requestBody"]
    picture = paths["/api/v1/pictures"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert picture["schema"]["required"] == ["picture"]
    assert picture["encoding"] == {"picture": {"contentType": "image/*, application/json"}}
    page = uploads.request_body(part="page")["requestBody"]["content"]["multipart/form-data"]
    assert (page["schema"]["required"], "encoding" in page) == (["page"], False)
