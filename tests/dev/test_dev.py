"""`make dev` in a copy of the checkout: real servers, a real reload, and nothing left when it ends."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from app import __version__
from dev import command as dev
from toolkit.paths import BUILD, ROOT
from toolkit.ports import free_port
from toolkit.process import Failure

READY_SECONDS = 10  # what a warm checkout may take
REPORT = BUILD / "report" / "dev.json"
# As a shell starts what is to run in the background.
IGNORING = ["sh", "-c", 'trap "" INT; exec "$0" "$@"']
NAMES = ("APP_PORT", "APP_MANAGEMENT_PORT", "POSTGRESQL_PORT", "VALKEY_PORT")


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)


class Dev:
    """The command, as a process of its own, with the ports that are given."""

    def __init__(self, checkout: Path, ports: dict[str, int]) -> None:
        self.ports = ports
        self.started = time.monotonic()
        # Not this test's own settings: pytest's coverage and the like.
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("APP_", "COV", "PYTEST"))}
        self.process = subprocess.Popen(
            [*IGNORING, sys.executable, "-m", "dev"],
            cwd=checkout,
            env={**kept, **{name: str(port) for name, port in ports.items()}},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.said: list[str] = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        self.said.extend(self.process.stdout)

    def heard(self, text: str) -> bool:
        return any(text in line for line in list(self.said))

    def wait_for(self, text: str) -> None:
        until(lambda: self.heard(text) or self.process.poll() is not None)
        assert self.heard(text), "".join(self.said)

    def get(self, path: str) -> Any:
        url = f"http://127.0.0.1:{self.ports['APP_PORT']}{path}"
        return httpx.get(url, headers={"Authorization": f"Bearer {self.token}"}, trust_env=False, timeout=10).json()

    def post(self, path: str, body: object) -> Any:
        url = f"http://127.0.0.1:{self.ports['APP_PORT']}{path}"
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.post(url, json=body, headers=headers, trust_env=False, timeout=10).json()

    @property
    def token(self) -> str:
        match = re.search(r"export TOKEN=(\S+)", "".join(self.said))
        assert match
        return match[1]

    def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        code = self.process.wait(timeout=60)
        self.reader.join(10)  # a process that was left would hold its other end
        return code


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def checkout() -> Iterator[Path]:
    """A copy, where another user may enter: root's PostgreSQL is run by one."""
    folder = Path(tempfile.mkdtemp(prefix="dev-"))
    folder.chmod(0o755)
    for name in ("app", "dev", "kit", "offline", "toolkit"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def start(checkout: Path) -> Iterator[Callable[[], Dev]]:
    ports = {name: free_port() for name in NAMES}
    made: list[Dev] = []

    def begin() -> Dev:
        made.append(Dev(checkout, ports))
        return made[-1]

    yield begin
    for each in made:
        if each.process.poll() is None:  # the test has failed
            each.end(signal.SIGTERM)
        if each.process.stdout:
            each.process.stdout.close()


@pytest.mark.timeout(300)
def test_serves_reloads_and_leaves_nothing(checkout: Path, start: Callable[[], Dev]) -> None:
    running = start()
    running.wait_for("A token, good for a week")
    running.wait_for("--json")
    first = time.monotonic() - running.started
    assert running.get("/")["version"] == __version__
    made = running.post("/api/v1/links", {"url": "https://example.com/"})
    docs = httpx.get(f"http://127.0.0.1:{running.ports['APP_PORT']}/docs", trust_env=False)
    assert docs.status_code == 200

    second = start()
    until(lambda: second.process.poll() is not None)
    assert second.heard("already at work in this checkout")
    assert running.get("/")["version"] == __version__

    package = checkout / "app" / "__init__.py"
    text = package.read_text()
    began = time.monotonic()
    package.write_text(text.replace(__version__, "0.0.1"))
    running.wait_for("Reloaded after a change of app/__init__.py")
    reload_seconds = time.monotonic() - began
    assert running.get("/")["version"] == "0.0.1"

    kit = checkout / "kit" / "keel" / "http" / "identity.py"
    kit.write_text(kit.read_text().replace("name=product.name", "name=product.name.upper()"))
    running.wait_for("Reloaded after a change of kit/keel/http/identity.py")
    assert running.get("/")["name"] == "SHIPSHAPE"

    package.write_text(text + "(")
    running.wait_for("It does not start after a change of app/__init__.py")
    assert running.process.poll() is None
    package.write_text(text.replace(__version__, "0.0.2"))
    until(lambda: sum("Reloaded" in line for line in list(running.said)) == 3)
    assert running.get("/")["version"] == "0.0.2"
    package.write_text(text)

    assert running.end() == 0
    assert not [name for name, port in running.ports.items() if listens(port)]
    assert not processes_of(checkout)

    again = start()
    again.wait_for("--json")
    warm = time.monotonic() - again.started
    assert made["slug"] in [link["slug"] for link in again.get("/api/v1/links")["items"]]
    assert again.end(signal.SIGTERM) == 0
    assert not processes_of(checkout)
    measured = {"first answer, data made": first, "first answer": warm, "reload": reload_seconds}
    rows = [
        {"name": f"make dev: {name}", "pass": seconds < READY_SECONDS, "seconds": round(seconds, 1)}
        for name, seconds in measured.items()
    ]
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(rows, indent=2) + "\n")
    assert warm < READY_SECONDS


