"""The service that is delivered, with its links."""

import pytest

from tests.app.subject import SERVICE
from tests.support.fixtures import Subject


@pytest.fixture(scope="session")
def subject() -> Subject:
    return Subject(SERVICE, public_url="https://links.example.com", scope="links:write")


@pytest.fixture(autouse=True)
def clean(clean_environment: None, clean_logging: None) -> None:
    """No test finds what is the developer's, or what another one has left."""
