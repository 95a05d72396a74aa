"""One Prometheus for all: of our service, first idle and then busy; of a foreign image; and of one that is down."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from app.main import SERVICE
from grafana import queries
from grafana.dashboards import files
from grafana.queries import Json, Query
from keel.data.database import Database
from keel.security import dev_token
from keel.tasks.store import TaskStore
from tests.grafana.prometheus import Prometheus, wrong
from tests.grafana.served import Served
from tests.probe.domain import MARK, NewMark
from tests.probe.main import SERVICE as PROBE
from tests.rules.rendered import groups
from tests.support.processes import App, until
from tests.support.servers import free_port
from toolkit.paths import BUILD

REPORT = BUILD / "report" / "observability.json"
DASHBOARDS = queries.load(files())
WORKER = "links-worker-5f6d7c8b9d-b4b8z"
POD = "links-7c9d8f6b5d-x2k4q"
# Of a Prometheus that scrapes every second.
SECONDS = {"__rate_interval": "4s", "__interval": "1s", "__range": "1m"}
LINKS, OTHER, GONE = (
    {"namespace": name, "job": name, "deployment": name, **SECONDS} for name in ("links", "other", "gone")
)
KUBERNETES = Path(__file__).with_name("kubernetes.prom").read_text(encoding="utf-8")
# What any image may count.
FOREIGN = 'my_requests_total{path="/"} 5\n'


@dataclass(frozen=True)
class Answer:
    """What the query of a panel had."""

    query: Query
    series: list[Json]

    @property
    def values(self) -> list[float]:
        return [float(each["value"][1]) for each in self.series]

    @property
    def wrong(self) -> str:
        return wrong(self.values, self.query)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """Our service, with traces that no collector takes, and faults on demand."""
    app = App(
        SERVICE,
        tmp_path_factory.mktemp("app"),
        APP_FAULTS_ENABLED="true",
        APP_RATE_LIMIT_ADDRESS_PER_MINUTE="1000000",
        APP_RATE_LIMIT_TOKEN_PER_MINUTE="1000000",
        APP_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}",
    )
    yield app
    app.process.kill()
    app.end()


@pytest.fixture(scope="session")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """A process that runs tasks, of a service that has some; in a database of its own."""
    folder = tmp_path_factory.mktemp("worker")
    app = App(PROBE, folder, "work", APP_DATABASE_URL=database_of(folder), APP_TASKS_POLL_SECONDS="0.05")
    yield app
    app.process.kill()
    app.end()


def database_of(folder: Path) -> str:
    return f"sqlite+aiosqlite:///{folder / 'probe.db'}"


def put_task(worker: App) -> None:
    """One that the worker does at once."""

    async def put() -> None:
        url = SecretStr(database_of(worker.directory))
        database = Database(PROBE.settings().model_copy(update={"database_url": url}))
        async with database.transaction() as connection:
            await TaskStore(database).put(connection, MARK, NewMark(number=1))
            await connection.commit()
        await database.close()

    asyncio.run(put())


@pytest.fixture(scope="session")
def prometheus(service: App, worker: App, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    def target(name: str, pod: str) -> dict[str, str]:
        return {"namespace": name, "job": name, "service": f"{name}-management", "pod": pod, "endpoint": "management"}

    with Served(KUBERNETES) as cluster, Served(FOREIGN) as foreign:
        jobs = [
            (service.management, target("links", POD)),
            (worker.management, {"namespace": "links", "job": "links-worker", "pod": WORKER, "endpoint": "management"}),
            (foreign, target("other", "other-6d5f4c8b79-q9w2z")),
            (f"127.0.0.1:{free_port()}", target("gone", "gone-6d5f4c8b79-q9w2z")),
            (cluster, {"cluster": "test"}),
        ]
        server = Prometheus(tmp_path_factory.mktemp("prometheus"), jobs, groups({"interval": "1s"}))
        yield server
        server.stop()


@pytest.fixture(scope="session")
def idle(prometheus: Prometheus) -> list[Answer]:
    """What all queries have of a service that nobody has asked anything yet."""
    until(lambda: len(prometheus.series("count_over_time(up[1m]) >= 8")) == 5)
    until(lambda: len(prometheus.series("job:slo_error_budget_remaining:ratio")) == 2)
    return [Answer(query, prometheus.series(query.expression)) for query in of(LINKS)]


@pytest.fixture(scope="session")
def busy(idle: list[Answer], service: App, worker: App, prometheus: Prometheus) -> Iterator[list[Answer]]:
    """And of one that is in use, and fails now and then. They go into the report."""
    assert idle
    # All that `use` does. An error counts from its first on, anything else from its second scrape on.
    rates = 'rate(http_request_duration_seconds_count{job="links", status=~"307|404|500"}[4s])'
    done = 'rate(task_attempts_total{task="mark", outcome="done"}[4s])'
    seen = f"count(sum by (status) ({rates}) > 0) == 3 and on () sum({done}) > 0"
    headers = {"Authorization": f"Bearer {token(service)}"}
    with httpx.Client(base_url=f"http://{service.public}", headers=headers) as user:

        def used() -> bool:
            put_task(worker)
            return use(user, service) and bool(prometheus.series(seen))

        until(used)
    # All of one moment: the windows are shorter than it takes to ask everything on a busy machine.
    now = str(prometheus.values("vector(time())")[0])
    answers = [Answer(query, prometheus.series(query.expression, time=now)) for query in of(LINKS)]
    yield answers
    report(answers)


@pytest.fixture(scope="session")
def quiet(busy: list[Answer], prometheus: Prometheus) -> list[Answer]:
    """And of one that was in use and is no longer: where a rate is 0, and its quantile would be no number."""
    assert busy
    rate = 'rate(http_request_duration_seconds_count{job="links"}[4s])'
    until(lambda: prometheus.values(f"sum({rate})") == [0])
    return [Answer(query, prometheus.series(query.expression)) for query in of(LINKS)]


def of(variables: dict[str, str]) -> list[Query]:
    """All queries for Prometheus."""
    asked = [query for dashboard in DASHBOARDS for query in queries.queries(dashboard, variables)]
    return [query for query in asked if query.source == "prometheus"]


def token(service: App) -> str:
    settings = SERVICE.settings()
    return dev_token.mint(
        dev_token.obtain_key(service.directory / "shipshape" / "dev-key.json"),
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        subject="dev",
        scope="links:read links:write",
        expires_in=600,
    )


def use(user: httpx.Client, service: App) -> bool:
    """One of everything: made, followed, changed, deleted, not found, refused, failed."""
    made = user.post("/api/v1/links", json={"url": "https://example.com"})
    assert made.status_code == 201, made.text
    slug = made.json()["slug"]
    link = f"/api/v1/links/{slug}"
    answers = [
        *(user.get(f"/{slug}") for _ in range(5)),
        user.patch(link, json={"url": "https://example.org"}, headers={"If-Match": made.headers["ETag"]}),
        user.delete(link),
        user.get("/nothing-of-this-name"),
        user.get("/api/v1/links", headers={"Authorization": ""}),
    ]
    assert [each.status_code for each in answers] == [307] * 5 + [200, 204, 404, 401]
    faults = f"http://{service.management}/faults"
    httpx.put(faults, json={"error_ratio": 1.0, "for_seconds": 60}).raise_for_status()
    assert user.get(f"/{slug}").status_code == 500
    httpx.delete(faults).raise_for_status()
    return True


def report(answers: list[Answer]) -> None:
    """Adds `panels` to the report on observability."""
    rows = [
        {
            "dashboard": each.query.dashboard,
            "panel": each.query.panel,
            "query": each.query.expression,
            "pass": bool(each.series) and not each.wrong,
        }
        for each in answers
    ]
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(REPORT.read_text(encoding="utf-8")) if REPORT.exists() else {}
    REPORT.write_text(json.dumps(known | {"panels": rows}, indent=2) + "\n", encoding="utf-8")
