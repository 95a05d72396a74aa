"""The service: what it is called, and what it is about."""

from pathlib import Path

from keel.product import Product
from keel.service import Service
from tests.probe import __version__
from tests.probe.domain import THINGS

PRODUCT = Product(
    name="probe",
    title="Probe",
    summary="Things with names.",
    version=__version__,
    package="tests.probe",
    migrations=Path(__file__).parent / "migrations",
)
SERVICE = Service(PRODUCT, [THINGS])
