"""wrk, as a function: a load on 127.0.0.1 from one thread on a core of its own."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).parent / "wrk.lua"
CONNECTIONS = 32


@dataclass(frozen=True)
class Load:
    """What a load met. Latencies are of answered requests; wrk counts answers from 400 on as errors."""

    requests: int
    rps: float
    errors: int
    p50_ms: float
    p99_ms: float


def on_core(core: int) -> list[str]:
    """Keep server and load generator from taking each other's core, where there are two."""
    return ["taskset", "--cpu-list", str(core)] if (os.cpu_count() or 1) > 1 else []


def load(url: str, seconds: int, rate: float = 0, token: str = "") -> Load:
    """Send requests for `seconds`, at `rate` a second or as fast as they are answered; with `token`, to make links."""
    command = ["wrk", "--threads=1", f"--connections={CONNECTIONS}", f"--duration={seconds}s", f"--script={SCRIPT}"]
    arguments = [f"{rate:g}", str(CONNECTIONS), *([token] if token else [])]
    done = subprocess.run([*on_core(1), *command, url, "--", *arguments], capture_output=True, text=True, check=True)
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    result = json.loads(line.removeprefix("RESULT "))
    requests = result["requests"]
    return Load(requests, requests / result["seconds"], result["errors"], result["p50_ms"], result["p99_ms"])
