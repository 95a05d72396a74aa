"""Takes an upload as it arrives, in constant memory: to a file, or to whatever can write bytes.

With FastAPI's UploadFile the whole body is on disk before the route begins. Here the route begins with the head, so it
can refuse the rest. The size is limited by the route's `max_body_bytes` (keel.http.limits).

The body is the file itself, or one part of multipart/form-data (RFC 7578), which is what a page's form sends.
"""

import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from anyio import CancelScope, to_thread
from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from keel.errors.problems import FieldError, Problem, no_room
from keel.http import json_body
from keel.http.head_first import check_plain

FORM = "multipart/form-data"
TEMPORARY_PREFIX = ".upload-"
"""Begins the names of files that are not whole. A process that is killed leaves its own behind."""
MAX_FIELDS = 16
MAX_PART_SIZE = 8192


class Sink(Protocol):
    """What an upload is written to, such as an object in a bucket, or a file of aiofiles."""

    async def write(self, data: bytes, /) -> Any:
        """Take some bytes, of a length that the client chooses. To wait here slows the client down."""


@dataclass(frozen=True, kw_only=True)
class Received:
    """An upload that has been written to the end."""

    size: int
    """Bytes of the file."""
    media_type: str
    """What the client calls it, in lower case and without parameters; nobody has looked whether that is true."""
    filename: str | None
    """The last part of the name that the client gave, for people to read. Choose names of stored files yourself."""
    fields: Mapping[str, str]
    """The other parts of the form, by name."""


@dataclass(frozen=True, kw_only=True)
class ReceivedFile(Received):
    """An upload in a temporary file."""

    path: Path

    async def move(self, target: str | os.PathLike[str]) -> None:
        """Make it the file `target`, at once and durably; replaces one that is there.

        Raises:
            OSError: `target` is on another file system: give `to_file` a directory on that one.
        """
        await to_thread.run_sync(_move, self.path, Path(target))


async def to_sink(
    request: Request,
    sink: Sink,
    *,
    media_types: Sequence[str] = (),
    part: str | None = None,
    allow_empty: bool = False,
    max_fields: int = MAX_FIELDS,
    max_part_size: int = MAX_PART_SIZE,
) -> Received:
    """Write an upload to `sink`. If this raises, what was written is not whole: undo it.

    Args:
        request: of a route that declares no body.
        sink: gets the bytes of the file.
        media_types: those that are taken, such as image/png or image/*; any if empty.
        part: name of the part of multipart/form-data that is the file. Without it, the body is the file.
        allow_empty: whether a file without any bytes is taken.
        max_fields: most other parts.
        max_part_size: most bytes of each of them.

    Raises:
        Problem: 400 for a body that is no form or that ends early, 413 if it is too large, 415 for another media type,
            422 if the form has no such file or the file is empty, 507 if `sink` has no room.
    """
    check_plain(request.headers)
    content_type = request.headers.get("content-type", "")
    request.scope[json_body.STREAMED] = True
    source: _Body | _Form
    if part is None:
        source = _Body(content_type)
        _check_media_type(source.media_type, media_types)
    else:
        source = _Form(content_type, part, media_types, max_fields, max_part_size)
    size = 0
    try:
        async for chunk in request.stream():
            for data in source.take(chunk):
                await sink.write(data)
                size += len(data)
    except ClientDisconnect as error:
        raise _refused(400, "The body ended before it was whole.") from error
    except FormParserError as error:
        raise _refused(400, f"The body is not {FORM}: {error}.") from error
    except OSError as error:
        if problem := no_room(error):
            raise problem from error
        raise
    source.finish()
    if not size and not allow_empty:
        pointer = None if part is None else f"#/{part}"
        raise Problem(422, "The file is empty.", errors=[FieldError(detail="It is empty.", pointer=pointer)])
    return Received(size=size, media_type=source.media_type, filename=source.filename, fields=source.fields)


@contextlib.asynccontextmanager
async def to_file(
    request: Request, *, directory: str | os.PathLike[str] | None = None, **options: Any
) -> AsyncIterator[ReceivedFile]:
    """Write an upload to a temporary file, which is removed at the end, however that comes, unless it was moved.

    Args:
        request: of a route that declares no body.
        directory: where to make the file; that of all temporary files (TMPDIR, or /tmp) if None.
        options: those of `to_sink`.

    Raises:
        Problem: as `to_sink`.
    """
    try:
        file = await to_thread.run_sync(_create, directory)
    except OSError as error:
        if problem := no_room(error):
            raise problem from error
        raise
    path = Path(file.name)
    try:
        received = await to_sink(request, _File(file), **options)
        yield ReceivedFile(path=path, **vars(received))
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(_remove, file, path)


def request_body(*media_types: str, part: str | None = None) -> dict[str, Any]:
    """The `openapi_extra` argument of a route that takes an upload. The other arguments are those of `to_sink`."""
    file = {"type": "string", "format": "binary"}
    if part is None:
        content: dict[str, Any] = {
            media_type: {"schema": file} for media_type in media_types or ("application/octet-stream",)
        }
    else:
        content = {FORM: {"schema": {"type": "object", "properties": {part: file}, "required": [part]}}}
        if media_types:
            content[FORM]["encoding"] = {part: {"contentType": ", ".join(media_types)}}
    return {"requestBody": {"required": True, "content": content}}