@pytest.mark.timeout(300)
def test_begins_anew_after_it_was_killed(checkout: Path, start: Callable[[], Dev]) -> None:
    killed = start()
    killed.wait_for("--json")
    assert killed.end(signal.SIGKILL) == -signal.SIGKILL
    until(lambda: not listens(killed.ports["APP_PORT"]) and not listens(killed.ports["VALKEY_PORT"]))
    again = start()
    again.wait_for("--json")
    assert again.end() == 0
    assert not processes_of(checkout)


@pytest.mark.timeout(300)
def test_begins_with_code_that_does_not_run(checkout: Path, start: Callable[[], Dev]) -> None:
    """Once it is mended, the database is migrated, and the developer hears what a start says."""
    shutil.rmtree(checkout / "build" / "dev", ignore_errors=True)
    package = checkout / "app" / "__init__.py"
    text = package.read_text()
    package.write_text(text + "(")
    try:
        running = start()
        running.wait_for("The service did not start: waiting for a change")
    finally:
        package.write_text(text)
    running.wait_for("--json")
    assert running.get("/api/v1/links")["items"] == []
    assert running.end() == 0
    assert not processes_of(checkout)


@pytest.mark.timeout(300)
def test_leaves_nothing_when_it_is_ended_while_it_starts(checkout: Path, start: Callable[[], Dev]) -> None:
    running = start()
    until(lambda: listens(running.ports["POSTGRESQL_PORT"]))
    assert running.end(signal.SIGTERM) == 0
    assert not processes_of(checkout)


def test_a_debugger_can_follow_into_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does so into a child whose first word is Python."""
    monkeypatch.setitem(sys.modules, "pydevd", ModuleType("pydevd"))
    assert dev.DevServer({}, 9000).command[0] == sys.executable


def processes_of(checkout: Path) -> list[str]:
    """Command lines and working directories that lie in the copy (proc(5))."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            place = str((folder / "cwd").readlink())
        except OSError:
            continue  # it has ended
        if str(checkout) in words or place.startswith(str(checkout)):
            found.append(words)
    return found


def test_a_port_that_is_taken_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, str(free_port()))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        monkeypatch.setenv("VALKEY_PORT", str(number))
        with pytest.raises(Failure, match=rf"Port {number} cannot be had .*: stop what uses it, or .*VALKEY_PORT="):
            dev.ports()


def test_ports_must_differ_and_be_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "23456")
    with pytest.raises(Failure, match="are both 23456"):
        dev.ports()
    monkeypatch.setenv("APP_PORT", "many")
    with pytest.raises(Failure, match="APP_PORT is 'many'"):
        dev.ports()


def test_a_change_is_a_file_made_changed_or_gone(tmp_path: Path) -> None:
    a, b, c, d = (tmp_path / name for name in "abcd")
    assert dev.changed({a: (1, 1), b: (1, 1), c: (1, 1)}, {a: (1, 1), b: (2, 1), d: (1, 1)}) == [b, c, d]
