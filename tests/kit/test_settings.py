import os
from pathlib import Path
from typing import ClassVar

import pytest

from keel.settings import ConfigurationError
from keel.settings.reference import reference
from tests.kit.subject import SERVICE, Settings


def load(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return Settings.load()


def mistakes(monkeypatch: pytest.MonkeyPatch, **variables: str) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as raised:
        load(monkeypatch, **variables)
    return raised.value.problems


def test_needs_nothing_at_all() -> None:
    settings = Settings.load()
    assert (settings.environment, settings.host, settings.port) == ("local", "127.0.0.1", 8000)
    assert settings.dialect.is_file


def test_management_listens_where_the_public_port_does(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, APP_HOST="0.0.0.0").management_host == "0.0.0.0"  # noqa: S104
    assert load(monkeypatch, APP_MANAGEMENT_HOST="127.0.0.2").management_host == "127.0.0.2"


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, APP_PORT="").port == 8000


def test_log_level_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, APP_LOG_LEVEL="WARNING").log_level == "warning"


def test_the_public_address_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, APP_PUBLIC_URL="HTTPS://Probe.Example.com/").public_url == "https://probe.example.com"


@pytest.mark.parametrize(
    ("given", "driver"),
    [
        ("postgresql://u:p@db/things", "postgresql+asyncpg"),
        ("postgres://u:p@db/things", "postgresql+asyncpg"),
        ("postgresql+asyncpg://u:p@db/things", "postgresql+asyncpg"),
        ("sqlite:///x.db", "sqlite+aiosqlite"),
        ("sqlite+aiosqlite:////tmp/x.db", "sqlite+aiosqlite"),
    ],
)
def test_database_url_gets_the_async_driver(monkeypatch: pytest.MonkeyPatch, given: str, driver: str) -> None:
    database = load(monkeypatch, APP_DATABASE_URL=given).database
    assert database.drivername == driver
    assert database.password in ("p", None)


def test_sslmode_is_translated_for_asyncpg(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, APP_DATABASE_URL="postgresql://u@db/things?sslmode=verify-full")
    assert settings.database.query == {"ssl": "verify-full"}


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("APP_PORT", "http", "APP_PORT: must be a valid integer"),
        ("APP_PORT", "65536", "APP_PORT: must be less than or equal to 65535 (it is '65536')"),
        ("APP_MANAGEMENT_PORT", "8000", "APP_MANAGEMENT_PORT: must differ from APP_PORT, which is 8000 too"),
        ("APP_ENVIRONMENT", "prod", "APP_ENVIRONMENT: must be 'local', 'staging' or 'production'"),
        ("APP_PUBLIC_URL", "probe.example.com", "APP_PUBLIC_URL: must be an http or https URL"),
        ("APP_PUBLIC_URL", "https://", "APP_PUBLIC_URL: must be an http or https URL"),
        ("APP_PUBLIC_URL", "https://a:x", "APP_PUBLIC_URL: must be an http or https URL"),
        ("APP_PUBLIC_URL", "https://example.com/l", "APP_PUBLIC_URL: must be only scheme, host and port"),
        ("APP_PUBLIC_URL", "https://me@example.com", "APP_PUBLIC_URL: must be only scheme, host and port"),
        ("APP_PUBLIC_URL", "https://bücher.example", "ASCII, as clients send it: xn--bcher-kva.example"),
        ("APP_TRUSTED_HOSTS", "10.0.0.256", "APP_TRUSTED_HOSTS: must name hosts such as api.example.com"),
        ("APP_OTLP_ENDPOINT", "collector:4318", "APP_OTLP_ENDPOINT: must be a URL such as http://collector:4318"),
        ("APP_DATABASE_URL", "things", "APP_DATABASE_URL: must be a URL such as"),
        (
            "APP_DATABASE_URL",
            "mysql://u@db/things",
            "APP_DATABASE_URL: must begin with postgresql:// or",
        ),
        ("APP_DATABASE_URL", "postgresql://db", "APP_DATABASE_URL: must name a host and a database"),
        ("APP_DATABASE_URL", "postgresql://db/things?x=1", "unknown parameters (x): only sslmode and host are"),
        ("APP_DATABASE_URL", "sqlite://", "APP_DATABASE_URL: must name a file"),
        ("APP_DATABASE_URL", "sqlite:///:memory:", "APP_DATABASE_URL: must name a file"),
        ("APP_FAULTS_ENABLED", "maybe", "APP_FAULTS_ENABLED: must be true or false (it is 'maybe')"),
        ("APP_DRAIN_TIMEOUT_SECONDS", "-1", "APP_DRAIN_TIMEOUT_SECONDS: must be greater than or equal to 0"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str) -> None:
    (problem,) = mistakes(monkeypatch, **{name: value})
    assert sentence in problem


