"""The plug: two domains in one service, and services that go without a database or tokens."""

import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, Security
from prometheus_client import Counter

from keel import cli
from keel.data import migrate
from keel.data.migrate import MigrationError
from keel.domain import Domain, Feature, Parts
from keel.errors.problems import Problem
from keel.http import routing
from keel.http.openapi import problems
from keel.observability.probes import NotFitError
from keel.security.auth import Principal, authenticate
from keel.service import Apps, Service
from keel.settings import ConfigurationError, OwnSettings
from keel.settings.base import Seconds
from tests.kit.subject import PRODUCT, SERVICE, Settings
from tests.probe.domain import THINGS, ProbeSettings
from tests.support.fixtures import Subject

pytestmark = pytest.mark.anyio

Until = Callable[[Callable[[], object]], Awaitable[None]]


class OtherSettings(OwnSettings, env_prefix="OTHER_"):
    """What an operator may want to change of the others."""

    pause_seconds: Seconds = 5
    """How long the others rest."""


router = routing.api_router("/others", "others")


@routing.get(router, "", responses=problems(401, 403, 409))
async def take(_who: Annotated[Principal, Security(authenticate, scopes=["others:take"])]) -> None:
    """Take one. Needs the scope others:take."""
    raise Problem(409, "The other one is gone.")


class Others(Feature):
    def __init__(self, parts: Parts, settings: OtherSettings) -> None:
        self.settings = settings
        self.taken = Counter("others_taken", "Others taken.", registry=parts.registry)
        self.works = False
        self.fit = {"gate": True, "extra": True}
        self.checks = {"gate": lambda: self.check("gate")}
        self.optional_checks = {"extra": lambda: self.check("extra")}

    def install(self, app: FastAPI) -> None:
        app.state.others = self
        app.include_router(router, prefix="/api/v1")

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        self.works = True
        yield
        self.works = False

    async def check(self, name: str) -> None:
        if not self.fit[name]:
            raise NotFitError("it is not fit")


OTHERS = Domain(
    name="others",
    start=Others,
    settings=OtherSettings,
    development_scopes=("others:take",),
    tags=({"name": "others", "description": "Take others."},),
    problems={409: "The other one is gone."},
)
BOTH = Service(PRODUCT, [THINGS, OTHERS])


@asynccontextmanager
async def running(service: Service, settings: Settings, **own: OwnSettings) -> AsyncIterator[Apps]:
    apps = service.build(settings, own)
    async with apps.public.router.lifespan_context(apps.public):
        apps.health.started = True
        yield apps


