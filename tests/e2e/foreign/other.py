"""A service that is not ours and knows nothing of the chart, but keeps its contract: two ports, probes, a drain."""

import argparse
import asyncio
import contextlib
import signal
from collections import Counter
from collections.abc import Iterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

hellos: Counter[str] = Counter()
ready = asyncio.Event()


async def hello(request: Request) -> PlainTextResponse:
    hellos["total"] += 1
    await asyncio.sleep(float(request.query_params.get("seconds", 0)))
    return PlainTextResponse("hello\n")


async def health(request: Request) -> PlainTextResponse:
    lost = request.path_params["probe"] == "ready" and not ready.is_set()
    return PlainTextResponse("draining\n" if lost else "ok\n", 503 if lost else 200)


async def metrics(_request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"# TYPE hellos_total counter\nhellos_total {hellos.total()}\n")


class Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the signal is for both servers, one after the other


async def serve(http: int, management: int) -> None:
    def server(port: int, *routes: Route) -> Server:
        return Server(uvicorn.Config(Starlette(routes=routes), host="0.0.0.0", port=port))  # noqa: S104

    public = server(http, Route("/", hello))
    # The chart's own paths, and others that its values can name.
    probes = Route("/health/{probe}", health), Route("/{probe:str}z", health)
    private = server(management, *probes, Route("/stats", metrics), Route("/metrics", metrics))

    def drain() -> None:
        ready.clear()
        public.should_exit = True

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, drain)
    ready.set()
    watched = asyncio.create_task(private.serve())
    await public.serve()
    private.should_exit = True
    await watched


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--http", type=int, required=True)
    parser.add_argument("--management", type=int, required=True)
    chosen = parser.parse_args()
    asyncio.run(serve(chosen.http, chosen.management))
