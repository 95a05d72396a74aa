"""Every setting with every kind of odd value: it works, or a sentence names it. Never a stack trace, never a secret."""

import json

import pytest

from keel.settings import PREFIX, ConfigurationError
from tests.kit.subject import SERVICE, Settings

# Of settings whose default is none, or says too little.
SAMPLES = {
    "secrets_dir": "/nowhere",
    "host": "127.0.0.2",
    "management_host": "127.0.0.3",
    "public_url": "https://probe.example.com",
    "trusted_hosts": "probe.example.com,*.example.org",
    "trusted_proxies": "10.0.0.0/8,192.0.2.1",
    "cors_origins": "https://app.example.com",
    "cors_headers": "sentry-trace,baggage",
    "database_url": "postgresql://things:secret@db/things",
    "valkey_url": "valkey://:secret@valkey:6379/0",
    "jwt_issuer": "https://issuer.example.com",
    "jwt_scope_map": '{"editors": "things:write"}',
    "jwks_file": "/keys/jwks.json",
    "jwks_url": "https://issuer.example.com/jwks.json",
    "otlp_endpoint": "http://collector:4318",
    "service_name": "things",
}
ODD = {
    "empty": "",
    "a blank": " ",
    "a line feed within": "a\nb",
    "a tab within": "a\tb",
    "an escape within": "a\x1bb",
    "another script": "ссылки.example",
    "a URL of another script": "https://ссылки.example",
    "upper case": "HTTPS://PROBE.EXAMPLE.COM",
    "no URL": "://",
    "a port that is none": "https://probe.example.com:99999",
    "a comma": ",",
    "no host": "not a host",
    "huge": "a" * 100_000,
    "a huge number": "9" * 400,
    "not a number": "nan",
    "infinite": "inf",
    "negative": "-1",
    "JSON": '{"a": [1]}',
    "a URL with secrets": "https://user:hunter2@host.example/path?key=hunter3",
    "a password that is not encoded": "postgresql://user:hun/ter2@hunter3@host/things",
}


def sample(name: str) -> str:
    return SAMPLES.get(name) or str(Settings.model_fields[name].get_default(call_default_factory=True)) or "a"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_what_is_around_a_value_is_no_part_of_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the line feed at the end of a block in YAML."""
    variable = PREFIX + name.upper()
    monkeypatch.setenv(variable, sample(name))
    expected = Settings.load()
    monkeypatch.setenv(variable, f"\t {sample(name)} \n")
    assert Settings.load() == expected


def said() -> list[str]:
    """The sentences of the mistakes; without any, what is shown of each setting."""
    try:
        settings = Settings.load()
        SERVICE.build(settings)
    except ConfigurationError as error:
        return list(error.problems)
    return [f"{name}: {json.dumps(value)}" for name, value in settings.effective().items()]


@pytest.mark.parametrize("value", ODD.values(), ids=ODD.keys())
@pytest.mark.parametrize("name", Settings.model_fields)
def test_an_odd_value_works_or_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variable = PREFIX + name.upper()
    monkeypatch.setenv(variable, value)
    lines = said()
    assert all(line.startswith(PREFIX) and line.isprintable() and len(line) < 1000 for line in lines)
    assert any(line.startswith(f"{variable}: ") for line in lines)
    assert "hunter" not in "".join(lines)
