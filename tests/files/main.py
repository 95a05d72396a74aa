"""The service: what it is called, and what it is about."""

from keel.product import Product
from keel.service import Service
from tests.files import __version__
from tests.files.domain import FILES

PRODUCT = Product(
    name="files",
    title="Files",
    summary="Files that come and go.",
    version=__version__,
    package="tests.files",
    tokens=False,
)
SERVICE = Service(PRODUCT, [FILES])
