"""Those who follow clicks in the end-to-end tests, over restarts of one process: none hears too much or too little."""

import http.client
import signal
from collections.abc import Callable

import pytest

from keel.data import migrate
from keel.settings import Settings
from tests.e2e.followers import Followers
from tests.support.processes import App, until
from tests.support.servers import Valkey
from toolkit.ports import free_port

MANY = 60
SCOPE = "links:read links:write"


@pytest.mark.anyio
async def test_all_come_back_after_restarts(
    start: Callable[..., App], postgresql_settings: Settings, valkey: Valkey
) -> None:
    await migrate.migrate(postgresql_settings)
    port = free_port()
    follow_restarts(
        lambda: start(
            APP_PORT=str(port),
            APP_DATABASE_URL=postgresql_settings.database_url.get_secret_value(),
            APP_VALKEY_URL=valkey.url,
            APP_VALKEY_TIMEOUT_SECONDS="2",
            APP_RATE_LIMIT_ADDRESS_PER_MINUTE="0",
            APP_RATE_LIMIT_TOKEN_PER_MINUTE="0",
            APP_DRAIN_TIMEOUT_SECONDS="4",
        )
    )


def follow_restarts(begin: Callable[[], App]) -> None:
    app, token, clicks = begin(), "", 0
    token = app.token(SCOPE)
    made = ask(app, "POST", "/api/v1/links", token, b'{"url": "https://example.com/", "slug": "spring"}')
    assert made == 201

    def click() -> None:
        nonlocal clicks
        assert ask(app, "GET", "/spring") == 307
        clicks += 1

    url = f"http://{app.public}/api/v1/links/spring/clicks"
    with Followers(url, None, token, MANY) as followers:
        for _ in range(3):
            until(lambda: followers.told.open == MANY)
            for _ in range(20):
                click()
            app.process.send_signal(signal.SIGTERM)
            assert app.end() == (0, "")
            app = begin()
        until(lambda: followers.told.open == MANY)
        click()
        until(lambda: followers.told.least >= clicks)
    summary = followers.summary()
    assert summary["clicks"] == {clicks: MANY}
    assert (summary["twice"], summary["missed"]) == ({0: MANY}, {0: MANY})
    assert set(summary["ends"]) == {"end", "1012"}


def ask(app: App, method: str, path: str, token: str = "", body: bytes | None = None) -> int:
    host, _, port = app.public.partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    connection.request(method, path, body, headers)
    status = connection.getresponse().status
    connection.close()
    return status
