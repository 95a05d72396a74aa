"""keel.serve: an application that knows nothing of the kit, served as the chart wants it."""

import json
import re
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.processes import until

FOREIGN = """\
import asyncio
import contextlib

from fastapi import BackgroundTasks, FastAPI
from prometheus_client import Counter

import keel.serve

greeted = Counter("greeted", "Greetings.")


@contextlib.asynccontextmanager
async def lifespan(app):
    print("begun", flush=True)
    yield
    print("ended", flush=True)


app = FastAPI(lifespan=lifespan)


@app.get("/hello/{name}")
async def hello(name: str) -> str:
    greeted.inc()
    return name


@app.get("/slow")
async def slow(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "slow"


@app.get("/broken")
async def broken() -> str:
    raise RuntimeError("hunter2")


async def later(file: str) -> None:
    await asyncio.sleep(0.5)
    with open(file, "w") as done:
        done.write("done")


@app.get("/later")
async def in_background(file: str, tasks: BackgroundTasks) -> str:
    tasks.add_task(later, file)
    return "later"


async def plain(scope, receive, send):
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def make():
    return app


number = 1


async def away():
    raise OSError("away")


if __name__ == "__main__":
    raise SystemExit(keel.serve.run(app, name="checked", version="1.2.3", checks={"store": away}))
"""


class Foreign:
    """A process that serves it."""

    def __init__(self, folder: Path, *arguments: str, **variables: str) -> None:
        (folder / "main.py").write_text(FOREIGN)
        environment = {"APP_PORT": "0", "APP_MANAGEMENT_PORT": "0", "APP_DRAIN_DELAY_SECONDS": "0", **variables}
        self.process = subprocess.Popen(
            [sys.executable, *arguments], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
        )
        self.lines: list[str] = []
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        until(lambda: bool(self.logged("serving")) or self.process.poll() is not None)
        (serving,) = self.logged("serving")
        self.public, self.management = (
            urlsplit(str(serving[f"labels.{name}"])).netloc for name in ("public", "management")
        )

    def _read(self) -> None:
        assert self.process.stdout
        self.lines.extend(iter(self.process.stdout.readline, ""))

    def logged(self, message: str) -> list[dict[str, object]]:
        found = [json.loads(line) for line in list(self.lines) if line.startswith("{")]
        return [each for each in found if each["message"] == message]

    def ask(self, path: str, *, management: bool = False) -> tuple[HTTPResponse, str]:
        connection = HTTPConnection(self.management if management else self.public, timeout=30)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer, body

    def metrics(self) -> str:
        return self.ask("/metrics", management=True)[1]

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        self.reader.join()
        assert self.process.stdout
        self.process.stdout.close()
        return code


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Foreign]]:
    started: list[Foreign] = []

    def serve(*arguments: str, **variables: str) -> Foreign:
        started.append(Foreign(tmp_path, *(arguments or ("-m", "keel.serve", "main:app")), **variables))
        return started[-1]

    yield serve
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.end()


def test_probes_metrics_and_logs(serve: Callable[..., Foreign]) -> None:
    foreign = serve()
    until(lambda: foreign.ask("/readyz", management=True)[0].status == 200)
    answer, body = foreign.ask("/hello/you")
    assert (answer.status, body) == (200, '"you"')
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert foreign.ask("/broken")[0].status == 500
    assert foreign.ask("/nowhere/at/all")[0].status == 404
    metrics = foreign.metrics()
    count = "http_request_duration_seconds_count"
    assert f'{count}{{method="GET",route="/hello/{{name}}",status="200"}} 1.0' in metrics
    assert f'{count}{{method="GET",route="/broken",status="500"}} 1.0' in metrics
    assert f'{count}{{method="GET",route="unmatched",status="404"}} 1.0' in metrics
    assert "greeted_total 1.0" in metrics
    assert metrics.count("# TYPE process_cpu_seconds_total counter") <= 1
    assert foreign.logged("GET /hello/you 200")
    assert foreign.end() == 0
    assert [line.strip() for line in foreign.lines if not line.startswith("{")] == ["begun", "ended"]


