import pytest

from keel.settings import ConfigurationError
from keel.settings.origins import parse_hosts, parse_origins
from tests.kit.subject import Settings


def test_hosts() -> None:
    assert parse_hosts("") == []
    assert parse_hosts(" Probe.example.com,*.example.org, [::1],127.0.0.1 ,, *") == [
        *("probe.example.com", "*.example.org", "[::1]", "127.0.0.1", "*")
    ]


@pytest.mark.parametrize("text", ["https://example.com", "example.com:8000", "a b", "example.*", "::1", "a/b", "."])
def test_what_is_no_host(text: str) -> None:
    with pytest.raises(ValueError, match="must name hosts such as"):
        parse_hosts(f"good.example.com,{text}")


def test_origins() -> None:
    assert parse_origins("", any_allowed=False) == []
    assert parse_origins("https://App.example.com, http://localhost:3000,http://[::1]:3000", any_allowed=False) == [
        *("https://app.example.com", "http://localhost:3000", "http://[::1]:3000")
    ]
    assert parse_origins("*", any_allowed=True) == ["*"]


@pytest.mark.parametrize(
    "text",
    [
        *("app.example.com", "https://app.example.com/", "https://app.example.com/path", "https://", "null"),
        *("https://user@app.example.com", "https://*.example.com", "https://app.example.com:443", "http://a:x"),
        *("http://app.example.com:80", "ftp://app.example.com", "https://app.example.com?x", "https://[::1"),
    ],
)
def test_what_is_no_origin(text: str) -> None:
    with pytest.raises(ValueError, match="must name origins such as"):
        parse_origins(text, any_allowed=True)


def test_settings_say_which_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_TRUSTED_HOSTS", "https://x")
    monkeypatch.setenv("APP_CORS_ORIGINS", "x")
    with pytest.raises(ConfigurationError) as raised:
        Settings.load()
    hosts, origins = raised.value.problems
    assert hosts.startswith("APP_TRUSTED_HOSTS: must name hosts")
    assert origins.startswith("APP_CORS_ORIGINS: must name origins")


def test_every_origin_only_locally(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_CORS_ORIGINS", "*")
    assert Settings.load().cors_origins == "*"
    monkeypatch.setenv("APP_ENVIRONMENT", "staging")
    with pytest.raises(ConfigurationError, match="APP_CORS_ORIGINS: must name the origins outside environment local"):
        Settings.load()
