"""Command line of a service: python -m app [serve|work|tasks|migrate|config|metrics|openapi|values|token]."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import structlog

from keel import happy_eyeballs, metrics_reference, server
from keel.chart_values import OperationsError, chart_values
from keel.data import migrate
from keel.data.database import METADATA, DatabaseUnavailableError
from keel.observability import logs, otel_variables
from keel.security import dev_token
from keel.security.keys import JwksFile, JwksFileError
from keel.security.tokens import InvalidTokenError
from keel.service import Configuration, Service, token_verifier
from keel.settings import ConfigurationError, Settings
from keel.settings.reference import reference

FAILED, MISCONFIGURED = 1, 2

log = structlog.get_logger("keel.cli")


@dataclass(frozen=True)
class Call:
    """A command with its options, and the service and settings it is for."""

    service: Service
    configuration: Configuration
    options: argparse.Namespace

    @property
    def settings(self) -> Settings:
        return self.configuration.settings


def main(service: Service, arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 1 if it failed, 2 if the configuration is wrong."""
    options = _parser(service).parse_args(arguments)
    # The first process of a container has no default signal handlers: without this one, SIGTERM is ignored.
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code: int = options.run(Call(service, service.load(), options))
        return code
    except ConfigurationError as error:
        print("The configuration is not valid:", *error.problems, sep="\n  ", file=sys.stderr)  # noqa: T201
        return MISCONFIGURED
    except (server.ServeError, migrate.MigrationError, JwksFileError, OperationsError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return FAILED
    except DatabaseUnavailableError as error:
        print(error.detail, file=sys.stderr)  # noqa: T201
        return FAILED
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _parser(service: Service) -> argparse.ArgumentParser:
    product = service.product
    parser = argparse.ArgumentParser(
        prog=f"python -m {product.package}",
        description=f"{product.title}. {product.summary} Configured by environment variables: see `config`.",
    )
    parser.add_argument("--version", action="version", version=product.version)
    parser.set_defaults(run=_serve)
    commands = parser.add_subparsers(metavar="command")

    def command(name: str, run: Callable[[Call], int], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    command("serve", _serve, "Serve the public and the management port until SIGTERM (the default).")
    if product.has_database:
        command("work", _work, "Run tasks until SIGTERM, and serve the management port only.")
        tasks = command("tasks", _tasks, "Print how many tasks there are, and those that have failed, as JSON.")
        tasks.add_argument("--retry", nargs="+", metavar="ID", default=[], help="let these failed tasks run again")
        tasks.add_argument("--drop", nargs="+", metavar="ID", default=[], help="delete these failed tasks")
        migration = command("migrate", _migrate, "Migrate the database to the newest revision.")
        migration.add_argument(
            "--new", metavar="TEXT", help="write a migration for the changes of the tables instead, with this title"
        )
    config = command("config", _config, "Print the settings in force as JSON, secrets masked.")
    config.add_argument("--reference", action="store_true", help="print a Markdown table of all variables instead")
    command("metrics", _metrics, "Print a Markdown table of all metrics.")
    command("openapi", _openapi, "Print the OpenAPI schema of the public port.")
    command("values", _values, "Print the values for the chart that the domains bring, as YAML.")
    if product.tokens:
        token = command("token", _token, "Print a token for development, signed with this machine's own key.")
        scopes = service.development_scopes
        token.add_argument("--scope", default=scopes, help=f'scopes, space separated (default: "{scopes}")')
        token.add_argument("--subject", default="dev", help="the sub claim (default: dev)")
        token.add_argument("--expires-in", type=int, default=3600, metavar="SECONDS", help="(default: 3600)")
        token.add_argument("--key", type=Path, metavar="FILE", help="private key (default: APP_DEV_KEY_FILE)")
        token.add_argument("--jwks", action="store_true", help="print the public keys instead, for APP_JWKS_FILE")
    return parser


def _serve(call: Call) -> int:
    settings = call.settings
    logs.configure(settings)
    for name, meant in call.service.unknown_variables(os.environ).items():
        log.warning("unknown variable", name=name, meant=meant)
    for name, reason in otel_variables.without_effect(os.environ).items():
        log.warning("variable without effect", name=name, reason=reason)
    dialect = settings.dialect
    if (
        call.service.product.has_database
        and settings.environment != "local"
        and not dialect.demands_tls(settings.database)
    ):
        log.warning("the database connection may be without TLS", remedy=dialect.tls_advice)
    return happy_eyeballs.run(server.serve(call.service, call.configuration))


def _work(call: Call) -> int:
    logs.configure(call.settings)
    _need_tasks(call)
    if not call.settings.tasks_at_once:
        raise ConfigurationError("APP_TASKS_AT_ONCE: is 0, and then this process would run none.")
    return happy_eyeballs.run(server.serve(call.service, call.configuration, public_port=False))


def _tasks(call: Call) -> int:
    logs.configure(call.settings)
    _need_tasks(call)
    from keel.tasks import command  # noqa: PLC0415  # a service without tasks has no tables for them

    retry, drop = call.options.retry, call.options.drop
    return _print(json.dumps(happy_eyeballs.run(command.report(call.settings, retry, drop)), indent=2))


def _need_tasks(call: Call) -> None:
    if "tasks" not in METADATA.tables:
        raise server.ServeError(f"{call.service.product.name} has no tasks: none of its domains has any.")


def _migrate(call: Call) -> int:
    logs.configure(call.settings)
    if call.options.new is not None:
        return _print(str(happy_eyeballs.run(migrate.new(call.settings, call.options.new))))
    happy_eyeballs.run(migrate.migrate(call.settings))
    log.info("the database is up to date")
    return 0


def _config(call: Call) -> int:
    if call.options.reference:
        return _print(reference(call.service.settings_classes))
    return _print(json.dumps(call.configuration.effective(), indent=2))


def _metrics(call: Call) -> int:
    everything = call.service.settings(**metrics_reference.EVERYTHING)
    return _print(metrics_reference.reference(call.service.build(everything).registry))


def _openapi(call: Call) -> int:
    apps = call.service.build(call.settings, call.configuration.own)
    return _print(json.dumps(apps.public.openapi(), indent=2))


def _values(call: Call) -> int:
    return _print(chart_values(call.service.product.package, call.service.domains))


def _token(call: Call) -> int:
    settings, options = call.settings, call.options
    if settings.environment == "production":
        raise ConfigurationError(
            "APP_ENVIRONMENT: is production, where there are no development tokens. "
            "Get a token from your identity provider."
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
    keys = JwksFile(file, dev_token.parse_dev_key)
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
    except BrokenPipeError:  # the reader has closed the pipe, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes stdout at its exit
        return 128 + signal.SIGPIPE
    return 0


def _terminate(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)
