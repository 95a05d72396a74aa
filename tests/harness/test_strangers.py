"""The end-to-end tests' strangers, and what a real server's metrics make of them."""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from k8s.certificates import ensure_authority
from tests.e2e.strangers import CONNECTIONS, KINDS, MOST, spelled, visit
from tests.support.processes import App

HOST = "localhost"


def series(app: App) -> set[str]:
    app.get("/metrics")
    lines = app.body.decode().splitlines()
    return {line.rpartition(" ")[0] for line in lines if not line.startswith("#")}


def test_no_two_are_alike() -> None:
    asked = [spelled(number, HOST) for number in range(MOST)]
    assert len(set(asked)) == MOST
    assert len({path for path, _, _ in asked}) == MOST
    assert len({method for _, method, _ in asked}) > MOST / 3
    assert len({host for _, _, host in asked}) > MOST / 2


@pytest.mark.parametrize("count", [0, -1, MOST + 1])
def test_no_more_than_so_many(count: int) -> None:
    with pytest.raises(ValueError, match="not between"):
        visit(1, HOST, count)


def test_where_nothing_answers(unused_port: int) -> None:
    with pytest.raises(ConnectionRefusedError):
        visit(unused_port, HOST, 1)


def test_they_add_no_series_to_a_real_server(start: Callable[..., App]) -> None:
    app = start(APP_RATE_LIMIT_ADDRESS_PER_MINUTE="0")
    port = int(app.public.rpartition(":")[2])
    idle = len(series(app))
    first = visit(port, HOST, KINDS)
    assert first.answered == KINDS
    before = series(app)
    assert len(before) - idle < 500
    outcome = visit(port, HOST, 2000)
    assert outcome.answered == 2000
    assert outcome.by_service > 500, outcome
    assert {404, 405, 421} <= outcome.statuses.keys()
    assert not {500, 503} & outcome.statuses.keys()
    assert outcome.connections >= CONNECTIONS
    assert series(app) - before == set()
    log = " ".join(line["message"] for line in app.log)
    assert "PROPFIND" in log


def test_over_tls_the_certificate_is_verified(start: Callable[..., App], tmp_path: Path) -> None:
    app = start()
    trust = ssl.create_default_context(cafile=ensure_authority(tmp_path / "ca").certificate)
    with pytest.raises(ssl.SSLError):
        visit(int(app.public.rpartition(":")[2]), HOST, 1, trust)  # which speaks no TLS
