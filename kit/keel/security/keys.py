"""The issuer's public keys: which of them are usable, and the sources that they come from."""

import contextlib
import time
import warnings
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import structlog
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import Key, KeySet, RSAKey, import_key

from keel import strict_json
from keel.settings.algorithms import ALGORITHMS
from keel.watched_file import WatchedFile, WatchedFileError

log = structlog.get_logger("keel.security.keys")

RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
CURVES = {
    "P-256": frozenset({"ES256"}),
    "P-384": frozenset({"ES384"}),
    "P-521": frozenset({"ES512"}),
    "Ed25519": frozenset({"EdDSA", "Ed25519"}),
}
MIN_RSA_BITS = 2048
SECRET_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})


class JwksFileError(Exception):
    """A file has no usable keys; the message is a sentence that says why."""


class KeysUnavailableError(Exception):
    """No keys were fetched yet; `retry_after` is in seconds."""

    outcome = "keys_unavailable"

    def __init__(self, retry_after: float) -> None:
        super().__init__("The keys to verify tokens are not available at the moment.")
        self.retry_after = retry_after


class KeySource:
    """Where keys come from. It returns the same KeySet object as long as no key has changed."""

    def current(self) -> KeySet:
        """The keys in force.

        Raises:
            KeysUnavailableError: no keys were fetched yet.
        """
        raise NotImplementedError

    async def refetch(self) -> None:
        """Look for newer keys, because a token names an unknown one."""

    @contextlib.asynccontextmanager
    async def refreshing(self) -> AsyncIterator[None]:
        """Keep the keys fresh while inside."""
        yield


class JwksFile(KeySource):
    """Keys from the file `path`, which `parse` reads. A change of the file is noticed within `pause` seconds."""

    def __init__(self, path: Path, parse: Callable[[str], KeySet], pause: float = 1) -> None:
        def keys(text: str) -> KeySet:
            try:
                return parse(text)
            except (JoseError, KeyError, TypeError) as error:
                raise ValueError(str(error)) from error

        self.path = path
        self._file = WatchedFile(path, keys, before=KeySet([]))
        self._pause = pause
        self._next = 0.0  # when to look at the file again
        self._keys = KeySet([])

    def load(self) -> KeySet:
        """Read the file now.

        Raises:
            JwksFileError: it is missing or unreadable, or has no usable keys.
        """
        try:
            return self._file.load()
        except WatchedFileError as error:
            if isinstance(error.__cause__, ValueError):
                raise JwksFileError(f"{self.path} holds no usable keys: {error.__cause__}") from error
            raise JwksFileError(str(error)) from error

    def current(self) -> KeySet:
        now = time.monotonic()
        if now >= self._next:
            self._keys = self._file.current()
            self._next = now + self._pause if self._keys else 0
        return self._keys


def parse_jwks(text: str) -> KeySet:
    """The usable keys of a JSON Web Key Set. The others are ignored, as RFC 7517, section 5, says.

    Raises:
        ValueError: the text is something else, contains a private or symmetric key, or has no usable key.
    """
    document: Any = strict_json.loads(text.encode())
    members = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list) or not all(isinstance(member, dict) for member in members):
        raise ValueError('expected a JSON object with "keys", a list of public keys (RFC 7517)')
    keys: list[Key] = []
    useless: list[str] = []
    for member in members:
        if not SECRET_MEMBERS.isdisjoint(member):
            raise ValueError(f"key {member.get('kid')} is secret; publish only public keys")
        try:
            keys.append(_public_key(member))
        except (JoseError, ValueError, KeyError, TypeError) as error:
            useless.append(f"key {member.get('kid')}: {error}")
    keys, alike = _told_apart(keys)
    useless += [f"key {key.kid}: two keys have this id and are for the same algorithm" for key in alike]
    if not keys:
        raise ValueError("; ".join(["no key verifies signatures by " + ", ".join(ALGORITHMS), *useless]))
    if useless:
        log.warning("keys ignored", reasons=useless)
    return KeySet(keys)


def algorithms(key: Key) -> frozenset[str]:
    """The accepted algorithms of a key; none if the key is too weak or of an unknown type."""
    if isinstance(key, RSAKey):
        able = RSA if key.raw_value.key_size >= MIN_RSA_BITS else frozenset[str]()
    else:
        able = CURVES.get(str(getattr(key, "curve_name", None)), frozenset())
    return able if key.alg is None else able & {key.alg}


def _told_apart(keys: list[Key]) -> tuple[list[Key], list[Key]]:
    """The keys without duplicates, and the keys that share id and algorithm with another (RFC 7517, section 4.5)."""
    apart: dict[tuple[str | None, str, frozenset[str]], Key] = {}  # of equal keys, the one with most algorithms
    alike = []
    for key in keys:
        rivals = [each for each in keys if each.kid == key.kid and algorithms(each) & algorithms(key)]
        if any(each.thumbprint() != key.thumbprint() for each in rivals):
            alike.append(key)
        else:
            widest = max(rivals, key=lambda each: len(algorithms(each)))
            apart.setdefault((key.kid, key.thumbprint(), algorithms(widest)), widest)
    return list(apart.values()), alike


def _public_key(member: dict[str, Any]) -> Key:
    """Import a key that can verify signatures by an accepted algorithm, and give it an id if it has none.

    Raises:
        ValueError, KeyError, TypeError, JoseError: the key is not usable.
    """
    with warnings.catch_warnings(action="ignore", category=SecurityWarning):  # short keys: see below
        key = import_key(member)
    if not algorithms(key):
        if key.alg is not None:
            raise ValueError(f"it is for the algorithm {key.alg}, or too weak for it")
        raise ValueError(f"it is neither RSA of at least {MIN_RSA_BITS} bits nor of the curves {', '.join(CURVES)}")
    if member.get("use", "sig") != "sig" or "verify" not in member.get("key_ops", ["verify"]):
        raise ValueError("it is not for signatures")
    key.ensure_kid()
    return key
