"""Files: each way to take one, a way to give it back, and work that goes on after a response."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import structlog
from fastapi import BackgroundTasks, Depends, FastAPI, Form, Request, UploadFile
from fastapi import Path as PathParameter
from starlette.responses import Response

from keel.domain import Domain, Feature, Parts
from keel.http import routing, uploads
from keel.http.downloads import Download
from keel.http.limits import MIB, limits
from keel.http.openapi import problems
from keel.settings import OwnSettings

log = structlog.get_logger(__name__)

LARGEST = 256 * MIB
PICTURES = ("image/*", "application/json")


class FilesSettings(OwnSettings, env_prefix="FILES_"):
    """What an operator may want to change of the files."""

    directory: Path = Path("files")
    """Where they are kept."""


class Nowhere:
    """A sink that keeps only how much it was given."""

    def __init__(self) -> None:
        self.size = 0

    async def write(self, data: bytes) -> None:
        self.size += len(data)


class Files(Feature):
    """Is in `app.state.files`."""

    def __init__(self, _parts: Parts, settings: FilesSettings) -> None:
        self.directory = settings.directory
        self.go_on = asyncio.Event()
        """Lets the work end that waits after a response."""

    def install(self, app: FastAPI) -> None:
        app.state.files = self
        app.include_router(router, prefix="/api/v1")

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        self.directory.mkdir(exist_ok=True)
        yield

    async def work(self, seconds: float) -> None:
        log.info("work begins")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.go_on.wait(), seconds)
        log.info("work is done")

    def fail(self) -> None:
        raise RuntimeError("this work always fails")


async def get_files(request: Request) -> Files:
    files: Files = request.app.state.files
    return files


Service = Annotated[Files, Depends(get_files)]
Name = Annotated[str, PathParameter(pattern="^[a-z0-9]{1,64}$")]

router = routing.api_router("", "files")


@router.put("/files/{name}", status_code=201, openapi_extra=uploads.request_body(), responses=problems(507))
@limits(seconds=300, max_body_bytes=LARGEST, max_concurrent=12)
async def put_file(request: Request, name: Name, files: Service) -> int:
    """Keep the body as a file."""
    async with uploads.to_file(request, directory=files.directory) as upload:
        await upload.move(files.directory / name)
    return upload.size


@router.put("/notes/{name}", status_code=201, openapi_extra=uploads.request_body("text/plain"))
@limits(max_body_bytes=MIB)
async def put_note(request: Request, name: Name, files: Service) -> None:
    """Keep the body as a file, if it is small."""
    async with uploads.to_file(request, directory=files.directory) as upload:
        await upload.move(files.directory / name)


@router.post(
    "/pictures",
    openapi_extra=uploads.request_body(*PICTURES, part="picture"),
    responses=problems(400, 415, 422, 507),
)
@limits(seconds=300, max_body_bytes=LARGEST, max_concurrent=12)
async def take_picture(request: Request, files: Service) -> dict[str, object]:
    """Look at a picture, and forget it."""
    async with uploads.to_file(
        request, directory=files.directory, part="picture", media_types=PICTURES, max_fields=2, max_part_size=1024
    ) as upload:
        return {
            "size": upload.size,
            "on_disk": upload.path.stat().st_size,
            "filename": upload.filename,
            "media_type": upload.media_type,
            "fields": upload.fields,
        }


@limits(seconds=300, max_body_bytes=LARGEST, max_concurrent=12)
@router.post("/counts", openapi_extra=uploads.request_body())
async def count(request: Request) -> int:
    """Count the bytes of the body."""
    sink = Nowhere()
    await uploads.to_sink(request, sink, allow_empty=True)
    return sink.size


@router.post("/forms", responses=problems(400, 507), form_limits={"max_files": 1, "max_fields": 2})
@limits(seconds=300, max_body_bytes=LARGEST, max_concurrent=12)
async def take_form(file: UploadFile, note: Annotated[str, Form()] = "") -> dict[str, object]:
    """Count the bytes of a form's file."""
    return {"size": file.size, "note": note}


@routing.get(router, "/files/{name}", responses=problems(404, 416))
async def get_file(name: Name, files: Service) -> Response:
    """Give a file back, or ranges of it."""
    return Download(files.directory / name, media_type="application/octet-stream")


@router.post("/work", status_code=202)
async def work_later(background: BackgroundTasks, files: Service, seconds: float = 60) -> None:
    """Respond, and then work."""
    background.add_task(files.work, seconds)


@router.post("/failures", status_code=202)
async def fail_later(background: BackgroundTasks, files: Service) -> None:
    """Respond, and then fail."""
    background.add_task(files.fail)


FILES = Domain(
    name="files",
    start=Files,
    settings=FilesSettings,
    tags=({"name": "files", "description": "Take files, and give them back."},),
)
