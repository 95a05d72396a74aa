"""What the tests of the tests need of a service, which is the one that is delivered."""

import pytest

from app.main import SERVICE
from tests.support.fixtures import Subject


@pytest.fixture(scope="session")
def subject() -> Subject:
    return Subject(SERVICE, public_url="https://links.example.com", scope="links:write")
