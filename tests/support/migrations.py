"""What any service's migrations must come to."""

import subprocess
import sys

from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from keel.data import migrate
from keel.data.database_engine import create_engine
from keel.product import Product
from keel.service import Service
from keel.settings import Settings
from toolkit.paths import ROOT

# In a process of its own, where no tables are known but those of the one service.
COMPARE = """
import asyncio, importlib, sys
import keel.data.compatibility
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from keel.data.database import METADATA
from keel.data.database_engine import create_engine

async def main():
    settings = importlib.import_module(sys.argv[1]).SERVICE.settings(database_url=sys.argv[2])
    async with create_engine(settings).connect() as connection:
        compare = lambda sync: compare_metadata(MigrationContext.configure(sync), METADATA)
        print(sorted(METADATA.tables), await connection.run_sync(compare), sep="\\n")

asyncio.run(main())
"""


def differences(service: Service, settings: Settings) -> tuple[str, str]:
    """The tables that the service's code knows, and where those of a database differ from them."""
    url = settings.database_url.get_secret_value()
    argv = [sys.executable, "-c", COMPARE, f"{service.product.package}.main", url]
    said = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    tables, found = said.splitlines()
    return tables, found


async def taken_back(settings: Settings) -> list[str]:
    """The tables that are left when every migration was taken back."""

    def down(sync: Connection) -> list[str]:
        command.downgrade(migrate.alembic_config(sync, settings.product), "base")
        return inspect(sync).get_table_names()

    engine = create_engine(settings)
    async with engine.connect() as connection:
        left = await connection.run_sync(down)
    await engine.dispose()
    return left


def works_from(product: Product) -> dict[str, str]:
    """By revision, in their order, the oldest one whose code works with it; empty where a migration does not say."""
    scripts = ScriptDirectory(str(migrate.ENVIRONMENT), version_locations=[str(product.migrations)])
    found = reversed(list(scripts.walk_revisions()))
    return {script.revision: getattr(script.module, "works_from", None) or "" for script in found}
