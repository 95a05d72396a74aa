"""`make load` is tested with the service that is delivered."""

import pytest

from app.main import SERVICE
from tests.support.fixtures import Subject


@pytest.fixture(scope="session")
def subject() -> Subject:
    return Subject(SERVICE, public_url="https://links.example.com", scope="links:write")
