"""All dashboards' pages, as files."""

import json
import os
from contextlib import nullcontext
from pathlib import Path

from grafana import dashboards as built
from grafana.draw import page
from grafana.draw.source import Prometheus, VictoriaLogs, Window
from grafana.draw.view import View
from toolkit.paths import ROOT

RUNBOOKS = ROOT / "docs" / "runbooks"


def draw(
    folder: Path,
    *,
    prometheus: str,
    victorialogs: str | None,
    namespace: str,
    job: str,
    deployment: str,
    seconds: int,
    scrape: int = 15,
    runbooks: str | None = None,
) -> list[Path]:
    """What a service did in the last seconds. The files, in the dashboards' order.

    `prometheus` and `victorialogs` are addresses; `scrape` is how often, in seconds, Prometheus looks. Raises Failure
    when Prometheus does not answer.
    """
    service = {"namespace": namespace, "job": job, "deployment": deployment}
    log_store = VictoriaLogs(victorialogs) if victorialogs else nullcontext()
    with Prometheus(prometheus) as metrics, log_store as logs:
        window = Window.until(metrics.now(), seconds, scrape)
        return write(View(metrics, logs, window, service, runbooks or os.path.relpath(RUNBOOKS, folder)), folder)


def write(view: View, folder: Path) -> list[Path]:
    dashboards = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in built.files()}
    titles = {f"{name}.html": dashboard["title"] for name, dashboard in dashboards.items()}
    drawn = {f"{name}.html": page.draw(dashboard, view, titles) for name, dashboard in dashboards.items()}
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in drawn.items():
        # What is no character, as half of one at the end of a cut log line, becomes a question mark.
        (folder / name).write_text(text, encoding="utf-8", errors="replace")
    return [folder / name for name in drawn]
