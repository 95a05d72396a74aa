"""The kit is tested by a service that is about nothing (tests.probe)."""

import pytest

from tests.kit.subject import SERVICE
from tests.support.fixtures import Subject


@pytest.fixture(scope="session")
def subject() -> Subject:
    return Subject(SERVICE, public_url="https://probe.example.com", scope="things:write")


@pytest.fixture(autouse=True)
def clean(clean_environment: None, clean_logging: None) -> None:
    """No test finds what is the developer's, or what another one has left."""
