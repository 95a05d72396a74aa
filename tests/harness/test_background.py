"""What makes the alerts of tasks and workers fire on the cluster: without one, as far as that goes."""

import subprocess
import sys

import httpx
import pytest
import yaml

from k8s.service import VALUES
from tests.chart.helm import render
from tests.e2e.causes import BACKGROUND, background_options, prompt_values
from tests.support.processes import until
from tests.support.servers import free_port


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("busy", {'tasks_failed{task="fail"}', 'task_attempts_total{outcome="done",task="do"}'}),
        ("stuck", {'tasks_failed{task="fail"}', 'tasks_running{task="hang"}', 'tasks_oldest_seconds{task="hang"}'}),
        ("idle", {'tasks_oldest_seconds{task="fail"}', 'tasks_oldest_seconds{task="hang"}'}),
    ],
)
def test_all_that_is_wrong_with_its_tasks_is_in_its_metrics(kind: str, wrong: set[str]) -> None:
    port = free_port()
    argv = [sys.executable, str(BACKGROUND / "worker.py"), kind, str(port)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: wrong <= positive(port), seconds=90)
            found = positive(port)
        finally:
            process.kill()
    assert 'tasks_oldest_seconds{task="other"}' in found
    assert 'task_attempts_total{outcome="done",task="fail"}' not in found
    if kind == "idle":
        assert not [each for each in found if each.startswith(("task_attempts_total", "tasks_running{"))]


def positive(port: int) -> set[str]:
    """Series that are more than 0."""
    try:
        lines = httpx.get(f"http://127.0.0.1:{port}/metrics").text.splitlines()
    except httpx.TransportError:
        return set()
    values = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {series for series, value in values if float(value) > 0}


def test_the_chart_takes_its_values() -> None:
    prompt = yaml.safe_load(prompt_values())
    objects = render(prompt, *VALUES, release="links", options=tuple(background_options()))
    workers = {each["metadata"]["name"] for each in objects.all("Deployment")} - {"links"}
    assert workers == {"links-busy", "links-idle", "links-silent", "links-down"}
    script = objects.one("ConfigMap", "background")["data"]["worker.py"]
    assert script.strip() == (BACKGROUND / "worker.py").read_text(encoding="utf-8").strip()
