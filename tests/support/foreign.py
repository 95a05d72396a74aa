"""An application that knows nothing of the kit, in a process that serves it by keel.serve."""

import json
import signal
import subprocess
import sys
import threading
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.processes import until

FOREIGN = """\
import asyncio
import contextlib

import os

from fastapi import BackgroundTasks, FastAPI, WebSocket
from fastapi.responses import StreamingResponse
from prometheus_client import Counter, Gauge

import keel.serve

greeted = Counter("greeted", "Greetings.")
Gauge("apart", "One for each process.").set(3)
Gauge("together", "One for all.", multiprocess_mode="sum").set(3)


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


async def repeat():
    while True:
        yield "data: event\\n\\n"
        await asyncio.sleep(0.1)


@app.get("/events")
async def events() -> StreamingResponse:
    return StreamingResponse(repeat(), media_type="text/event-stream")


@app.get("/pid")
async def pid() -> int:
    return os.getpid()


@app.websocket("/echo/{name}")
async def echo(websocket: WebSocket, name: str) -> None:
    if name == "nobody":
        await websocket.close()
        return
    if name == "early":
        raise RuntimeError("hunter2")
    await websocket.accept()
    async for text in websocket.iter_text():
        if text == "break":
            raise RuntimeError("hunter2")
        await websocket.send_text(f"{name}: {text}")


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

    def ask(
        self, path: str, *, management: bool = False, method: str = "GET", body: str | None = None
    ) -> tuple[HTTPResponse, str]:
        connection = HTTPConnection(self.management if management else self.public, timeout=30)
        connection.request(method, path, body)
        answer = connection.getresponse()
        answered = answer.read().decode()
        connection.close()
        return answer, answered

    def metrics(self) -> str:
        return self.ask("/metrics", management=True)[1]

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        """The exit code of a process that is ending, once it has said all."""
        code = self.process.wait(30)
        self.reader.join()
        assert self.process.stdout
        self.process.stdout.close()
        return code
