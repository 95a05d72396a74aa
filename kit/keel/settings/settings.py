"""The kit's own settings: environment variables with the prefix APP_."""

import contextlib
import os
from pathlib import Path
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import SecretsSettingsSource, SettingsConfigDict
from sqlalchemy.engine import URL, make_url

from keel import dialects
from keel.product import Product
from keel.settings import algorithms, claims
from keel.settings.base import DEFAULT_SECRETS_DIR, OwnSettings, Port, Seconds
from keel.settings.connection_urls import parse_database_url, parse_valkey_url
from keel.settings.issuer_urls import EXAMPLE_ISSUER, parse_issuer, parse_url
from keel.settings.origins import parse_headers, parse_hosts, parse_networks, parse_origins

PREFIX = "APP_"
# Defaults that contain the service's name.
DEVELOPMENT_ISSUER = "{name}-dev"
DATABASE_URL = "sqlite+aiosqlite:///./{name}.db"


def default_dev_key_file(name: str) -> Path:
    """The file of the key of development tokens: in the user's state folder, so that it lasts between runs."""
    state = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state")
    with contextlib.suppress(RuntimeError):  # a user without a home, as in a container
        return state.expanduser() / name / "dev-key.json"
    return Path("dev-key.json")


class Settings(OwnSettings):
    """The settings of any service; `settings_of` derives a service's own class, with its name in the defaults."""

    # Built only where it is used itself: a service uses its own class.
    model_config = SettingsConfigDict(env_prefix=PREFIX, defer_build=True)
    product: ClassVar[Product] = Product()
    several_lines = ("jwt_scope_map",)
    never_shown = ("jwks_url",)  # it may contain a password by mistake

    secrets_dir: Path = DEFAULT_SECRETS_DIR
    """Directory of secret files; it need not exist."""
    environment: Literal["local", "staging", "production"] = "local"
    """Where the service runs. Outside local, the issuer and its keys must be set."""
    service_name: str = Field(default_factory=lambda: os.environ.get("OTEL_SERVICE_NAME") or "service", min_length=1)
    """Name of the service in logs and traces. OTEL_SERVICE_NAME works too."""

    host: str = "127.0.0.1"
    """Address that the public port listens on."""
    port: Port = 8000
    """Public port; 0 takes a free one."""
    management_host: str = ""
    """Address that the management port listens on; APP_HOST if not set."""
    management_port: Port = 9000
    """Port of probes and metrics; 0 takes a free one."""
    public_url: str = "http://127.0.0.1:8000"
    """Address at which clients reach the service; the base of the URLs in responses."""
    trusted_hosts: str = ""
    """Host names that the service answers to besides that of APP_PUBLIC_URL, comma-separated; * for any. In environment
    local, localhost too."""
    trusted_proxies: str = "127.0.0.1"
    """Addresses or networks of proxies, comma-separated, whose X-Forwarded-For and X-Forwarded-Proto are trusted; * for
    any."""
    cors_origins: str = ""
    """Origins whose pages may call the API, comma-separated, such as https://app.example.com; none if empty."""
    cors_headers: str = ""
    """Headers that these pages may send besides those of the API and of W3C traces, such as sentry-trace,
    comma-separated."""
    docs: Literal["auto", "on", "off"] = "auto"
    """Whether to serve /docs and the OpenAPI document. auto: everywhere but in production."""
    keep_alive_seconds: int = Field(default=100, ge=1, le=3600)
    """How long an idle connection stays open. Must be longer than the ingress keeps it (Traefik: 90)."""
    max_body_bytes: int = Field(default=65536, ge=1024)
    """Largest request body. A route may have limits of its own: docs/limits.md."""
    max_head_bytes: int = Field(default=16384, ge=1024)
    """Largest request line and headers together."""
    head_timeout_seconds: Seconds = 10
    """Longest time for a client to send the request line and headers."""
    request_timeout_seconds: Seconds = 30
    """Longest time of a request, from its headers to its response. A route may have its own: docs/limits.md. A streamed
    answer may go on after its beginning, but not pause for so long."""
    max_concurrent_requests: int = Field(default=1000, ge=1)
    """Most requests that are answered at the same time; more get a 503. Requests whose bodies have not arrived do not
    count."""
    max_connections: int = Field(default=2000, ge=1)
    """Most connections that clients may have open at the same time; more wait to be accepted."""
    max_streams: int = Field(default=500, ge=0)
    """Most streamed answers at the same time; more get a 503. See docs/streams.md."""
    max_websockets: int = Field(default=500, ge=0)
    """Most WebSockets at the same time; more get a 503."""
    websocket_max_bytes: int = Field(default=65536, ge=1)
    """Largest message of a client on a WebSocket, which is closed with 1009 after a larger one."""
    websocket_idle_seconds: Seconds = 600
    """How long a WebSocket may be without a message, of either side, before it is closed with 1001."""

    rate_limit_address_per_minute: int = Field(default=1200, ge=0)
    """Requests per minute without a valid token, for each address (IPv6: /64 network); 0 for no limit."""
    rate_limit_token_per_minute: int = Field(default=600, ge=0)
    """Requests per minute for each subject of a valid token; 0 for no limit."""
    rate_limit_sync_seconds: Seconds = 0.5
    """How often processes share their counts through Valkey."""

    database_url: SecretStr = SecretStr(DATABASE_URL.format(name="service"))
    """postgresql://user:password@host/name or sqlite:///file."""
    database_pooler: Literal["none", "transaction"] = "none"
    """transaction: the database is behind PgBouncer, or a similar pooler, in transaction mode. See docs/poolers.md."""
    database_pool_size: int = Field(default=5, ge=1, le=100)
    """Connections that are kept open."""
    database_pool_overflow: int = Field(default=5, ge=0, le=100)
    """More connections that may be opened under load."""
    database_pool_timeout_seconds: Seconds = 3
    """Longest wait for a free connection."""
    database_connect_timeout_seconds: Seconds = 3
    """Longest wait for a new connection."""
    database_statement_timeout_seconds: Seconds = 5
    """Longest time of a statement."""
    tasks_at_once: int = Field(default=4, ge=0, le=100)
    """Most tasks that this process runs at the same time; 0 for none, when other processes run them."""
    tasks_poll_seconds: Seconds = 0.5
    """How often the queue is asked for tasks while it is empty."""
    tasks_lease_seconds: float = Field(default=30, ge=3, le=3600)
    """When a task is taken by another process because its own has not been heard of."""
    cache_seconds: float = Field(default=5, ge=0, le=3600)
    """How long a cached answer in memory is fresh, and so how old it can be; 0 keeps nothing in memory."""
    cache_shared_seconds: Seconds = 60
    """How long a cached answer in Valkey is fresh. An answer can be that old if Valkey was not notified of a change."""
    cache_stale_seconds: float = Field(default=86400, ge=0, le=604800)
    """How long memory and Valkey keep a stale answer, to use it while the database is unavailable; 0 for not at all.
    docs/caches.md says how much memory that takes."""
    valkey_url: SecretStr | None = None
    """valkey://:password@host:6379/0, or valkeys:// for TLS. Without it, processes share nothing. docs/caches.md says
    which servers are supported."""
    valkey_timeout_seconds: Seconds = 0.25
    """Longest wait for Valkey. After that the service continues without it."""
    idempotency_hours: int = Field(default=24, ge=1, le=720)
    """How long the response to a request with an Idempotency-Key is stored."""
    migrate_wait_seconds: float = Field(default=60, ge=0, le=3600)
    """How long `migrate` waits for the database, and for another migration."""

    jwt_issuer: str = DEVELOPMENT_ISSUER.format(name="service")
    """The iss claim that a token must have. docs/identity-providers.md has these settings for each provider."""
    jwt_audience: str = "service"
    """The audience that a token must have."""
    jwt_audience_claim: Literal["aud", "client_id", "azp"] = "aud"
    """The claim with the audience. If it is not aud, a token must say that it is an access token."""
    jwt_scope_claim: str = claims.DEFAULT_CLAIMS
    """The claims with the scopes, comma-separated: names, or paths such as /realm_access/roles (RFC 6901). The first
    one that a token has is used."""
    jwt_scope_map: str = ""
    """The scopes of each value of that claim: a JSON object such as {"editors": "things:read things:write"}. Other
    values then give no scope. If empty, the values are the scopes."""
    jwt_algorithms: str = ",".join(algorithms.ALGORITHMS)
    """Algorithms that tokens may be signed with, comma-separated."""
    jwt_leeway_seconds: int = Field(default=30, ge=0, le=300)
    """Clock skew that is allowed for exp and nbf."""
    jwks_file: Path | None = None
    """File with the issuer's public keys, a JSON Web Key Set (RFC 7517). It is read again when it changes."""
    jwks_discovery: bool = False
    """Find the keys from the metadata of APP_JWT_ISSUER (OpenID Connect Discovery 1.0), instead of APP_JWKS_FILE."""
    jwks_url: str | None = None
    """Address of the issuer's JSON Web Key Set, instead of APP_JWKS_FILE."""
    jwks_refresh_seconds: Seconds = 300
    """How often the issuer's keys are fetched."""
    jwks_cooldown_seconds: Seconds = 10
    """Least time between two fetches of the issuer's keys, however many tokens name unknown keys."""
    jwks_timeout_seconds: Seconds = 3
    """Longest wait for the issuer's keys."""
    dev_key_file: Path = Field(default_factory=lambda: default_dev_key_file("service"))
    """File with the private key of development tokens. They are accepted in environment local without other keys."""

    check_interval_seconds: Seconds = 2
    """Pause between checks of the dependencies."""
    check_timeout_seconds: Seconds = 2
    """Longest time of a check of a dependency, after which it counts as failed."""
    drain_delay_seconds: float = Field(default=5, ge=0, le=600)
    """How long the service still accepts requests after SIGTERM, while it is not ready."""
    drain_timeout_seconds: float = Field(default=25, ge=0, le=3600)
    """How long requests in flight may take after that."""
    faults_enabled: bool = False
    """Let PUT /faults on the management port make requests slow or fail, to test alerts. Never in production."""

    otlp_endpoint: str = Field(default_factory=lambda: os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", ""))
    """OpenTelemetry collector for traces (OTLP over HTTP), such as http://collector:4318; no traces are sent if empty.
    OTEL_EXPORTER_OTLP_ENDPOINT and OpenTelemetry's other variables for traces work too. The log warns of those that
    have no effect."""
    trace_sample_ratio: float = Field(default=1, ge=0, le=1)
    """Share of traces that are recorded, if they begin here. A caller's decision is kept."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is logged."""
    log_format: Literal["auto", "json", "console"] = "auto"
    """auto: console on a terminal, JSON otherwise."""

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("management_host")
    @classmethod
    def _same_host(cls, value: str, info: ValidationInfo) -> str:
        return value or str(info.data.get("host", ""))

    @field_validator("management_port")
    @classmethod
    def _separate_port(cls, value: int, info: ValidationInfo) -> int:
        if value and value == info.data.get("port"):
            raise ValueError(f"must differ from APP_PORT, which is {value} too")
        return value

    @field_validator("public_url")
    @classmethod
    def _base_url(cls, value: str) -> str:
        try:
            url = urlsplit(value)
            port_is_valid = url.port is None or url.port > 0
        except ValueError:
            port_is_valid = False
        if not port_is_valid or url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError("must be an http or https URL such as https://api.example.com")
        if url.path not in ("", "/") or url.query or url.fragment or url.username is not None:
            raise ValueError("must be only scheme, host and port, such as https://api.example.com")
        host = url.hostname
        if not host.isascii():
            raise ValueError(f"must name its host in ASCII, as clients send it{_in_ascii(host)}")
        parse_hosts(f"[{host}]" if ":" in host else host)  # raises ValueError
        return f"{url.scheme}://{url.netloc.lower()}"

    @field_validator("trusted_hosts")
    @classmethod
    def _hosts(cls, value: str) -> str:
        return ",".join(parse_hosts(value))

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: str) -> str:
        return ",".join(parse_networks(value))

    @field_validator("otlp_endpoint")
    @classmethod
    def _collector(cls, value: str) -> str:
        # OpenTelemetry's own variable may be injected into every pod: a wrong value there must not stop the service.
        if value and value != os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
            try:
                url = urlsplit(value)
                is_valid = url.scheme in ("http", "https") and bool(url.hostname) and (url.port is None or url.port > 0)
            except ValueError:
                is_valid = False
            if not is_valid:
                raise ValueError("must be a URL such as http://collector:4318")
        return value

    @field_validator("cors_headers")
    @classmethod
    def _headers(cls, value: str) -> str:
        return ",".join(parse_headers(value))

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: str, info: ValidationInfo) -> str:
        return ",".join(parse_origins(value, any_allowed=not _deployed(info)))

    @field_validator("database_url")
    @classmethod
    def _async_driver(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        url = parse_database_url(value.get_secret_value())
        lasting = cls.product.has_database and info.data.get("environment") == "production"
        if lasting and (found := dialects.of(url)).is_file:
            servers = " or ".join(each.title for each in dialects.DIALECTS if not each.is_file)
            raise ValueError(f"must name a {servers} database in production: a pod's {found.title} file dies with it")
        return SecretStr(url.render_as_string(hide_password=False))

    @field_validator("faults_enabled")
    @classmethod
    def _no_faults_in_production(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("environment") == "production":
            raise ValueError("must not be on in production, where users would suffer the faults: leave it out")
        return value

    @field_validator("valkey_url")
    @classmethod
    def _valkey(cls, value: SecretStr | None) -> SecretStr | None:
        return value and SecretStr(parse_valkey_url(value.get_secret_value()))

    @field_validator("jwt_issuer")
    @classmethod
    def _real_issuer(cls, value: str, info: ValidationInfo) -> str:
        if cls.product.tokens and _deployed(info) and value == cls.model_fields["jwt_issuer"].default:
            raise ValueError("must name your identity provider outside environment local")
        return value

    @field_validator("jwt_scope_claim")
    @classmethod
    def _claims(cls, value: str) -> str:
        claims.parse_claims(value)
        return value

    @field_validator("jwt_scope_map")
    @classmethod
    def _meanings(cls, value: str) -> str:
        claims.parse_meanings(value)
        return value

    @field_validator("jwt_algorithms")
    @classmethod
    def _algorithms(cls, value: str) -> str:
        return ",".join(algorithms.parse_algorithms(value))

    @field_validator("jwks_discovery")
    @classmethod
    def _discoverable(cls, value: bool, info: ValidationInfo) -> bool:
        if value:
            if info.data.get("jwks_file") is not None:
                raise ValueError("must not be on beside APP_JWKS_FILE: choose one of them")
            try:
                parse_issuer(str(info.data.get("jwt_issuer", EXAMPLE_ISSUER)), https_only=_deployed(info))
            except ValueError as error:
                raise ValueError(f"needs another APP_JWT_ISSUER, which {error}") from None
        return value

    @field_validator("jwks_url")
    @classmethod
    def _one_source_of_keys(cls, value: str | None, info: ValidationInfo) -> str | None:
        file, discovery = info.data.get("jwks_file"), info.data.get("jwks_discovery")  # None if that is not valid
        if value is None:
            if cls.product.tokens and _deployed(info) and file is None and discovery is False:
                raise ValueError(
                    "must lead to your identity provider's keys outside local, or APP_JWKS_FILE or APP_JWKS_DISCOVERY"
                )
            return None
        for other, name in ((file is not None, "APP_JWKS_FILE"), (discovery, "APP_JWKS_DISCOVERY")):
            if other:
                raise ValueError(f"must not be set beside {name}: choose one of them")
        return parse_url(value, https_only=_deployed(info))

    @property
    def database(self) -> URL:
        """The parsed APP_DATABASE_URL."""
        return make_url(self.database_url.get_secret_value())

    @property
    def dialect(self) -> dialects.Dialect:
        """The kind of the database."""
        return dialects.of(self.database)

    def secret_file(self, name: str) -> Path | None:
        """The file in the secrets directory that the field `name` was read from; None if it was not read from one."""
        if os.environ.get(PREFIX + name.upper()) or not self.secrets_dir.is_dir():
            return None
        file = SecretsSettingsSource.find_case_path(self.secrets_dir, PREFIX + name, case_sensitive=False)
        return file if file and file.is_file() else None

    def effective(self) -> dict[str, object]:
        """Every variable with the value in force. Passwords are masked."""
        values = super().effective()
        values[self.variable("database_url")] = self.database.render_as_string(hide_password=True)
        if self.valkey_url:
            url = make_url(self.valkey_url.get_secret_value())
            values[self.variable("valkey_url")] = url.render_as_string(hide_password=True)
        return values


def settings_of(product: Product) -> type[Settings]:
    """The settings class of a service, with its name in the defaults."""
    name = product.name

    class Named(Settings):
        service_name: str = Field(default_factory=lambda: os.environ.get("OTEL_SERVICE_NAME") or name, min_length=1)
        database_url: SecretStr = SecretStr(DATABASE_URL.format(name=name))
        jwt_issuer: str = DEVELOPMENT_ISSUER.format(name=name)
        jwt_audience: str = name
        dev_key_file: Path = Field(default_factory=lambda: default_dev_key_file(name))

    Named.product = product
    return Named


def _deployed(info: ValidationInfo) -> bool:
    return bool(info.data.get("environment", "local") != "local")


def _in_ascii(host: str) -> str:
    try:
        return f": {host.encode('idna').decode()}"
    except UnicodeError:
        return ""
