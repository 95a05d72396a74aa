"""`make contract`: what it says of our image, of a plain application, and of the same after its advice was followed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from delivery.image import reachable
from k8s import up
from keel.contract.__main__ import main
from offline.image_build import Built, build_image
from tests.e2e import shape_images

pytestmark = pytest.mark.timeout(300)

PLAIN = """\
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def root() -> str:
    return "hello"
"""
DATABASE = ["--env", "APP_DATABASE_URL=sqlite:////tmp/x.db"]
AWAY = ["--away", "APP_DATABASE_URL=postgresql://user:secret@192.0.2.1/name"]
Tried = Callable[..., tuple[int, dict[str, bool | None]]]


@pytest.fixture
def tried(tmp_path: Path) -> Tried:
    """Tries an image; the exit code, and whether each point is kept."""

    def tried(image: Built, *arguments: str) -> tuple[int, dict[str, bool | None]]:
        report = tmp_path / "contract.json"
        code = main([reachable(f"{image.repository}@{image.digest}"), f"--json={report}", *arguments])
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
    python = "/usr/bin/python3.13"
    uvicorn = image("plain", python, "-m", "uvicorn", "main:app", "--host=0.0.0.0", "--port=8000")
    code, kept = tried(uvicorn)
    assert code == 1
    assert {point for point, each in kept.items() if each is False} == {
        *("gets ready", "has /startupz", "has /livez", "has /readyz", "has /metrics", "has the histogram"),
        *("logs JSON, an object a line", "logs no secrets", "has safe headers"),
        *("is not ready while it ends", "asks kept connections to leave"),
    }
    said = capsys.readouterr().out
    assert "Serve it by `python -m keel.serve module:app`" in said
    code, after = tried(image("served", python, "-m", "keel.serve", "main:app"), "--away", "DATABASE_URL=nowhere")
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


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["/usr/bin/python3.13", "-c", "print('no database'); raise SystemExit(3)"], "ended at once, with exit code 3"),
        (["/no/such/program"], "docker run failed"),
    ],
)
def test_an_image_that_does_not_start(
    image: Callable[..., Built], command: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = image("ends", *command)
    assert main([reachable(f"{made.repository}@{made.digest}")]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert "Traceback" not in said


def test_an_image_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["127.0.0.1:1/no/such/image:1"]) == 2
    assert "docker run failed" in capsys.readouterr().err
