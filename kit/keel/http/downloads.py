"""Gives a file to a client, whole or in ranges (RFC 9110, section 14), so that a download that broke can go on."""

import os
import stat

from anyio import to_thread
from starlette.datastructures import Headers
from starlette.responses import MalformedRangeHeader, RangeNotSatisfiable, Response
from starlette.types import Receive, Scope, Send

from keel.compat.starlette import RangeFileResponse
from keel.errors.problems import Problem
from keel.http.etags import failed_precondition


class Download(RangeFileResponse):
    """Starlette's FileResponse, with problem details for its errors and with conditional requests.

    Raises, when it is sent:
        Problem: 404 if there is no such file, 412 for a precondition that fails, 416 for a range that is not in the
            file.

    A Range that makes no sense is ignored, as one in another unit than bytes must be (RFC 9110, section 14.2). The ETag
    is strong: it changes with the file's size and the time of its last change. So replace a file; do not write into it.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            found = await to_thread.run_sync(os.stat, self.path)
        except FileNotFoundError:
            raise Problem(404, "There is no such file.") from None
        if not stat.S_ISREG(found.st_mode):
            raise Problem(404, "There is no such file.")
        self.stat_result = found
        self.set_stat_headers(found)
        failed = failed_precondition(scope["method"], Headers(scope=scope), self.headers["etag"])
        if failed == 304:
            await Response(status_code=304, headers={"ETag": self.headers["etag"]})(scope, receive, send)
        elif failed:
            raise Problem(failed, "The file has changed. Fetch it again.", {"ETag": self.headers["etag"]})
        else:
            await super().__call__(scope, receive, send)

    @classmethod
    def ranges(cls, header: str, size: int) -> list[tuple[int, int]]:
        try:
            return super().ranges(header, size)
        except MalformedRangeHeader:
            return []
        except RangeNotSatisfiable as error:
            detail = f"The file has {size} bytes: the range is not in it."
            raise Problem(416, detail, {"Content-Range": f"bytes */{size}"}) from error