def test_every_mistake_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    problems = mistakes(monkeypatch, APP_ENVIRONMENT="production", APP_PORT="x", APP_LOG_FORMAT="xml")
    named = {problem.partition(":")[0] for problem in problems}
    assert named == {"APP_PORT", "APP_LOG_FORMAT", "APP_DATABASE_URL", "APP_JWT_ISSUER", "APP_JWKS_URL"}


@pytest.mark.parametrize(("environment", "refused"), [("production", True), ("staging", False), ("local", False)])
def test_faults_cannot_be_had_in_production(monkeypatch: pytest.MonkeyPatch, environment: str, refused: bool) -> None:
    variables = {"APP_ENVIRONMENT": environment, "APP_JWT_ISSUER": "https://i.example", "APP_JWKS_FILE": "/keys"}
    variables |= {"APP_DATABASE_URL": "postgresql://db/things", "APP_FAULTS_ENABLED": "true"}
    if not refused:
        assert load(monkeypatch, **variables).faults_enabled
        return
    (problem,) = mistakes(monkeypatch, **variables)
    assert problem.startswith("APP_FAULTS_ENABLED: must not be on in production")


def test_a_secret_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    problems = mistakes(monkeypatch, APP_DATABASE_URL="postgresql://u:hunter2@/things?password=hunter3")
    assert "hunter" not in "".join(problems)


def test_staging_needs_issuer_and_keys_but_may_use_sqlite(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, APP_ENVIRONMENT="staging", APP_JWT_ISSUER="https://i.example", APP_JWKS_FILE="/keys")
    assert settings.dialect.is_file


