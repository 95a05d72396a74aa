"""`make contract`: what it says of our image, of a plain application, and of the same after its advice was followed."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from delivery.image import reachable
from k8s import up
from keel.contract import points
from keel.contract.__main__ import main
from offline.image_build import Built, build_image
from tests.e2e import shape_images
from tests.e2e.machine import slowness
from toolkit.process import output

pytestmark = pytest.mark.timeout(300)
PYTHON = "/usr/bin/python3.13"
MOST_SECONDS = 90

PLAIN = """\
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def root() -> str:
    return "hello"
"""
# It answers, and does everything else wrongly.
BAD = """\
import os, signal, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

ballast = b"x" * (210 << 20)
asked = set()

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        asked.add(self.path)
        time.sleep(0.5 if self.path == "/" else 0)
        self.send_response(503 if self.path == "/livez" and "away" in os.environ.get("DATABASE", "") else 200)
        self.end_headers()
        if self.path == "/metrics":
            self.wfile.write(b"# TYPE asked_total counter\\n")
            self.wfile.write("".join(f'asked_total{{path="{path}"}} 1\\n' for path in asked).encode())

signal.signal(signal.SIGTERM, lambda *_: os._exit(1))
print("[Errno 30] Read-only file system: '/srv/cache'", flush=True)
Thread(target=ThreadingHTTPServer(("", 9000), Handler).serve_forever).start()
ThreadingHTTPServer(("", 8000), Handler).serve_forever()
"""
DATABASE = ["--env", "APP_DATABASE_URL=sqlite:////tmp/x.db"]
AWAY = ["--away", "APP_DATABASE_URL=postgresql://user:secret@192.0.2.1/name"]
Tried = Callable[..., tuple[int, dict[str, bool | None]]]


@pytest.fixture
def tried(tmp_path: Path) -> Tried:
    """Tries an image; the exit code, and whether each point is kept."""

    def tried(image: Built, *arguments: str) -> tuple[int, dict[str, bool | None]]:
        report = tmp_path / "contract.json"
        name = reachable(f"{image.repository}@{image.digest}")
        began = time.monotonic()
        code = main([name, f"--json={report}", *arguments])
        assert time.monotonic() - began < MOST_SECONDS * slowness()
        return code, {each["point"]: each["kept"] for each in json.loads(report.read_text())}

    return tried


@pytest.fixture(scope="module")
def image(stack: up.Stack, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Built]:
    """Builds an image with the plain application and what our image has, started by a command."""

    def build(name: str, *command: str) -> Built:
        context = tmp_path_factory.mktemp(name)
        (context / "main.py").write_text(PLAIN)
        base = reachable(f"{stack.image.repository}@{stack.image.digest}")
        dockerfile = f"FROM {base}\nCOPY main.py /srv/main.py\nENTRYPOINT {json.dumps(command)}\nCMD []\n"
        (context / "Dockerfile").write_text(dockerfile)
        return build_image(stack.registry, context, name=name)

    return build


def test_our_image_keeps_every_point(stack: up.Stack, tried: Tried, report: Callable[..., None]) -> None:
    code, kept = tried(stack.image, *DATABASE, *AWAY)
    report("contract: our image", note=f"{sum(each is True for each in kept.values())} of {len(kept)} points")
    assert [point for point, each in kept.items() if each is not True] == []
    assert code == 0


@pytest.mark.nightly
def test_a_plain_application_and_the_same_after_the_advice(
    image: Callable[..., Built], tried: Tried, report: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    uvicorn = image("plain", PYTHON, "-m", "uvicorn", "main:app", "--host=0.0.0.0", "--port=8000")
    code, kept = tried(uvicorn)
    assert code == 1
    assert {point for point, each in kept.items() if each is False} == {
        *("gets ready", "has /startupz", "has /livez", "has /readyz", "has /metrics", "has the histogram"),
        *("logs JSON, an object a line", "logs no secrets", "has safe headers"),
        *("is not ready while it ends", "asks kept connections to leave"),
    }
    said = capsys.readouterr().out
    assert "Serve it by `python -m keel.serve module:app`" in said
    code, after = tried(image("served", PYTHON, "-m", "keel.serve", "main:app"), "--away", "DATABASE_URL=nowhere")
    before, now = (sum(each is True for each in found.values()) for found in (kept, after))
    report("contract: a plain application, and served by the kit", note=f"{before}, then {now} of {len(after)} points")
    assert [point for point, each in after.items() if each is not True] == []
    assert code == 0


@pytest.mark.nightly
def test_images_with_one_port(
    stack: up.Stack, tried: Tried, tmp_path: Path, report: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """As others have them, and by the values with which the chart runs them."""
    images = shape_images.build(stack.registry, tmp_path)
    for name in ("workers", "template"):
        code, kept = tried(images[name]["1"], f"--values={shape_images.FOLDER / name / 'values.yaml'}", *AWAY)
        assert {point for point, each in kept.items() if each is False} == {
            *("logs JSON, an object a line", "logs no secrets", "has safe headers", "asks kept connections to leave"),
        }, name
        assert code == 1
        good = sum(each is True for each in kept.values())
        report(f"contract: {name}, an image of others with one port", note=f"{good} of {len(kept)} points")
    said = capsys.readouterr().out
    assert "http_request_duration_seconds_bucket has method, handler, status" in said
    # Without the values: what to set is said, and nothing of it is taken for good.
    code, kept = tried(images["workers"]["1"], "--management-port=8000")
    assert kept["has the histogram"] is False
    assert "Set metrics.profile to instrumentator" in capsys.readouterr().out


@pytest.mark.nightly
def test_a_shell_keeps_the_signal_to_itself(
    stack: up.Stack, tried: Tried, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the image starts by itself, and after the advice."""
    (context := tmp_path / "images").mkdir()
    image = shape_images.build(stack.registry, context)["shell"]["1"]
    values = yaml.safe_load((shape_images.FOLDER / "shell" / "values.yaml").read_text())
    script = "alembic upgrade head && {}uvicorn app.main:app --host 0.0.0.0"
    given = tmp_path / "values.yaml"
    found = {}
    for how in ("", "exec "):
        given.write_text(yaml.safe_dump({**values, "command": ["sh", "-c", script.format(how)]}))
        _, found[how] = tried(image, f"--values={given}", "--env=DATABASE_URL=sqlite:////tmp/orders.db")
    differ = {point for point, kept in found[""].items() if kept is not found["exec "][point]}
    assert differ >= {"ends on SIGTERM", "exits with 0"}
    assert {found[""][point] for point in differ} == {False}
    assert "-> Start it with `exec` in a shell script" in capsys.readouterr().out


