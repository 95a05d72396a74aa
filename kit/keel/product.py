"""The product: the name of a service, from which names, defaults and documents derive."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Product:
    """Facts about a service that are fixed in its code."""

    name: str = "service"
    """A DNS label. Defaults derive from it: the audience of tokens, the file of the database, the name in logs."""
    title: str = "Service"
    """The name for people: the heading of the API's documents."""
    summary: str = ""
    """A sentence on what the service does."""
    version: str = "0.0.0"
    """The release, as shown in logs, metrics and traces (https://semver.org)."""
    package: str = "app"
    """The Python package that `python -m` runs."""
    migrations: Path | None = None
    """The folder of the Alembic migrations; None for a service without a database."""
    tokens: bool = True
    """Whether any route needs an access token. If none does, no issuer need be configured."""

    @property
    def has_database(self) -> bool:
        """Whether the service has a database."""
        return self.migrations is not None
