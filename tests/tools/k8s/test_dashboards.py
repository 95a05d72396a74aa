"""`make dashboards`: where to look, of a cluster that is up."""

import json
import subprocess
import webbrowser
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from k8s import dashboards
from k8s.__main__ import main
from tests.support.processes import ROOT

FACTS = {
    "url": "https://links.localhost:8443",
    "ca": "/ca.crt",
    "namespace": "links",
    "release": "links",
    "prometheus": "http://127.0.0.1:1",  # where nothing answers
    "alertmanager": "http://127.0.0.1:2",
    "token": "true",
}
MORE = {
    "grafana": "http://127.0.0.1:3000",
    "victorialogs": "http://127.0.0.1:9428",
    "jaeger": "http://127.0.0.1:16686",
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Writes what `make up` would have written, and returns the option that names it."""

    def write(**more: str) -> str:
        file = tmp_path / "up.json"
        file.write_text(json.dumps(FACTS | more))
        return f"--facts={file}"

    return write


@pytest.fixture(autouse=True)
def no_desktop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(dashboards, "DRAWN", tmp_path / "dashboards")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


class Server:
    """Answers every query with the same result, and every page with the same text, as Prometheus would."""

    def __init__(self, result: list[dict[str, Any]], page: str) -> None:
        self.asked: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.startswith("/api/v1/query?"):
                    server.asked += parse_qs(urlsplit(self.path).query)["query"]
                    body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}})
                else:
                    body = page
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> "Server":
        self.thread = Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def addresses(said: str) -> list[str]:
    return [line.strip() for line in said.splitlines() if line.startswith("    http")]


def test_prometheus_and_alertmanager_where_there_is_nothing_else(
    write: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dashboards", write()]) == 0
    graphs, rules, alerts = addresses(capsys.readouterr().out)
    fields = parse_qs(urlsplit(graphs).query)
    assert graphs.startswith("http://127.0.0.1:1/query?")
    expressions = [fields[f"g{number}.expr"][0] for number in range(len(fields) // 3)]
    assert expressions == list(dashboards.queries("links", "links").values())
    assert all('{namespace="links"' in expression for expression in expressions)
    assert rules == "http://127.0.0.1:1/alerts"
    assert alerts == "http://127.0.0.1:2/#/alerts?filter=%7Bnamespace%3D%22links%22%7D"


def test_grafana_first_where_it_runs(write: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dashboards", write(**MORE)]) == 0
    found = addresses(capsys.readouterr().out)
    assert found[0] == "http://127.0.0.1:3000/d/fastapi-overview?var-namespace=links&var-job=links&refresh=10s"
    assert [urlsplit(each).netloc.partition(":")[2] for each in found] == [
        *["3000"] * 5,
        *["1", "1", "2", "9428", "16686"],
    ]
    page, _, fields = found[-2].partition("#/?")
    assert page == "http://127.0.0.1:9428/select/vmui/"
    assert parse_qs(fields)["query"] == ['{kubernetes.pod_namespace="links"}']


def test_the_values_of_this_moment(write: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    result = [
        {"metric": {"route": route}, "value": [1.0, value]}
        for route, value in [("/", "0.5"), ("/{slug}", "41.25"), ("/none", "NaN")]
    ]
    with Server(result, "<div id=root>") as prometheus:
        assert main(["dashboards", write(prometheus=prometheus.url)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == ["Now:", "  requests a second, by route", "        41.250  /{slug}", "         0.500  /"]
    assert "/none" not in "".join(lines)
    wanted = list(dashboards.queries("links", "links").values())
    assert prometheus.asked[: len(wanted)] == wanted


def test_a_build_without_pages_has_its_api_named(write: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    with Server([], "The Debian package does not include a web application.") as server:
        assert main(["dashboards", write(prometheus=server.url, alertmanager=server.url)]) == 0
    said = capsys.readouterr().out
    assert addresses(said) == [f"{server.url}/api/v1/alerts", f"{server.url}/api/v2/alerts"]
    assert said.count("    none\n") == len(dashboards.queries("links", "links"))


def test_a_cluster_that_is_gone_is_told(
    write: Callable[..., str], capsys: pytest.CaptureFixture[str], unused_port: int
) -> None:
    assert main(["dashboards", write(prometheus=f"http://127.0.0.1:{unused_port}")]) == 0
    assert "does not answer" in capsys.readouterr().out


def test_without_a_cluster_it_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dashboards", f"--facts={tmp_path}/none.json"]) == 1
    assert capsys.readouterr().err.endswith("is not there): bring one up with `make up`.\n")


@pytest.mark.parametrize("desktop", [True, False])
@pytest.mark.parametrize("answers", [True, False])
def test_the_best_is_opened_on_a_desktop_if_it_answers(
    write: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    desktop: bool,
    answers: bool,
) -> None:
    opened: list[str] = []

    def browse(url: str) -> bool:
        opened.append(url)
        return True

    monkeypatch.setattr(webbrowser, "open", browse)
    monkeypatch.setattr(dashboards, "answers", lambda _url: answers)
    if desktop:
        monkeypatch.setenv("DISPLAY", ":0")
    elif dashboards.has_desktop():  # a Mac always has one
        return
    assert main(["dashboards", write(**MORE)]) == 0
    assert [urlsplit(url).path for url in opened] == (["/d/fastapi-overview"] if desktop and answers else [])
    assert ("Opened" in capsys.readouterr().out) is (desktop and answers)


def test_whether_something_answers(unused_port: int) -> None:
    assert not dashboards.answers(f"http://127.0.0.1:{unused_port}/")
    assert dashboards.answers("file:///build/dashboards/service-overview.html")


def test_make_hands_on_rate_and_seconds() -> None:
    def dry(*arguments: str) -> str:
        command = ["make", "--dry-run", "--no-print-directory", "--assume-old=.venv", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()[-1]

    assert dry("load").strip().endswith("-m k8s load")
    assert dry("load", "RATE=200", "SECONDS=600").endswith("-m k8s load --rate=200 --seconds=600")
    assert dry("dashboards").endswith("-m k8s dashboards")
