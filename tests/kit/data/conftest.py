from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry

from keel.data.valkey import Valkey, from_settings
from tests.kit.subject import Settings
from tests.support.servers import Valkey as Server


@pytest.fixture
async def shared(settings: Settings, valkey: Server) -> AsyncIterator[Valkey]:
    """The service's own client of a running server."""
    client = from_settings(Settings(**settings.model_dump() | {"valkey_url": valkey.url}), CollectorRegistry())
    assert client
    yield client
    await client.close()
