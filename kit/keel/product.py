"""What a service is called: the one place from which its names, defaults and documents derive."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Product:
    """Facts of a service that no operator sets."""

    name: str = "service"
    """A DNS label. Defaults derive from it: the audience of tokens, the file of the database, the name in logs."""
    title: str = "Service"
    """For people: the heading of the API's documents."""
    summary: str = ""
    """A sentence for people on what it does."""
    version: str = "0.0.0"
    """Its release, as in logs, metrics and traces (https://semver.org)."""
    package: str = "app"
    """The Python package that `python -m` runs."""
    migrations: Path | None = None
    """The folder of its Alembic migrations; None for a service without a database."""
    tokens: bool = True
    """Whether any route asks for an access token. If none does, no issuer needs to be named."""

    @property
    def has_database(self) -> bool:
        return self.migrations is not None
