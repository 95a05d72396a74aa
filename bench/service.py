"""Ours, as it runs on the cluster: PostgreSQL, Valkey, JSON logs, every limit on."""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from app.data import migrate
from app.data.database import Database
from app.links.models import Link
from app.security import dev_token
from app.settings import Settings
from bench.candidates import MANAGEMENT_PORT, PORT, Candidate
from delivery import valkey_programs
from tests.unit.servers import PostgreSQL, Valkey

TARGET = "https://example.com/page"


@contextmanager
def service(directory: Path) -> Iterator[Candidate]:
    """Its servers, a migrated database with the link /bench, and how to start it."""
    program = valkey_programs.obtain()
    if program is None:
        raise SystemExit("valkey-server is missing: install it, as with apt-get install valkey-server.")
    (directory / "valkey").mkdir()
    valkey = Valkey(program, directory / "valkey")
    with tempfile.TemporaryDirectory(prefix="postgresql-") as data:
        postgresql = PostgreSQL(Path(data))
        postgresql.create()
        postgresql.start()
        try:
            valkey.start()
            postgresql.execute("CREATE DATABASE bench")
            key_set = directory / "jwks.json"
            key_set.write_text(dev_token.public_jwks(dev_token.obtain_key(directory / "key.json")))
            variables = {
                "APP_ENVIRONMENT": "production",
                "APP_PORT": str(PORT),
                "APP_MANAGEMENT_PORT": str(MANAGEMENT_PORT),
                "APP_PUBLIC_URL": "https://links.example.com",
                "APP_TRUSTED_HOSTS": "127.0.0.1",
                "APP_DATABASE_URL": postgresql.url("bench"),
                "APP_VALKEY_URL": valkey.url,
                "APP_JWT_ISSUER": "https://issuer.example.com",
                "APP_JWKS_FILE": str(key_set),
                "APP_RATE_LIMIT_ADDRESS_PER_MINUTE": "1000000000",
                "APP_DRAIN_DELAY_SECONDS": "0",
            }
            asyncio.run(_prepare(Settings.model_validate(_fields(variables))))
            ready = f"http://127.0.0.1:{MANAGEMENT_PORT}/readyz"
            yield Candidate("ours", "the service, everything on", ["-m", "app", "serve"], variables, ready)
        finally:
            valkey.stop()
            postgresql.stop()


def _fields(variables: dict[str, str]) -> dict[str, object]:
    return {name.removeprefix("APP_").lower(): value for name, value in variables.items()}


async def _prepare(settings: Settings) -> None:
    await migrate.migrate(settings)
    database = Database(settings)
    try:
        async with database.session() as session:
            session.add(Link(slug="bench", url=TARGET, owner="bench", created_at=datetime.now(UTC)))
            await session.commit()
    finally:
        await database.close()
