"""The service under test: what it is called, and its settings as a class."""

from typing import TYPE_CHECKING

from tests.probe.main import PRODUCT, SERVICE

if TYPE_CHECKING:
    from keel.settings import Settings
else:
    Settings = SERVICE.settings  # which has the service's own defaults

assert PRODUCT.migrations is not None
MIGRATIONS = PRODUCT.migrations

__all__ = ["MIGRATIONS", "PRODUCT", "SERVICE", "Settings"]
