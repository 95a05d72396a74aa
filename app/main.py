"""The service: its name, and the domains it is made of."""

from pathlib import Path

from app import __version__
from app.links.domain import LINKS
from keel.product import Product
from keel.service import Service

PRODUCT = Product(
    name="shipshape",
    title="Shipshape",
    summary="A link shortener.",
    version=__version__,
    package="app",
    migrations=Path(__file__).parent / "migrations",
)
SERVICE = Service(PRODUCT, [LINKS])
