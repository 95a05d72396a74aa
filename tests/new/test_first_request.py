"""From the command to the first request of one's own: what a newcomer types, with one file edited."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from toolkit.paths import BUILD, ROOT
from toolkit.ports import free_port

MINUTES = 3
# What a machine is told of its network: indexes, proxies, authorities.
NETWORK = re.compile("PIP_.*|(?i:.*_proxy)|SSL_CERT_FILE|REQUESTS_CA_BUNDLE")
OWN = '''

@router.get("/{name}/greeting", responses=problems(401, 403))
async def greeting(name: Name, writer: Writer) -> dict[str, str]:
    """A greeting from whoever asks. Needs the scope items:write."""
    return {"greeting": f"{writer.subject} greets {name}"}
'''


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A newcomer's: nothing of this checkout's environment, and a database and key in a folder of their own."""
    kept = {name: value for name, value in os.environ.items() if NETWORK.fullmatch(name) or name in ("PATH", "HOME")}
    return kept | {
        "APP_PORT": str(free_port()),
        "APP_MANAGEMENT_PORT": str(free_port()),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }


@pytest.fixture
def started(template: Path) -> float:
    """When the newcomer begins: what the service is made from is there."""
    (template / ".venv").symlink_to(ROOT / ".venv")
    return time.monotonic()


@pytest.fixture
def service(template: Path, environment: dict[str, str], tmp_path: Path) -> Path:
    """Made by `make new`, and one file edited."""
    folder = tmp_path / "bookings"
    subprocess.run(
        ["make", "--silent", "--old-file=.venv/.made", "new"],
        cwd=template,
        env=environment | {"NAME": "bookings", "DIR": str(folder)},
        check=True,
    )
    routes = folder / "bookings" / "items" / "routes.py"
    routes.write_text(routes.read_text() + OWN)
    return folder


@pytest.fixture
def running(service: Path, environment: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(["make", "run"], cwd=service, env=environment, start_new_session=True)
    yield process
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(30)


@pytest.mark.timeout((MINUTES + 1) * 60)
def test_the_first_request(
    started: float, service: Path, environment: dict[str, str], request: pytest.FixtureRequest
) -> None:
    subprocess.run(["make", "--silent", ".venv"], cwd=service, env=environment, check=True)
    process: subprocess.Popen[bytes] = request.getfixturevalue("running")
    public = f"http://127.0.0.1:{environment['APP_PORT']}"
    management = f"http://127.0.0.1:{environment['APP_MANAGEMENT_PORT']}"
    while True:
        assert process.poll() is None
        try:
            if httpx.get(f"{management}/readyz").status_code == 200:
                break
        except httpx.TransportError:
            pass  # it does not listen yet
        time.sleep(0.05)
    token = subprocess.run(
        ["make", "--silent", "token"], cwd=service, env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()
    url = f"{public}/api/v1/items/you/greeting"
    answer = httpx.get(url, headers={"Authorization": f"Bearer {token}"})
    seconds = time.monotonic() - started
    assert seconds < MINUTES * 60
    assert answer.json() == {"greeting": "dev greets you"}
    refused = httpx.get(url)
    assert (refused.status_code, refused.headers["content-type"]) == (401, "application/problem+json")
    assert 'route="/api/v1/items/{name}/greeting",status="200"' in httpx.get(f"{management}/metrics").text
    report = BUILD / "report" / "new.json"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps({"seconds_to_the_first_request": round(seconds, 1), "files_edited": 1}))
