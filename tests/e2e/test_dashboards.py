"""Every query of every panel, asked of the cluster's own Prometheus and VictoriaLogs once the service is in use."""

from collections.abc import Callable

import httpx
import pytest

from grafana import queries
from grafana.dashboards import files
from grafana.panels import NO_JOBS, NO_WORKERS
from grafana.queries import Query
from k8s import up
from tests.e2e.cluster import wait_for
from tests.e2e.load import Load, under
from tests.e2e.prometheus import query
from tests.grafana.prometheus import wrong

pytestmark = pytest.mark.timeout(420)

VARIABLES = {"namespace": "links", "job": "links", "deployment": "links"}
ASKED = [each for dashboard in queries.load(files()) for each in queries.queries(dashboard, VARIABLES)]
# The service has no workers and no cron jobs: their panels are asked in tests/grafana.
HAS_NONE = {NO_WORKERS, NO_JOBS}
PROMETHEUS = [each for each in ASKED if each.source == "prometheus" and each.absent not in HAS_NONE]
LOGS = [each for each in ASKED if each.source == queries.VICTORIALOGS]


@pytest.fixture(scope="module", autouse=True)
def in_use(stack: up.Stack, make_page: Callable[[], str]) -> None:
    """Something is made and read, also where no other test has done so."""
    with under(Load(stack.service.url + make_page(), stack.service.authority.certificate)):
        pass


@pytest.mark.parametrize("asked", PROMETHEUS, ids=lambda asked: asked.where)
def test_a_panel_has_data_in_its_unit(asked: Query, stack: up.Stack, panels: list[dict[str, object]]) -> None:
    row = {"dashboard": asked.dashboard, "panel": asked.panel, "query": asked.expression, "pass": False}
    panels.append(row)
    what = f"data, in place of {asked.absent!r}"
    # Of what has just begun Prometheus knows a rate after the second scrape.
    found = wait_for(what, lambda: query(stack, asked.expression) or None, seconds=60)
    assert not wrong([float(each["value"][1]) for each in found], asked)  # type: ignore[index]
    row["pass"] = True


@pytest.mark.parametrize("asked", LOGS, ids=lambda asked: asked.where)
def test_a_panel_has_log_lines(asked: Query, stack: up.Stack, panels: list[dict[str, object]]) -> None:
    row = {"dashboard": asked.dashboard, "panel": asked.panel, "query": asked.expression, "pass": False}
    panels.append(row)
    address = f"{stack.service.facts()['victorialogs']}/select/logsql/query"
    window = {"start": "now-1h", "limit": "20"}

    def lines() -> bool:
        answer = httpx.get(address, params={"query": asked.expression, **window}, timeout=20)
        assert answer.status_code == 200, answer.text
        return bool(answer.text)

    wait_for(f"lines of {asked.where}", lines, seconds=30)
    row["pass"] = True