def test_the_drain_finishes_what_has_begun(serve: Callable[..., Foreign]) -> None:
    foreign = serve()
    answers: list[int] = []
    request = threading.Thread(target=lambda: answers.append(foreign.ask("/slow?seconds=1")[0].status))
    request.start()
    until(lambda: "http_requests_in_flight 1.0" in foreign.metrics())
    assert foreign.end() == 0
    request.join()
    assert answers == [200]


def test_it_is_not_ready_while_it_drains(serve: Callable[..., Foreign]) -> None:
    foreign = serve(APP_DRAIN_DELAY_SECONDS="20")
    until(lambda: foreign.ask("/readyz", management=True)[0].status == 200)
    foreign.process.send_signal(signal.SIGTERM)
    until(lambda: foreign.ask("/readyz", management=True)[0].status == 503)
    answer, _ = foreign.ask("/hello/you")
    assert (answer.status, answer.headers["connection"]) == (200, "close")


def test_work_after_the_response_is_no_part_of_the_request_and_waited_for(
    serve: Callable[..., Foreign], tmp_path: Path
) -> None:
    foreign, done = serve(), tmp_path / "done"
    assert foreign.ask(f"/later?file={done}")[0].status == 200
    assert not done.exists()
    seconds = re.search(r'duration_seconds_sum\{method="GET",route="/later",status="200"\} (\S+)', foreign.metrics())
    assert seconds
    assert float(seconds[1]) < 0.4
    assert foreign.end() == 0
    assert done.read_text() == "done"


def test_one_line_in_its_own_code(serve: Callable[..., Foreign]) -> None:
    """With checks of its own: a pod is not ready before they have passed."""
    foreign = serve("main.py")
    until(lambda: "unreachable" in foreign.ask("/readyz", management=True)[1])
    assert foreign.ask("/readyz", management=True)[0].status == 503
    assert foreign.ask("/livez", management=True)[0].status == 200
    metrics = foreign.metrics()
    assert 'dependency_up{dependency="store"} 0.0' in metrics
    assert 'version="1.2.3"' in metrics


def test_any_asgi_application(serve: Callable[..., Foreign]) -> None:
    foreign = serve("-m", "keel.serve", "main:plain", "--name", "plain")
    assert foreign.ask("/")[0].status == 204
    assert foreign.end() == 0


def test_a_factory(serve: Callable[..., Foreign]) -> None:
    foreign = serve("-m", "keel.serve", "main:make", "--factory")
    assert foreign.ask("/hello/you")[0].status == 200


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "sentence"),
    [
        (["main"], {}, 2, "'main' names no application: write MODULE:NAME, as main:app."),
        (["nowhere:app"], {}, 2, "There is no module nowhere in "),
        (["main:nothing"], {}, 2, "The module main has no nothing."),
        (["main:number"], {}, 2, "main:number is no ASGI application: it cannot be called."),
        (["main:app"], {"APP_PORT": "http"}, 2, "APP_PORT: must be a valid integer"),
        (["main:app"], {"APP_HOST": "203.0.113.1"}, 1, "APP_PORT: cannot listen on 203.0.113.1"),
    ],
)
def test_mistakes(tmp_path: Path, arguments: list[str], variables: dict[str, str], code: int, sentence: str) -> None:
    (tmp_path / "main.py").write_text(textwrap.dedent(FOREIGN))
    command = [sys.executable, "-m", "keel.serve", *arguments]
    done = subprocess.run(command, check=False, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=30)
    assert done.returncode == code
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_an_import_that_fails_in_the_application_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import no_such_library\n")
    command = [sys.executable, "-m", "keel.serve"]
    done = subprocess.run(command, check=False, cwd=tmp_path, env={}, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "No module named 'no_such_library'" in done.stderr
