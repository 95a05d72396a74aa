"""`make profile`: what each part of the service costs, to say where the benchmark's figures come from.

Time: the service's protocol and middleware in one process, from the bytes of a JSON request to those of its answer,
without a socket; each middleware left out in turn. The variants take turns, a hundred requests each, and the best of
many turns counts, as that is the one nothing disturbed. Memory: what a process gains by each import.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
from fastapi import FastAPI
from pydantic import SecretStr
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from app import __version__
from app.main import SERVICE
from bench.apps.answers import add_routes
from keel.observability import logs
from keel.security import dev_token
from keel.server import Server, freeze_gc
from keel.service import Apps
from keel.settings import Settings

ROOT = Path(__file__).parent.parent
REPORT = ROOT / "build/report/profile.json"
TURNS, REQUESTS = 150, 100
REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nUser-Agent: wrk\r\n\r\n"
DATE = (b"date", b"Sun, 22 Nov 2026 12:00:00 GMT")
WHOLE, QUIET, NONE, BARE = "ours", "ours without the access log", "ours without middleware", "bare"
# In the order in which `python -m app` imports them; and the ORM, which it does not import.
IMPORTS = (
    *("fastapi", "uvicorn.protocols.http.httptools_impl", "structlog", "orjson", "prometheus_client"),
    *("pydantic_settings", "cryptography.hazmat.primitives.asymmetric.ed25519", "joserfc.jwt", "sqlalchemy"),
    *("keel.data.async_engine", "asyncpg", "valkey.asyncio", "app.main", "sqlalchemy.orm"),
)


class Transport:
    """Takes what a protocol writes, and forgets it."""

    def write(self, data: bytes) -> None:
        pass

    def get_extra_info(self, name: str) -> object:
        return {"peername": ("127.0.0.1", 50000), "sockname": ("127.0.0.1", 8000)}.get(name)

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        raise RuntimeError("the connection was closed: the request was refused")

    def resume_reading(self) -> None:
        pass


class Connection:
    def __init__(self, config: uvicorn.Config, protocol: Any) -> None:
        config.load()
        state = ServerState()
        state.default_headers = [DATE]
        self.protocol = protocol(config=config, server_state=state, app_state={})
        self.protocol.connection_made(Transport())

    async def answer(self, requests: int) -> None:
        for _ in range(requests):
            self.protocol.data_received(REQUEST)
            while not self.protocol.cycle.response_complete:  # noqa: ASYNC110 - the event loop's next round is what it needs
                await asyncio.sleep(0)


def ours(settings: Settings, leave_out: str = "") -> tuple[Apps, Connection]:
    service = SERVICE.build(settings)
    service.health.started = True
    app = service.public
    kept = [] if leave_out == NONE else [each for each in app.user_middleware if _name(each) != leave_out]
    app.user_middleware = kept
    server = Server(app, settings, service.limits)
    return service, Connection(server.config, server.config.http)


def bare() -> Connection:
    sys.argv = ["profile", "0", __version__]
    app = FastAPI()
    add_routes(app)
    config = uvicorn.Config(app, http="httptools", ws="none", interface="asgi3", log_config=None, access_log=False)
    return Connection(config, HttpToolsProtocol)


def _name(middleware: Any) -> str:
    return str(middleware.cls.__name__)


async def times(settings: Settings) -> dict[str, float]:
    """Microseconds of a request, by variant."""
    assert logs.output is not None  # noqa: S101 - for the type checker
    service, whole = ours(settings)
    variants = {WHOLE: whole, QUIET: whole, NONE: ours(settings, NONE)[1], BARE: bare()}
    for name in map(_name, service.public.user_middleware):
        variants[name] = ours(settings, name)[1]
    best = dict.fromkeys(variants, float("inf"))
    await whole.answer(1)
    freeze_gc()
    for _ in range(TURNS):
        for name, connection in variants.items():
            logs.set_level("error" if name == QUIET else "info")
            await connection.answer(REQUESTS // 5)
            logs.output.writer.flush()
            began = time.perf_counter()
            await connection.answer(REQUESTS)
            logs.output.writer.flush()
            best[name] = min(best[name], (time.perf_counter() - began) / REQUESTS * 1e6)
    return best


def memory() -> dict[str, float]:
    """MiB that a process gains by each import, after those before it."""
    program = (
        "import importlib, json, sys\n"
        "def rss(): return next(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('VmRSS')) / 1024\n"
        "gains, before = {}, rss()\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name); now = rss(); gains[name] = now - before; before = now\n"
        "print(json.dumps(gains))"
    )
    command = [sys.executable, "-c", program, *IMPORTS]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    gains: dict[str, float] = json.loads(done.stdout)
    return gains


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="profile-") as temporary:
        keys = Path(temporary) / "jwks.json"
        keys.write_text(dev_token.public_jwks(dev_token.obtain_key(Path(temporary) / "key.json")))
        settings = Settings(
            environment="production",
            public_url="https://links.example.com",
            trusted_hosts="127.0.0.1",
            database_url=SecretStr("postgresql://nobody:nothing@127.0.0.1/none"),
            jwt_issuer="https://issuer.example.com",
            jwks_file=keys,
            rate_limit_address_per_minute=1_000_000_000,
        )
        with open("/dev/null", "w") as nowhere:
            logs.configure(settings, nowhere)
            microseconds = uvloop.run(times(settings))
    print("Microseconds of a JSON request in process, and what is saved by leaving out a part:")
    for name, value in microseconds.items():
        saved = "" if name in (WHOLE, NONE, BARE) else f"{microseconds[WHOLE] - value:8.1f}"
        print(f"  {name if not saved or name == QUIET else f'ours without {name}':45} {value:8.1f} {saved}")
    gains = memory()
    print("MiB of memory gained by imports, each after those before it:")
    for name, value in gains.items():
        print(f"  {name:60} {value:8.1f}")
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps({"microseconds": microseconds, "import_mib": gains}, indent=2) + "\n")


if __name__ == "__main__":
    main()
