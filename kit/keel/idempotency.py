"""Idempotency keys: a request that is sent again makes nothing anew, and gets the same answer.

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
    owner: str
    key: str
    fingerprint: str  # the same for the same request


class KeyReusedError(Exception):
    """The key came with another request before."""


class AlreadyAnsweredError(Exception):
    """Another request of the same key was faster."""


class IdempotencyKeys:
    """Answers by owner and key, kept for `hours` at least."""

    def __init__(self, database: Database, hours: int) -> None:
        self._database = database
        self._kept = timedelta(hours=hours)
        self._add = insert(database.dialect, KEYS).on_conflict_do_nothing().returning(KEYS.c.key)

    async def answer(self, request: KeyedRequest) -> str | None:
        """What the request was answered before, if it was.

        Raises:
            KeyReusedError: what came with this key was another request.
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
        """Keep the answer, in the transaction that does what it says; call it first.

        Of two requests at once, the second waits here for the first one's commit.

        Raises:
            AlreadyAnsweredError: there is an answer already.
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
        """Delete what is past its time, now and then, while inside."""
        async with every(purge.EVERY_SECONDS, self.purge):
            yield

    async def purge(self) -> int:
        """Delete the answers past their time; returns how many."""
        return await purge.purge(self._database, KEYS, KEYS.c.created_at, before=datetime.now(UTC) - self._kept)