class TestSecretFiles:
    @pytest.fixture
    def directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        directory = tmp_path / "secrets"
        directory.mkdir()
        monkeypatch.setenv("APP_SECRETS_DIR", str(directory))
        return directory

    def test_named_like_the_variable(self, directory: Path) -> None:
        (directory / "app_database_url").write_text("postgresql://u:p@db/things\n")
        assert Settings.load().database.host == "db"

    def test_the_environment_wins(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (directory / "app_database_url").write_text("postgresql://u:p@file/things")
        assert load(monkeypatch, APP_DATABASE_URL="postgresql://u:p@env/things").database.host == "env"

    def test_as_kubernetes_mounts_them(self, directory: Path) -> None:
        version = directory / "..2026_01_01"
        version.mkdir()
        (version / "app_jwt_issuer").write_text("https://issuer.example")
        (directory / "..data").symlink_to(version.name)
        (directory / "app_jwt_issuer").symlink_to("..data/app_jwt_issuer")
        assert Settings.load().jwt_issuer == "https://issuer.example"

    def test_an_absent_directory_is_fine(self, directory: Path) -> None:
        directory.rmdir()
        assert Settings.load().port == 8000

    def test_a_link_out_of_it_is_told(self, directory: Path, tmp_path: Path) -> None:
        """pydantic-settings 2.16 warns on standard error and takes the default: in staging an empty SQLite."""
        (tmp_path / "elsewhere").write_text("postgresql://things@db/things")
        (directory / "app_database_url").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(ConfigurationError, match=r'^APP_SECRETS_DIR: .*app_database_url" but it resolves outside'):
            Settings.load()

    def test_a_directory_in_the_place_of_a_file_is_told(self, directory: Path) -> None:
        (directory / "app_database_url").mkdir()
        with pytest.raises(ConfigurationError, match=r'^APP_SECRETS_DIR: .*app_database_url" but found a directory'):
            Settings.load()

    def test_an_unreadable_file_is_told(self, directory: Path) -> None:
        (directory / "app_jwt_issuer").write_bytes(b"\xff\xfe\xff")
        with pytest.raises(ConfigurationError, match="APP_SECRETS_DIR: a secret file cannot be read"):
            Settings.load()


def test_effective_settings_mask_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    effective = load(monkeypatch, APP_DATABASE_URL="postgresql://u:hunter2@db/things").effective()
    assert effective["APP_DATABASE_URL"] == "postgresql+asyncpg://u:***@db/things"
    assert effective["APP_PORT"] == 8000


def test_repr_hides_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "hunter2" not in repr(load(monkeypatch, APP_DATABASE_URL="postgresql://u:hunter2@db/things"))


def test_unknown_variables_with_what_they_resemble() -> None:
    environ = {"APP_JWT_ISUER": "x", "APP_QUUX": "x", "APP_PORT": "1", "PROBE_COUNT_SECOND": "x", "HOME": "/"}
    found = {"APP_JWT_ISUER": "APP_JWT_ISSUER", "APP_QUUX": None, "PROBE_COUNT_SECOND": "PROBE_COUNT_SECONDS"}
    assert SERVICE.unknown_variables(environ) == found


def test_the_development_key_is_in_the_users_state_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert Settings().dev_key_file == Path("/home/me/.local/state/probe/dev-key.json")


def test_a_user_without_a_home_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    assert Settings().dev_key_file == Path("dev-key.json")


def test_every_field_is_described() -> None:
    reference(SERVICE.settings_classes)  # raises KeyError for one that is not


class TestLists:
    def test_proxies(self, monkeypatch: pytest.MonkeyPatch) -> None:
        good = "10.0.0.0/8, 192.0.2.7,2001:DB8::/32"
        assert load(monkeypatch, APP_TRUSTED_PROXIES=good).trusted_proxies == "10.0.0.0/8,192.0.2.7,2001:db8::/32"
        assert load(monkeypatch, APP_TRUSTED_PROXIES="*").trusted_proxies == "*"

    @pytest.mark.parametrize(
        ("given", "hint"),
        [
            ("127.0.0.1/8", "did you mean 127.0.0.0/8?"),
            ("10.0.0.0/8,proxy.example.com", "'proxy.example.com'"),
            ("10.0.0.0/33", "'10.0.0.0/33'"),
            ("10.0.0.1,*", "'*'"),
        ],
    )
    def test_what_uvicorn_would_trust_nobody_by(self, monkeypatch: pytest.MonkeyPatch, given: str, hint: str) -> None:
        """uvicorn 0.54 takes what is no address for the name of a Unix socket, and says nothing."""
        (problem,) = mistakes(monkeypatch, APP_TRUSTED_PROXIES=given)
        assert problem.startswith("APP_TRUSTED_PROXIES: must name addresses or networks such as 10.0.0.1")
        assert hint in problem

    def test_headers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert load(monkeypatch, APP_CORS_HEADERS="Sentry-Trace, x-a").cors_headers == "sentry-trace,x-a"
        (problem,) = mistakes(monkeypatch, APP_CORS_HEADERS="sentry-trace: 1")
        assert problem.startswith("APP_CORS_HEADERS: must name headers such as sentry-trace: 'sentry-trace: 1'")


class TestWhereKeysComeFrom:
    DEPLOYED: ClassVar = {"APP_ENVIRONMENT": "staging", "APP_JWT_ISSUER": "https://issuer.example.com"}
    URL = "https://issuer.example.com/keys?p=policy"

    @pytest.mark.parametrize("chosen", [{"APP_JWKS_URL": URL}, {"APP_JWKS_FILE": "/keys.json"}])
    def test_one_of_them_is_needed(self, monkeypatch: pytest.MonkeyPatch, chosen: dict[str, str]) -> None:
        load(monkeypatch, **self.DEPLOYED, **chosen)

    def test_none_is_not_enough(self, monkeypatch: pytest.MonkeyPatch) -> None:
        (problem,) = mistakes(monkeypatch, **self.DEPLOYED)
        assert problem.startswith(
            "APP_JWKS_URL: must lead to your identity provider's keys outside local, or APP_JWKS_FILE"
        )

    def test_both_are_too_many(self, monkeypatch: pytest.MonkeyPatch) -> None:
        (problem,) = mistakes(monkeypatch, APP_JWKS_URL=self.URL, APP_JWKS_FILE="/keys.json")
        assert problem == "APP_JWKS_URL: must not be set beside APP_JWKS_FILE: choose one of them"

    def test_locally_neither_is_needed_and_http_will_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert load(monkeypatch).jwks_url is None
        assert load(monkeypatch, APP_JWKS_URL="http://localhost:8080/keys").jwks_url == "http://localhost:8080/keys"

    @pytest.mark.parametrize(
        ("url", "sentence"),
        [
            ("issuer.example.com/keys", "must be a URL such as"),
            ("https://", "must be a URL such as"),
            ("https://[::1", "must be a URL such as"),
            ("https://i.example:0/", "must be a URL such as"),
            ("https://i.example:x/", "must be a URL such as"),
            ("https://i.example/#keys", "must be a URL such as"),
            ("https://i.example/a b", "must be a URL such as"),
            ("https://i.example/\u00e9", "must be a URL such as"),
            ("https://i.example/\x7f", "must not contain line feeds, tabs"),
            ("https://me:hunter2@i.example/", "must contain no user or password"),
            ("http://i.example/keys", "must begin with https://"),
            ("file:///etc/keys", "must be a URL such as"),
            ("file://host/etc/keys", "must begin with https://"),
        ],
    )
    def test_another_address_is_refused(self, monkeypatch: pytest.MonkeyPatch, url: str, sentence: str) -> None:
        (problem,) = mistakes(monkeypatch, **self.DEPLOYED, APP_JWKS_URL=url)
        assert problem.startswith(f"APP_JWKS_URL: {sentence}")
        assert "hunter2" not in problem


class TestDiscovery:
    DEPLOYED: ClassVar = {"APP_ENVIRONMENT": "staging", "APP_JWKS_DISCOVERY": "true"}

    def test_it_is_a_source_of_keys(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert load(monkeypatch, **self.DEPLOYED, APP_JWT_ISSUER="https://id.example.com/").jwks_discovery
        assert not load(monkeypatch, APP_ENVIRONMENT="local", APP_JWKS_DISCOVERY="").jwks_discovery

    def test_locally_http_will_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert load(monkeypatch, APP_JWKS_DISCOVERY="true", APP_JWT_ISSUER="http://localhost:8080/a").jwks_discovery

    @pytest.mark.parametrize(
        ("other", "problem"),
        [
            ({"APP_JWKS_FILE": "/keys.json"}, "APP_JWKS_DISCOVERY: must not be on beside APP_JWKS_FILE: choose one"),
            ({"APP_JWKS_URL": "https://i.example"}, "APP_JWKS_URL: must not be set beside APP_JWKS_DISCOVERY: choose"),
        ],
    )
    def test_two_sources_are_too_many(
        self, monkeypatch: pytest.MonkeyPatch, other: dict[str, str], problem: str
    ) -> None:
        (found,) = mistakes(monkeypatch, **self.DEPLOYED, APP_JWT_ISSUER="https://id.example.com", **other)
        assert found.startswith(problem)

    @pytest.mark.parametrize(
        ("issuer", "sentence"),
        [
            ("things", "must be a URL such as https://issuer.example.com"),
            ("http://id.example.com", "must begin with https://, as in https://issuer.example.com"),
            ("https://id.example.com/?realm=a", "must have neither ? nor #"),
            ("https://id.example.com/#a", "must have neither ? nor #"),
            ("https://me:you@id.example.com", "must contain no user or password"),
        ],
    )
    def test_the_issuer_must_be_an_address(self, monkeypatch: pytest.MonkeyPatch, issuer: str, sentence: str) -> None:
        (problem,) = mistakes(monkeypatch, **self.DEPLOYED, APP_JWT_ISSUER=issuer)
        assert problem.startswith(f"APP_JWKS_DISCOVERY: needs another APP_JWT_ISSUER, which {sentence}")

    def test_each_mistake_is_told_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        (problem,) = mistakes(monkeypatch, **self.DEPLOYED)
        assert problem.startswith("APP_JWT_ISSUER: must name your identity provider")
        issuer = {"APP_ENVIRONMENT": "staging", "APP_JWT_ISSUER": "https://id.example.com"}
        (problem,) = mistakes(monkeypatch, **issuer, APP_JWKS_DISCOVERY="maybe")
        assert problem.startswith("APP_JWKS_DISCOVERY: must be true or false")


@pytest.mark.parametrize(
    ("name", "given", "sentence"),
    [
        ("APP_JWT_AUDIENCE_CLAIM", "iss", "must be 'aud', 'client_id' or 'azp' (it is 'iss')"),
        ("APP_JWT_SCOPE_CLAIM", "realm_access.roles", "must be /realm_access/roles for a path, or"),
        ("APP_JWT_SCOPE_MAP", "editors", "must be a JSON object of values and their scopes, such as"),
        ("APP_JWT_ALGORITHMS", "HS256", "must be some of RS256, RS384, RS512, PS256"),
        ("APP_JWT_ALGORITHMS", "RS256,none", "must be some of RS256, RS384, RS512, PS256"),
        ("APP_JWT_ALGORITHMS", "rs256", "must be some of RS256, RS384, RS512, PS256"),
        ("APP_JWT_ALGORITHMS", ",", "must be some of RS256, RS384, RS512, PS256"),
    ],
)
def test_mistakes_about_tokens(monkeypatch: pytest.MonkeyPatch, name: str, given: str, sentence: str) -> None:
    (problem,) = mistakes(monkeypatch, **{name: given})
    assert problem.startswith(f"{name}: {sentence}")
    assert problem.endswith(f"(it is {given!r})")


def test_algorithms_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, APP_JWT_ALGORITHMS="ES256, EdDSA,ES256").jwt_algorithms == "ES256,EdDSA"
    assert "HS" not in load(monkeypatch, APP_JWT_ALGORITHMS="").jwt_algorithms