class _Body:
    """A body that is the file."""

    filename = None

    def __init__(self, content_type: str) -> None:
        self.media_type = _media_type(content_type) or "application/octet-stream"
        self.fields: dict[str, str] = {}

    def take(self, chunk: bytes) -> list[bytes]:
        return [chunk] if chunk else []

    def finish(self) -> None:
        """Every body is whole."""


class _Form:
    """A body of multipart/form-data, one part of which is the file."""

    def __init__(
        self, content_type: str, part: str, media_types: Sequence[str], max_fields: int, max_part_size: int
    ) -> None:
        if _media_type(content_type) != FORM:
            raise _refused(415, f"Send the body as {FORM}.", {"Accept": FORM})
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise _refused(400, f"The Content-Type is {FORM} without a boundary.")
        self.media_type = ""
        self.filename: str | None = None
        self.fields: dict[str, str] = {}
        self._part = part
        self._media_types = media_types
        self._max_fields = max_fields
        self._max_part_size = max_part_size
        self._headers: dict[str, str] = {}
        self._header_name, self._header_value = b"", b""
        self._name = ""  # of the part that is read
        self._is_file = False  # whether that is the file
        self._has_file = False
        self._is_whole = False
        self._parts = 0  # besides the file
        self._field = bytearray()
        self._data: list[bytes] = []  # of the file, not taken yet
        names = ("part_begin", "header_field", "header_value", "header_end", "headers_finished", "part_data")
        callbacks: Any = {f"on_{name}": getattr(self, f"_on_{name}") for name in (*names, "part_end", "end")}
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError as error:
            raise _refused(400, f"The Content-Type is not valid: {error}.") from error

    def take(self, chunk: bytes) -> list[bytes]:
        """Parse some of the body; returns what of it is the file's."""
        self._parser.write(chunk)
        data, self._data = self._data, []
        return data

    def finish(self) -> None:
        """Check that the form is whole, and has the file."""
        if not self._is_whole:
            raise _refused(400, f"The body is not {FORM}: it lacks its last boundary.")
        if not self._has_file:
            detail = f"The form has no file in a part named {self._part}."
            raise Problem(422, detail, errors=[FieldError(detail="It is missing.", pointer=f"#/{self._part}")])

    def _on_part_begin(self) -> None:
        self._headers, self._field = {}, bytearray()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._header_name.decode("latin-1").lower()] = self._header_value.decode("latin-1")
        self._header_name, self._header_value = b"", b""

    def _on_headers_finished(self) -> None:
        options = parse_options_header(self._headers.get("content-disposition", ""))[1]
        if b"name" not in options:
            raise _refused(400, f"The body is not {FORM}: a part lacks its name.")
        self._name = options[b"name"].decode("utf-8", "replace")
        self._is_file = b"filename" in options
        if not self._is_file:
            self._parts += 1
            if self._parts > self._max_fields:
                raise _refused(400, f"The form has more than {self._max_fields} parts besides the file.")
            return
        if self._has_file or self._name != self._part:
            detail = f"Send one file, in the part named {self._part}."
            raise Problem(
                422, detail, {"Connection": "close"}, [FieldError(detail="It is too much.", pointer=f"#/{self._name}")]
            )
        self._has_file = True
        self.filename = _last_part(options[b"filename"].decode("utf-8", "replace"))
        # RFC 7578, section 4.4, has the default of a part.
        self.media_type = _media_type(self._headers.get("content-type", "")) or "text/plain"
        _check_media_type(self.media_type, self._media_types)

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._data.append(data[start:end])
            return
        self._field += data[start:end]
        if len(self._field) > self._max_part_size:
            raise _refused(413, f"The part {self._name} of the form exceeds {self._max_part_size} bytes.")

    def _on_part_end(self) -> None:
        if not self._is_file:
            self.fields[self._name] = self._field.decode("utf-8", "replace")

    def _on_end(self) -> None:
        self._is_whole = True


class _File:
    """A file as a sink: what it does to the disk, it does in a thread."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    async def write(self, data: bytes) -> None:
        await to_thread.run_sync(self._file.write, data)


def _create(directory: str | os.PathLike[str] | None) -> IO[bytes]:
    # Unbuffered: a full disk is found by the write, and the size of the pieces is right as it is.
    return tempfile.NamedTemporaryFile(prefix=TEMPORARY_PREFIX, dir=directory, delete=False, buffering=0)


def _remove(file: IO[bytes], path: Path) -> None:
    file.close()
    path.unlink(missing_ok=True)


def _move(path: Path, target: Path) -> None:
    _sync(path)
    path.replace(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    """Have a file, or the names in a folder, survive a loss of power."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _last_part(name: str) -> str | None:
    """A file name without the folders that some clients send, and without what does not print; None if none is left."""
    last = "".join(character for character in name.replace("\\", "/").rpartition("/")[2] if character.isprintable())
    return None if last.strip(". ") == "" else last


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _check_media_type(media_type: str, allowed: Sequence[str]) -> None:
    family = f"{media_type.partition('/')[0]}/*"
    if allowed and media_type not in allowed and family not in allowed:
        detail = f"Send a file of the type {' or '.join(allowed)}, and say so in its Content-Type."
        raise _refused(415, detail, {"Accept": ", ".join(allowed)})


def _refused(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Problem:
    # Close the connection instead of reading the rest of the body.
    return Problem(status, detail, {"Connection": "close", **(headers or {})})
