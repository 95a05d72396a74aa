"""Those with a database: ours as it runs on the cluster (PostgreSQL, Valkey, JSON logs, limits), and another one."""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import insert

from app.links.models import LINKS, Link
from app.main import SERVICE
from bench.candidates import MANAGEMENT_PORT, PORT, Candidate, library_stack
from dev.servers import PostgreSQL, Valkey
from keel.data import migrate
from keel.data.database import Database
from keel.security import dev_token
from keel.settings import Settings
from toolkit import valkey_programs

ISSUER, AUDIENCE = "https://issuer.example.com", SERVICE.product.name
PASSWORD = "secret"  # noqa: S105  # of servers that live as long as the run
TARGET = "https://example.com/page"


@contextmanager
def services(directory: Path) -> Iterator[tuple[Candidate, Candidate, str]]:
    """Their servers, a migrated database with the link /bench for each, how to start them, and a token for ours."""
    program = valkey_programs.obtain()
    if program is None:
        raise SystemExit("valkey-server is missing: install it, as with apt-get install valkey-server.")
    (directory / "valkey").mkdir()
    valkey = Valkey(program, directory / "valkey", password=PASSWORD)
    with tempfile.TemporaryDirectory(prefix="postgresql-") as data:
        postgresql = PostgreSQL(Path(data), password=PASSWORD, options={"fsync": "off"})
        postgresql.create()
        postgresql.start()
        try:
            valkey.start()
            for name in ("bench", "stored"):
                postgresql.execute(f"CREATE DATABASE {name}")
            key = dev_token.obtain_key(directory / "key.json")
            key_set = directory / "jwks.json"
            key_set.write_text(dev_token.public_jwks(key))
            variables = {
                "APP_ENVIRONMENT": "production",
                "APP_PORT": str(PORT),
                "APP_MANAGEMENT_PORT": str(MANAGEMENT_PORT),
                "APP_PUBLIC_URL": "https://links.example.com",
                "APP_TRUSTED_HOSTS": "127.0.0.1",
                "APP_DATABASE_URL": postgresql.url("bench"),
                "APP_VALKEY_URL": valkey.url,
                "APP_JWT_ISSUER": ISSUER,
                "APP_JWT_AUDIENCE": AUDIENCE,
                "APP_JWKS_FILE": str(key_set),
                "APP_RATE_LIMIT_ADDRESS_PER_MINUTE": "1000000000",
                "APP_RATE_LIMIT_TOKEN_PER_MINUTE": "1000000000",
                "APP_DRAIN_DELAY_SECONDS": "0",
            }
            settings = SERVICE.settings.model_validate(_fields(variables))
            other = SecretStr(postgresql.url("stored").replace("postgresql:", "postgresql+asyncpg:", 1))
            for each in (settings, settings.model_copy(update={"database_url": other})):
                asyncio.run(_prepare(each))
            token = dev_token.mint(
                key, issuer=ISSUER, audience=AUDIENCE, subject="bench", scope="links:write", expires_in=3600
            )
            yield (
                Candidate(
                    "ours",
                    "the service, everything on",
                    ["-m", "app", "serve"],
                    variables,
                    ("json", "redirect", "create"),
                    f"http://127.0.0.1:{MANAGEMENT_PORT}/readyz",
                ),
                library_stack("stored", "FastAPI and SQLAlchemy", other.get_secret_value(), cases=("create",)),
                token,
            )
        finally:
            valkey.stop()
            postgresql.stop()


def _fields(variables: dict[str, str]) -> dict[str, object]:
    return {name.removeprefix("APP_").lower(): value for name, value in variables.items()}


async def _prepare(settings: Settings) -> None:
    await migrate.migrate(settings)
    database = Database(settings)
    try:
        async with database.transaction() as connection:
            await connection.execute(insert(LINKS), asdict(Link("bench", TARGET, "bench", datetime.now(UTC))))
            await connection.commit()
    finally:
        await database.close()
