import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from keel import cli, server
from keel.data import migrate, schema
from keel.security.dev_token import parse_dev_key
from keel.security.keys import JwksFile
from keel.security.tokens import TokenVerifier
from tests.kit.subject import MIGRATIONS, SERVICE, Settings
from tests.probe import __version__
from tests.support.processes import App
from toolkit.paths import ROOT


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_as_a_program() -> None:
    command = [sys.executable, "-m", "tests.probe", "--version"]
    done = subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, __version__, "")


def test_mistakes_are_listed_on_stderr(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("APP_PORT", "x")
    monkeypatch.setenv("APP_LOG_LEVEL", "loud")
    assert cli.main(SERVICE, []) == 2
    said = capsys.readouterr()
    assert said.out == ""
    first, *rest = said.err.splitlines()
    assert first == "The configuration is not valid:"
    assert [line.split(":")[0].strip() for line in rest] == ["APP_PORT", "APP_LOG_LEVEL"]


@pytest.mark.parametrize("arguments", [["--help"], ["token", "--help"]])
def test_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        cli.main(SERVICE, arguments)
    assert exited.value.code == 0
    assert "usage: python -m tests.probe" in capsys.readouterr().out


def test_an_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        cli.main(SERVICE, ["sevre"])
    assert exited.value.code == 2
    assert "invalid choice: 'sevre'" in capsys.readouterr().err


def test_config(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("APP_DATABASE_URL", "postgresql://things:hunter2@db/things")
    assert cli.main(SERVICE, ["config"]) == 0
    shown = capsys.readouterr().out
    assert "hunter2" not in shown
    assert json.loads(shown)["APP_DATABASE_URL"] == "postgresql+asyncpg://things:***@db/things"


def test_the_reference_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(SERVICE, ["config", "--reference"]) == 0
    shown = capsys.readouterr().out
    assert all(f"| `APP_{name.upper()}` |" in shown for name in Settings.model_fields)
    assert "| `APP_SECRETS_DIR` | `/run/secrets/app` | Directory of secret files; it need not exist. |" in shown


def test_openapi(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(SERVICE, ["openapi"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert {"/", "/api/v1/things", "/api/v1/things/{name}"} <= set(schema["paths"])
    assert schema["info"]["version"] == __version__


def test_whoever_has_read_enough_is_no_error() -> None:
    """As `python -m tests.probe openapi | head -1`."""
    command = [sys.executable, "-m", "tests.probe", "openapi"]
    with subprocess.Popen(
        command, env={"PYTHONPATH": str(ROOT)}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 128 + signal.SIGPIPE


def test_migrate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(SERVICE, ["migrate"]) == 0
    assert cli.main(SERVICE, ["migrate"]) == 0
    assert (tmp_path / "probe.db").exists()
    assert capsys.readouterr().out.count("the database is up to date") == 2


def test_migrate_a_file_that_is_no_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "letter.txt"
    file.write_text("Dear reader, " * 100)
    monkeypatch.setenv("APP_DATABASE_URL", f"sqlite:///{file}")
    assert cli.main(SERVICE, ["migrate"]) == 1
    assert "letter.txt is not a SQLite database: file is not a database. Name" in capsys.readouterr().err
    assert file.read_text() == "Dear reader, " * 100


def test_migrate_from_several_revisions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "things.db"
    monkeypatch.setenv("APP_DATABASE_URL", f"sqlite:///{file}")
    assert cli.main(SERVICE, ["migrate"]) == 0
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("INSERT INTO alembic_version VALUES ('0000')")
        connection.commit()
    assert cli.main(SERVICE, ["migrate"]) == 1
    newest = schema.known_revisions(MIGRATIONS)[-1]
    assert f"The database is at several revisions (0000, {newest}): restore it" in capsys.readouterr().err


def test_migrate_when_it_cannot(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], unused_port: int
) -> None:
    monkeypatch.setenv("APP_DATABASE_URL", f"postgresql://u:p@127.0.0.1:{unused_port}/things")
    monkeypatch.setenv("APP_MIGRATE_WAIT_SECONDS", "0")
    assert cli.main(SERVICE, ["migrate"]) == 1
    assert "APP_DATABASE_URL: cannot connect to postgresql+asyncpg://u:***@" in capsys.readouterr().err


class TestToken:
    def test_one_that_a_local_service_accepts(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(SERVICE, ["token", "--scope", "things:write things:read", "--subject", "me"]) == 0
        settings = Settings()
        keys = JwksFile(settings.dev_key_file, parse_dev_key)
        verifier = TokenVerifier(keys, settings.jwt_issuer, settings.jwt_audience, leeway=0)
        principal = verifier.verify(capsys.readouterr().out.strip().encode())
        assert (principal.subject, principal.scopes) == ("me", frozenset({"things:write", "things:read"}))

    @pytest.mark.parametrize(
        ("option", "value", "reason"),
        [
            ("--expires-in", "-60", "expired"),
            ("--subject", "", "sub"),
            ("--subject", "a\nb", "sub"),
        ],
    )
    def test_one_that_the_service_would_refuse(
        self, option: str, value: str, reason: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(SERVICE, ["token", option, value]) == 1
        said = capsys.readouterr()
        assert said.out == ""
        assert "The service would refuse this token: " in said.err
        assert reason in said.err

    def test_its_public_keys(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        key = tmp_path / "key.json"
        assert cli.main(SERVICE, ["token", "--jwks", "--key", str(key)]) == 0
        (public,) = json.loads(capsys.readouterr().out)["keys"]
        private = json.loads(key.read_text())
        assert public["x"] == private["x"]
        assert "d" in private
        assert "d" not in public

    def test_not_in_production(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        for name, value in {
            "APP_ENVIRONMENT": "production",
            "APP_DATABASE_URL": "postgresql://u:p@db/things",
            "APP_JWT_ISSUER": "https://issuer.example.com",
            "APP_JWKS_FILE": str(tmp_path / "jwks.json"),
        }.items():
            monkeypatch.setenv(name, value)
        assert cli.main(SERVICE, ["token"]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert "APP_ENVIRONMENT: is production" in said.err
        assert not Settings().dev_key_file.exists()

    def test_a_key_that_cannot_be_used(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "key.json").write_text("{}")
        assert cli.main(SERVICE, ["token", "--key", str(tmp_path / "key.json")]) == 1
        assert "holds no usable keys" in capsys.readouterr().err


class TestServe:
    def test_is_the_default_and_returns_the_exit_code(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        async def drained(*_: object) -> int:
            return 7

        monkeypatch.setattr(server, "serve", drained)
        monkeypatch.setenv("APP_JWT_ISUER", "https://issuer.example.com")
        assert cli.main(SERVICE, []) == 7
        warning = json.loads(capsys.readouterr().out)
        assert (warning["labels.name"], warning["labels.meant"]) == ("APP_JWT_ISUER", "APP_JWT_ISSUER")

    def test_without_its_keys(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        for name in ("APP_PORT", "APP_MANAGEMENT_PORT"):
            monkeypatch.setenv(name, "0")
        monkeypatch.setenv("APP_JWKS_FILE", str(tmp_path / "none.json"))
        assert cli.main(SERVICE, ["serve"]) == 2
        assert "APP_JWKS_FILE: cannot read" in capsys.readouterr().err

    def test_with_a_database_file_that_cannot_be_opened(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name in ("APP_PORT", "APP_MANAGEMENT_PORT"):
            monkeypatch.setenv(name, "0")
        monkeypatch.setenv("APP_DATABASE_URL", "sqlite:////no/such/directory/things.db")
        assert cli.main(SERVICE, ["serve"]) == 1
        assert "unable to open database file" in capsys.readouterr().err


@pytest.mark.parametrize(("mode", "warned"), [("", True), ("?sslmode=require", False)])
def test_a_database_that_may_be_asked_without_tls_is_warned_of(
    start: Callable[..., App], jwks_file: Path, unused_port: int, mode: str, warned: bool
) -> None:
    app = start(
        APP_ENVIRONMENT="staging",
        APP_JWT_ISSUER="https://issuer.example.com",
        APP_JWKS_FILE=str(jwks_file),
        APP_DATABASE_URL=f"postgresql://things@127.0.0.1:{unused_port}/things{mode}",
    )
    assert app.logged("the database connection may be without TLS") is warned


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_any_command(monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    """Also as the first process of a container, where the kernel has no default for it."""

    async def interrupted(_settings: Settings) -> None:
        os.kill(os.getpid(), number)

    monkeypatch.setattr(migrate, "migrate", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with pytest.raises(SystemExit) as exited:
            sys.exit(cli.main(SERVICE, ["migrate"]))
    finally:
        signal.signal(signal.SIGINT, before)
    assert exited.value.code == 128 + number


def test_every_metric_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(SERVICE, ["metrics"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "| `rate_limited` | counter | `kind` | Requests refused by the rate limits, by kind. |" in lines
    rows = [line for line in lines if line.startswith("| `")]
    assert len(rows) > 30
    assert not [row for row in rows if row.endswith("|  |") or "process_" in row]


@pytest.mark.parametrize("keys", [{"APP_JWKS_FILE": __file__}, {"APP_JWKS_DISCOVERY": "true"}])
def test_metrics_are_the_same_in_every_environment(
    keys: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.main(SERVICE, ["metrics"])
    usual = capsys.readouterr().out
    production = {
        "APP_ENVIRONMENT": "production",
        "APP_PUBLIC_URL": "https://probe.example.com",
        "APP_DATABASE_URL": "postgresql://probe:secret@db/probe",
        "APP_JWT_ISSUER": "https://issuer.example.com",
    }
    for name, value in (production | keys).items():
        monkeypatch.setenv(name, value)
    assert cli.main(SERVICE, ["metrics"]) == 0
    assert capsys.readouterr().out == usual
