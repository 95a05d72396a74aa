"""Idempotency keys: a request that is repeated has no second effect, and gets the first one's response.

https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Column, String, Table, Text, select

from keel.data import purge
from keel.data.async_engine import AsyncConnection
from keel.data.database import METADATA, Database
from keel.data.periodic import every
from keel.data.timestamp import Timestamp
from keel.data.upsert import insert
from keel.security.tokens import MAX_SUBJECT_CHARACTERS

FINGERPRINT_CHARACTERS = 64  # SHA-256, hexadecimal
MAX_KEY_CHARACTERS = 255

KEYS = Table(
    "idempotency_keys",
    METADATA,
    Column("owner", String(MAX_SUBJECT_CHARACTERS), primary_key=True),
    Column("key", String(MAX_KEY_CHARACTERS), primary_key=True),
    Column("fingerprint", String(FINGERPRINT_CHARACTERS), nullable=False),
    Column("response", Text, nullable=False),  # JSON
    Column("created_at", Timestamp, nullable=False, index=True),
)


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A request with an Idempotency-Key."""

    owner: str
    key: str
    fingerprint: str  # a hash that is the same for the same request


class KeyReusedError(Exception):
    """The key was used for a different request before."""


class AlreadyAnsweredError(Exception):
    """A concurrent request with the same key has stored its response first."""


class IdempotencyKeys:
    """Stores responses by owner and key, for at least `hours`."""

    def __init__(self, database: Database, hours: int) -> None:
        self._database = database
        self._kept = timedelta(hours=hours)
        self._add = insert(database.dialect, KEYS).on_conflict_do_nothing().returning(KEYS.c.key)

    async def answer(self, request: KeyedRequest) -> str | None:
        """The stored response to this request; None if there is none.

        Raises:
            KeyReusedError: the key was used for a different request.
        """
        statement = select(KEYS.c.fingerprint, KEYS.c.response).where(
            KEYS.c.owner == request.owner, KEYS.c.key == request.key
        )
        async with self._database.reading() as connection:
            kept = (await connection.execute(statement)).one_or_none()
        if kept is None:
            return None
        if kept.fingerprint != request.fingerprint:
            raise KeyReusedError
        response: str = kept.response
        return response

    async def keep(self, connection: AsyncConnection, request: KeyedRequest, response: str) -> None:
        """Store the response, in the transaction of the request's own changes; call this before them.

        Of two concurrent requests, the second waits here until the first one commits.

        Raises:
            AlreadyAnsweredError: there is a response already.
        """
        row = {
            "owner": request.owner,
            "key": request.key,
            "fingerprint": request.fingerprint,
            "response": response,
            "created_at": datetime.now(UTC),
        }
        if await connection.scalar(self._add, row) is None:
            raise AlreadyAnsweredError

    @contextlib.asynccontextmanager
    async def purging(self) -> AsyncIterator[None]:
        """Delete expired responses at regular intervals while inside."""
        async with every(purge.EVERY_SECONDS, self.purge):
            yield

    async def purge(self) -> int:
        """Delete the responses that have expired; returns how many."""
        return await purge.purge(self._database, KEYS, KEYS.c.created_at, before=datetime.now(UTC) - self._kept)
