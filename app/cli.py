"""Command line: python -m app [serve|migrate|config|metrics|openapi|token]."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import structlog

from app import __version__, happy_eyeballs, metrics_reference, server
from app.data import migrate
from app.data.connection_urls import demands_tls
from app.main import create_service, token_verifier
from app.observability import logs, otel_variables
from app.security import dev_token
from app.security.keys import KeyFile, KeyFileError
from app.security.tokens import InvalidTokenError
from app.settings import ConfigurationError, Settings, unknown_variables
from app.settings_reference import reference

FAILED, MISCONFIGURED = 1, 2
SCOPES = "links:read links:write"

log = structlog.get_logger("app.cli")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 1 if it failed, 2 if the configuration is wrong."""
    options = _parser().parse_args(arguments)
    # The first process of a container has no default handlers: without one, SIGTERM is ignored.
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code: int = options.run(Settings.load(), options)
        return code
    except ConfigurationError as error:
        print("The configuration is not valid:", *error.problems, sep="\n  ", file=sys.stderr)  # noqa: T201
        return MISCONFIGURED
    except (server.ServeError, migrate.MigrationError, KeyFileError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return FAILED
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m app",
        description="Shipshape, a link shortener. Configured by environment variables: see `config`.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.set_defaults(run=_serve)
    commands = parser.add_subparsers(metavar="command")

    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    command("serve", _serve, "Serve the public and the management port until SIGTERM (the default).")
    command("migrate", _migrate, "Bring the database's schema to the newest revision.")
    config = command("config", _config, "Print the settings in force as JSON, secrets masked.")
    config.add_argument("--reference", action="store_true", help="print what every variable means instead, as Markdown")
    command("metrics", _metrics, "Print what every metric means, as Markdown.")
    command("openapi", _openapi, "Print the OpenAPI schema of the public port.")
    token = command("token", _token, "Print a token for development, signed with this machine's own key.")
    token.add_argument("--scope", default=SCOPES, help=f'scopes, space separated (default: "{SCOPES}")')
    token.add_argument("--subject", default="dev", help="the sub claim (default: dev)")
    token.add_argument("--expires-in", type=int, default=3600, metavar="SECONDS", help="(default: 3600)")
    token.add_argument("--key", type=Path, metavar="FILE", help="private key (default: APP_DEV_KEY_FILE)")
    token.add_argument("--jwks", action="store_true", help="print the public keys instead, for APP_JWKS_FILE")
    return parser


def _serve(settings: Settings, _options: argparse.Namespace) -> int:
    logs.configure(settings)
    for name, meant in unknown_variables(os.environ).items():
        log.warning("unknown variable", name=name, meant=meant)
    for name, reason in otel_variables.without_effect(os.environ).items():
        log.warning("variable without effect", name=name, reason=reason)
    if settings.environment != "local" and not demands_tls(settings.database):
        log.warning("the database may be asked without TLS", remedy="add ?sslmode=verify-full to APP_DATABASE_URL")
    return happy_eyeballs.run(server.serve(settings))


def _migrate(settings: Settings, _options: argparse.Namespace) -> int:
    logs.configure(settings)
    happy_eyeballs.run(migrate.migrate(settings))
    log.info("the database is up to date")
    return 0


def _config(settings: Settings, options: argparse.Namespace) -> int:
    if options.reference:
        return _print(reference())
    return _print(json.dumps(settings.effective(), indent=2))


def _metrics(_settings: Settings, _options: argparse.Namespace) -> int:
    everything = Settings(**metrics_reference.EVERYTHING)
    return _print(metrics_reference.reference(create_service(everything).registry))


def _openapi(settings: Settings, _options: argparse.Namespace) -> int:
    return _print(json.dumps(create_service(settings).public.openapi(), indent=2))


def _token(settings: Settings, options: argparse.Namespace) -> int:
    if settings.environment == "production":
        raise ConfigurationError(
            "APP_ENVIRONMENT: is production, where development tokens are not to be had. "
            "Ask your identity provider for a token."
        )
    file = options.key or settings.dev_key_file
    key = dev_token.obtain_key(file)
    if options.jwks:
        return _print(dev_token.public_jwks(key))
    token = dev_token.mint(
        key,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        subject=options.subject,
        scope=options.scope,
        expires_in=options.expires_in,
    )
    keys = KeyFile(file, dev_token.parse_dev_key)
    keys.load()
    try:
        token_verifier(settings, keys).verify(token.encode())
    except InvalidTokenError as error:
        print(f"The service would refuse this token: {error.__cause__ or error}", file=sys.stderr)  # noqa: T201
        return FAILED
    return _print(token)


def _print(text: str) -> int:
    try:
        print(text, flush=True)  # noqa: T201
    except BrokenPipeError:  # whoever reads it has read enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python writes at its end
        return 128 + signal.SIGPIPE
    return 0


def _terminate(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)
