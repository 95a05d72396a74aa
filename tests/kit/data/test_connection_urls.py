from pathlib import Path

import pytest

from keel import dialects
from keel.settings import ConfigurationError
from keel.settings.connection_urls import parse_database_url, parse_valkey_url
from tests.kit.subject import Settings


@pytest.mark.parametrize(
    "url",
    [
        "valkey://cache",
        "valkey://:secret@cache:6380/1",
        "valkeys://user:p%40ss@[::1]:6379/",
        "valkey://:a,b@cache/0",
        "redis://cache/0",
        "rediss://cache?ssl_ca_certs=/etc/ssl/ca.crt",
    ],
)
def test_valkey_urls(url: str) -> None:
    assert parse_valkey_url(url) == url


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://:hunter2@cache", "must begin with valkey://, or valkeys:// for TLS"),
        ("hunter2", "must begin with valkey://"),
        ("valkey://:p@hunter2@cache/0", "has an @ in its user or password: percent-encode it, as %40"),
        ("valkey://:hunter2@/0", "must name a host"),
        ("valkey://:hunter2@cache:99999/0", "must be a URL such as valkey://"),
        ("valkey://:hunter2/@cache/0", "must be a URL such as valkey://"),
        ("valkey://:hunter2@cache:0", "must be a URL such as valkey://"),
        ("valkey://:hunter2@cache/things", "must end in the number of a database"),
        ("valkey://:hunter2@cache/-1", "must end in the number of a database"),
        ("valkey://:hunter2@one:26379,two:26379/0", "must name one server, the primary"),
        ("redis+sentinel://:hunter2@cache:26379/primary", "must name one server, the primary"),
        ("valkey://cache?password=hunter2", r"unknown parameters \(password\): only ssl_ca_certs is supported"),
        ("valkey://cache?db=1&timeout=", r"unknown parameters \(db, timeout\)"),
    ],
)
def test_other_urls_are_refused_without_showing_them(url: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as raised:
        parse_valkey_url(url)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("postgres://things:p%40ss@db/things", "postgresql+asyncpg://things:p%40ss@db/things"),
        ("postgresql://db/things?sslmode=verify-full ", "postgresql+asyncpg://db/things?ssl=verify-full"),
        (
            "postgresql://u:p@/things?host=/cloudsql/a:b:c",
            "postgresql+asyncpg://u:p@/things?host=%2Fcloudsql%2Fa%3Ab%3Ac",
        ),
    ],
)
def test_database_urls(url: str, meant: str) -> None:
    assert parse_database_url(url).render_as_string(hide_password=False) == meant


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mysql://things:hunter2@db/things", "must begin with postgresql:// or sqlite://"),
        ("postgresql+psycopg://things:hunter2@db/things", "must begin with postgresql:// or sqlite://"),
        ("postgresql://things:p@hunter2@db/things", "has an @ in its user or password: percent-encode it, as %40"),
        ("postgresql://things:hunter2@one,two/things", "must name one host, that of the primary"),
        (
            "postgresql://things:hunter2@db/things?sslmode=required",
            "it must be one of disable, allow, prefer, requ",
        ),
        ("postgresql://db/things?channel_binding=require", "channel_binding: leave it out"),
        (
            "postgresql://db/things?connect_timeout=3&x=1",
            r"\(connect_timeout: set APP_DATABASE_CONN.*; x\): only sslmode",
        ),
        ("postgresql://db/things?host=/tmp", "must name a host, or with .host= the directory of a Unix socket"),
        ("postgresql:///things?host=db", "must name a host, or with .host= the directory of a Unix socket"),
        ("postgresql:///things", "must name a host and a database"),
    ],
)
def test_other_database_urls_are_refused_without_showing_them(url: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as raised:
        parse_database_url(url)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "variable", "demanded"),
    [
        ("postgresql://db/things", "", False),
        ("postgresql://db/things?sslmode=prefer", "", False),
        ("postgresql://db/things?sslmode=disable", "require", False),
        ("postgresql://db/things", "verify-full", True),
        ("postgresql://db/things?sslmode=require", "", True),
        ("postgresql://db/things?sslmode=verify-full", "", True),
        ("postgresql:///things?host=/cloudsql/a", "", True),
        ("sqlite:///things.db", "", True),
    ],
)
def test_whether_tls_is_demanded(monkeypatch: pytest.MonkeyPatch, url: str, variable: str, demanded: bool) -> None:
    monkeypatch.setenv("PGSSLMODE", variable)
    parsed = parse_database_url(url)
    assert dialects.of(parsed).demands_tls(parsed) is demanded


def test_the_setting_is_checked_and_its_password_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_VALKEY_URL", "valkey://:hunter2@/0")
    with pytest.raises(ConfigurationError, match=r"^APP_VALKEY_URL: must name a host") as raised:
        Settings.load()
    assert "hunter2" not in str(raised.value)


def test_which_file_a_secret_is_read_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("APP_SECRETS_DIR", str(tmp_path))
    assert Settings.load().secret_file("valkey_url") is None
    file = tmp_path / "app_valkey_url"
    file.write_text("valkey://cache")
    settings = Settings.load()
    assert settings.secret_file("valkey_url") == file
    assert settings.valkey_url
    assert settings.valkey_url.get_secret_value() == "valkey://cache"
    file.rename(tmp_path / "APP_VALKEY_URL")  # found like this, too: pydantic-settings 2.16 ignores the case
    assert Settings.load().secret_file("valkey_url") == tmp_path / "APP_VALKEY_URL"
    monkeypatch.setenv("APP_VALKEY_URL", "valkey://other")
    assert Settings.load().secret_file("valkey_url") is None