@pytest.mark.nightly
def test_what_is_wrong_is_seen(image: Callable[..., Built], tried: Tried) -> None:
    _, kept = tried(image("bad", PYTHON, "-c", BAD), "--away=DATABASE=away")
    assert {point for point, each in kept.items() if each is False} >= {
        *("keeps metrics to itself", "has the histogram", "no client makes series without end", "has room in memory"),
        *("logs JSON, an object a line", "logs no secrets", "has safe headers", "writes to /tmp alone"),
        *("exits with 0", "loses no request while it ends", "is not ready while it ends"),
        *("asks kept connections to leave", "stays alive without its dependencies"),
    }


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Whatever goes wrong, the container is removed."""

    def containers() -> set[str]:
        return set(output(["docker", "ps", "--all", "--quiet", "--filter=name=contract-"]).split())

    before = containers()
    yield
    assert containers() <= before


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (
            [PYTHON, "-c", "print('no database'); raise SystemExit(3)"],
            "ended at once, with exit code 3. The end of its log:\nno database\n",
        ),
        (["/no/such/program"], "docker run failed"),
    ],
)
@pytest.mark.usefixtures("nothing_left")
def test_an_image_that_does_not_start(
    image: Callable[..., Built], command: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = image("ends", *command)
    assert main([reachable(f"{made.repository}@{made.digest}")]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert "Traceback" not in said


@pytest.mark.nightly
@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        ("while True: print('x' * 200)", "logs without end: more than 5 MiB until it was asked for anything."),
        (
            "import http.server; http.server.test(port=5000)",
            "answers on neither 8000 nor 9000 after 5 s; it listens on 5000: name that by --port or --values.",
        ),
        (
            "import time\nwhile True: print('no database', flush=True); time.sleep(1)",
            "answers on neither 8000 nor 9000 after 5 s; it listens on no port. The end of its log:\nno database\n",
        ),
    ],
)
def test_an_image_of_which_nothing_can_be_tried(
    image: Callable[..., Built],
    program: str,
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(points, "START_SECONDS", 5)
    made = image("useless", PYTHON, "-c", program)
    assert main([reachable(f"{made.repository}@{made.digest}")]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.usefixtures("nothing_left")
def test_an_image_for_another_machine(stack: up.Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = output(["docker", "version", "--format={{.Server.Os}}/{{.Server.Arch}}"]).strip()
    other = "linux/arm64" if here == "linux/amd64" else "linux/amd64"
    (tmp_path / "program").write_bytes(b"of another machine")
    (tmp_path / "program").chmod(0o755)
    (tmp_path / "Dockerfile").write_text('FROM scratch\nCOPY program /program\nENTRYPOINT ["/program"]\n')
    made = build_image(stack.registry, tmp_path, name="elsewhere", options=[f"--platform={other}"])
    assert main([reachable(f"{made.repository}@{made.digest}")]) == 2
    said = capsys.readouterr().err
    assert f"is for {other}, and this machine runs {here}: build it for that, too." in said


def test_an_image_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["127.0.0.1:1/no/such/image:1"]) == 2
    assert "docker run failed" in capsys.readouterr().err