def asking(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://probe.example.com")


class TestTwoDomains:
    @pytest.fixture
    def subject(self, subject: Subject) -> Subject:
        return replace(subject, service=BOTH)

    async def test_the_routes_of_both(self, client: httpx.AsyncClient, mint: Callable[..., str]) -> None:
        for path, scope, status in (("things", "things:read", 200), ("others", "others:take", 409)):
            answers = [
                await client.get(f"/api/v1/{path}", headers={"Authorization": f"Bearer {mint(scope=given)}"})
                for given in (scope, "neither")
            ]
            assert [answer.status_code for answer in answers] == [status, 403]
            assert scope in answers[1].json()["detail"]

    async def test_the_metrics_and_the_work_of_both(
        self, service: Apps, management: httpx.AsyncClient, until: Until
    ) -> None:
        text = (await management.get("/metrics")).text
        assert "things_made_total 0.0" in text
        assert "others_taken_total 0.0" in text
        assert service.public.state.others.works
        service.public.state.things.stored.set(-1)
        await until(lambda: service.registry.get_sample_value("things_stored") == 0)

    async def test_the_work_ends_with_the_service(self, settings: Settings) -> None:
        await migrate.migrate(settings)
        async with running(BOTH, settings) as apps:
            assert apps.public.state.others.works
        assert not apps.public.state.others.works

    def test_each_has_its_own_settings(self, settings: Settings) -> None:
        apps = BOTH.build(settings, {"others": OtherSettings(pause_seconds=7), "things": ProbeSettings(fit=False)})
        assert apps.public.state.others.settings.pause_seconds == 7
        assert apps.public.state.things.settings.fit is False

    def test_mistakes_of_all_are_told_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in {"APP_PORT": "x", "PROBE_COUNT_SECONDS": "0", "OTHER_PAUSE_SECONDS": "soon"}.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(ConfigurationError) as raised:
            BOTH.load()
        named = [problem.partition(":")[0] for problem in raised.value.problems]
        assert named == ["APP_PORT", "PROBE_COUNT_SECONDS", "OTHER_PAUSE_SECONDS"]

    def test_what_is_in_force_names_the_variables_of_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OTHER_PAUSE_SECONDS", "9")
        values = BOTH.load().effective()
        assert (values["APP_PORT"], values["PROBE_FIT"], values["OTHER_PAUSE_SECONDS"]) == (8000, True, 9)

    def test_unknown_variables_are_known_by_their_prefix(self) -> None:
        environ = {"OTHER_PAUSE_SECOND": "1", "PROBE_FITT": "1", "ELSE_X": "1", "OTHER_PAUSE_SECONDS": "1"}
        assert BOTH.unknown_variables(environ) == {
            "OTHER_PAUSE_SECOND": "OTHER_PAUSE_SECONDS",
            "PROBE_FITT": "PROBE_FIT",
        }
        assert SERVICE.unknown_variables(environ) == {"PROBE_FITT": "PROBE_FIT"}

    def test_a_token_for_development_has_the_scopes_of_both(self) -> None:
        assert BOTH.development_scopes == "things:read things:write others:take"

    def test_tags_and_examples_are_by_domain(self, settings: Settings) -> None:
        document = BOTH.build(settings).public.openapi()
        assert {"things", "others", "identity"} == {tag["name"] for tag in document["tags"]}

        def example(path: str, method: str, status: str) -> str:
            responses = document["paths"][path][method]["responses"]
            detail: str = responses[status]["content"]["application/problem+json"]["example"]["detail"]
            return detail

        assert example("/api/v1/others", "get", "409") == "The other one is gone."
        assert example("/api/v1/things", "post", "409") == THINGS.problems[409]
        assert example("/api/v1/things/{name}", "get", "404") == "There is no such thing."
        # A 403 names the scope that the operation itself needs.
        assert example("/api/v1/others", "get", "403") == "The token lacks a scope: this needs others:take."
        assert example("/api/v1/things", "get", "403") == "The token lacks a scope: this needs things:read."
        assert example("/api/v1/things", "post", "403") == "The token lacks a scope: this needs things:write."
        assert example("/api/v1/things/{name}", "delete", "403") == "The token lacks a scope: this needs things:admin."

    @pytest.mark.parametrize(("check", "ready"), [("gate", False), ("extra", True)])
    async def test_a_check_keeps_a_pod_unready_and_an_optional_one_does_not(
        self, settings: Settings, until: Until, check: str, ready: bool
    ) -> None:
        await migrate.migrate(settings)
        apps = BOTH.build(settings.model_copy(update={"check_interval_seconds": 0.01}))
        others = apps.public.state.others
        others.fit[check] = False
        async with apps.public.router.lifespan_context(apps.public), asking(apps.management) as management:
            apps.health.started = True
            await until(lambda: apps.health.readiness()[check] == "it is not fit")
            await until(lambda: apps.health.readiness()["database"] == "ok")
            answer = await management.get("/readyz")
            assert (answer.status_code == 200) is ready
            assert answer.json()["checks"][check] == "it is not fit"
            others.fit[check] = True
            await until(lambda: apps.health.ready)
            others.fit[check] = False  # from then on it is told, and takes no pod away
            await until(lambda: apps.health.readiness()[check] == "it is not fit")
            assert (await management.get("/readyz")).json()["status"] == "degraded"


async def test_the_probe_is_not_ready_unless_it_is_fit(settings: Settings, until: Until) -> None:
    await migrate.migrate(settings)
    async with running(SERVICE, settings, things=ProbeSettings(fit=False)) as apps:
        await until(lambda: apps.health.readiness()["things"] == "PROBE_FIT says no")
        assert not apps.health.ready


class Bare(Feature):
    def __init__(self, parts: Parts, _settings: object) -> None:
        self.parts = parts

    def install(self, app: FastAPI) -> None:
        app.state.bare = self


BARE = Domain(name="bare", start=Bare)


class TestWithoutDatabase:
    service = Service(replace(PRODUCT, migrations=None), [BARE])

    def test_there_is_nothing_to_migrate(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as exited:
            cli.main(self.service, ["migrate"])
        assert exited.value.code == 2
        assert "invalid choice: 'migrate'" in capsys.readouterr().err

    async def test_nor_by_the_function(self) -> None:
        with pytest.raises(MigrationError, match="probe has no database, and so nothing to migrate"):
            await migrate.migrate(self.service.settings())

    async def test_it_is_ready_and_checks_none(self, settings: Settings, until: Until) -> None:
        async with running(self.service, self.service.settings(**settings.model_dump())) as apps:
            await until(lambda: apps.health.ready)
            assert apps.health.readiness() == {"startup": "ok", "drain": "ok"}
            async with asking(apps.public) as client:
                assert (await client.get("/")).status_code == 200
            async with asking(apps.management) as management:
                assert "database_" not in (await management.get("/metrics")).text

    def test_whoever_asks_for_it_is_told_what_to_do(self) -> None:
        parts: Parts = self.service.build(self.service.settings()).public.state.bare.parts
        for ask in (lambda: parts.database, lambda: parts.keys):
            with pytest.raises(RuntimeError, match="no database: give its Product the folder of its migrations"):
                ask()

    def test_production_needs_no_address_of_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        variables = {"APP_ENVIRONMENT": "production", "APP_JWT_ISSUER": "https://i.example", "APP_JWKS_FILE": "/keys"}
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert self.service.load().settings.environment == "production"
        with pytest.raises(ConfigurationError, match="APP_DATABASE_URL"):
            SERVICE.load()


class TestWithoutTokens:
    service = Service(replace(PRODUCT, tokens=False), [BARE])

    def test_production_needs_no_issuer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("APP_ENVIRONMENT", "production")
        monkeypatch.setenv("APP_DATABASE_URL", "postgresql://db/things")
        assert self.service.load().settings.environment == "production"
        with pytest.raises(ConfigurationError, match="APP_JWT_ISSUER"):
            SERVICE.load()

    def test_there_are_none_to_be_had(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as exited:
            cli.main(self.service, ["token"])
        assert exited.value.code == 2
        assert "invalid choice: 'token'" in capsys.readouterr().err


def test_a_domain_without_settings_has_no_prefix() -> None:
    """Else it would take every variable for one of its own."""
    bare = Service(PRODUCT, [BARE])
    assert bare.unknown_variables(os.environ | {"ANYTHING": "1"}) == {}
    assert bare.load().effective().keys() == bare.settings.load().effective().keys()


def test_two_domains_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="Two domains have the name things"):
        Service(PRODUCT, [SERVICE.domains[0], SERVICE.domains[0]])
