"""/api/v1/imports: make many links at once, from CSV."""

import asyncio
import hashlib
import secrets

from fastapi import Request, Response
from pydantic import BaseModel, Field

from app.links import csv_import, responses
from app.links.collection import Key
from app.links.dependencies import LinksDep, Reader, Writer
from keel.errors.problems import FieldError, Problem, invalid
from keel.http import routing, uploads
from keel.http.limits import MIB, limits
from keel.http.openapi import problems

CSV = "text/csv"
MAX_BYTES = 4 * MIB
ID_CHARACTERS = 32

router = routing.api_router("/imports", "links")


class Refusal(BaseModel):
    line: int = Field(description="Its number in the file.", examples=[3])
    detail: str = Field(examples=["The slug spring-sale is taken."])


class ImportOut(BaseModel):
    id: str = Field(examples=["5d41402abc4b2a76b9719d911017c592"])
    lines: int = Field(description="Links that the file asks for.", examples=[1200])
    made: int = Field(description="Links made so far.", examples=[1000])
    refused: list[Refusal] = Field(description="The first hundred lines that made no link.")


class _Text(bytearray):
    """A file in memory, as a sink of an upload."""

    async def write(self, data: bytes, /) -> None:
        self.extend(data)


@router.post(
    "",
    status_code=202,
    response_model=ImportOut,
    responses={202: {"description": "The links are being made."}, **problems(400, 401, 403, 413, 415, 422)},
    openapi_extra=uploads.request_body(CSV),
)
@limits(seconds=60, max_body_bytes=MAX_BYTES, max_concurrent=2)
async def import_links(request: Request, writer: Writer, links: LinksDep, key: Key = None) -> Response:
    """Make a link of each line. Needs the scope links:write.

    The first line names the columns: url, slug and expires_at; the last two may be left out. If any line is not valid,
    none is imported. The response's Location says how far the import has come.
    """
    text = _Text()
    await uploads.to_sink(request, text, media_types=[CSV])
    try:
        # Many lines take half a second of the processor: not of the event loop's.
        lines = await asyncio.to_thread(csv_import.parse, text.decode("utf-8"), links.urls)
    except UnicodeDecodeError as error:
        raise invalid(FieldError(detail="The file is not UTF-8.", pointer="#")) from error
    import_id = _id(writer.subject, key)
    await links.imports.begin(import_id, writer.subject, lines)
    answer = await _find(import_id, writer.subject, links)
    return responses.of(answer, {"Location": f"{request.url.path}/{import_id}"}, status=202)


@routing.get(router, "/{import_id}", response_model=ImportOut, responses=problems(401, 403, 404))
async def read_import(import_id: str, reader: Reader, links: LinksDep) -> Response:
    """Read how far one of your imports has come. Needs the scope links:read."""
    return responses.of(await _find(import_id, reader.subject, links))


async def _find(import_id: str, owner: str, links: LinksDep) -> ImportOut:
    found = await links.imports.read(import_id)
    if found is None or found.owner != owner:
        raise Problem(404, "You have no such import.")
    refused = [Refusal(line=line, detail=detail) for line, detail in found.refused]
    return ImportOut(id=found.id, lines=found.lines, made=found.made, refused=refused)


def _id(owner: str, key: str | None) -> str:
    """The same for a request that is repeated with its key."""
    if key is None:
        return secrets.token_hex(ID_CHARACTERS // 2)
    return hashlib.sha256(f"{owner}\n{key}".encode()).hexdigest()[:ID_CHARACTERS]
