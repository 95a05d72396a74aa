"""Public keys from a file, read again when it changes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

log = structlog.get_logger("app.keys")


class KeyFileError(Exception):
    """The file cannot serve as a source of keys; the message is a sentence that says why."""


class KeyFile:
    """Keys from `path`, as `parse` understands its text.

    Secrets mounted by Kubernetes are swapped under a symbolic link: the file's identity is
    compared, not only its time. A file that has become unreadable leaves the last good keys.
    """

    def __init__(self, path: Path, parse: Callable[[str], KeySet]) -> None:
        self.path = path
        self._parse = parse
        self._version: tuple[int, ...] | None = None
        self._keys = KeySet([])

    def load(self) -> KeySet:
        """Read the file now.

        Raises:
            KeyFileError: it is missing, unreadable or holds no usable keys.
        """
        try:
            self._version = self._identity()
            self._keys = self._parse(self.path.read_text("utf-8"))
        except OSError as error:
            raise KeyFileError(f"cannot read {self.path}: {error.strerror}") from error
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise KeyFileError(f"{self.path} holds no usable keys: {error}") from error
        return self._keys

    def current(self) -> KeySet:
        """The keys in force: those of the file as it is now, or the last good ones."""
        try:
            if self._identity() == self._version:
                return self._keys
        except OSError:
            return self._keys
        try:
            keys = self.load()
            log.info("keys loaded", path=str(self.path), ids=[key.kid for key in keys])
        except KeyFileError as error:
            log.error("keys not loaded, keeping the previous ones", reason=str(error))
        return self._keys

    def _identity(self) -> tuple[int, ...]:
        status = self.path.stat()
        return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def parse_jwks(text: str) -> KeySet:
    """A JSON Web Key Set (RFC 7517) of public keys.

    Raises:
        ValueError: it is something else, or holds a private or symmetric key.
    """
    document: Any = json.loads(text)
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise ValueError('expected a JSON object with "keys", a list of public keys (RFC 7517)')
    keys = KeySet.import_key_set({"keys": document["keys"]})
    for key in keys:
        if key.is_private:  # as every symmetric key is
            raise ValueError(f"key {key.kid} is secret; publish only public keys")
    return keys
