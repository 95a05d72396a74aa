"""A file that is read again when it changes, for example a mounted secret that Kubernetes replaces."""

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from keel.settings.masking import mask_url

log = structlog.get_logger("keel.watched_file")

T = TypeVar("T")


class WatchedFileError(Exception):
    """The file cannot be used; the message is a sentence that says why, and does not show the content."""


class WatchedFile(Generic[T]):
    """The value that `parse` reads from the file `path`.

    Mounted secrets are swapped under a symbolic link, so the file's identity is compared, not only its time. If the
    file becomes unreadable, the last good value remains.
    """

    def __init__(self, path: Path, parse: Callable[[str], T], before: T) -> None:
        """`before` is the value until the file is first read."""
        self.path = path
        self._parse = parse
        self._version: tuple[int, ...] | None = None
        self._value = before

    def load(self) -> T:
        """Read the file now.

        Raises:
            WatchedFileError: it is missing or unreadable, or `parse` raised ValueError.
        """
        try:
            self._version = self._identity()
            self._value = self._parse(self.path.read_text("utf-8"))
        except OSError as error:
            raise WatchedFileError(f"cannot read {mask_url(str(self.path))}: {error.strerror}") from error
        except ValueError as error:
            raise WatchedFileError(f"{self.path} is of no use: {error}") from error
        return self._value

    def current(self) -> T:
        """The current value of the file, or the last good one."""
        try:
            if self._identity() == self._version:
                return self._value
        except OSError:
            return self._value
        try:
            self.load()
            log.info("file read again", path=str(self.path))
        except WatchedFileError as error:
            log.error("file not read, keeping what it held before", reason=str(error))
        return self._value

    def _identity(self) -> tuple[int, ...]:
        status = self.path.stat()
        return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
