from starlette._exception_handler import wrap_app_handling_exceptions
from starlette._utils import get_route_path
from starlette.responses import FileResponse

__all__ = ["EXCEPTION_HANDLERS", "RangeFileResponse", "get_route_path", "wrap_app_handling_exceptions"]

EXCEPTION_HANDLERS = "starlette.exception_handlers"
"""Key in the scope where routes find the exception handlers."""


class RangeFileResponse(FileResponse):
    """A FileResponse whose subclasses may decide which ranges of the file a request gets."""

    @classmethod
    def ranges(cls, header: str, size: int) -> list[tuple[int, int]]:
        """First byte and the byte behind the last of each range of a Range header; none for the whole file."""
        return super()._parse_range_header(header, size)

    @classmethod
    def _parse_range_header(cls, http_range: str, file_size: int) -> list[tuple[int, int]]:
        return cls.ranges(http_range, file_size)
