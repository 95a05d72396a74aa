"""`make load`, against the service as a process."""

import asyncio
import json
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest

from app.links.load import API, EXPIRED, POPULAR, LinkLoad
from k8s.__main__ import main
from k8s.certificates import ensure_authority
from k8s.load import MAX_RATE, command
from k8s.load.open_loop import OpenLoop, require_loopback, session
from k8s.load.tally import Tally, rows
from k8s.load.traffic import RefusedError, Traffic
from keel.load import Mix
from keel.security import dev_token
from tests.app.subject import Settings
from tests.e2e.load import Load, Write, lost
from tests.support.processes import ROOT, App, until

Until = Callable[[Callable[[], object]], Awaitable[None]]
Facts = Callable[..., Path]
Refused = Callable[..., tuple[int, str]]

COUNT = 800
UNLIMITED = {"APP_RATE_LIMIT_ADDRESS_PER_MINUTE": "0", "APP_RATE_LIMIT_TOKEN_PER_MINUTE": "0"}
ELSEWHERE = [
    "http://10.0.0.1:8443",
    "https://example.com",
    "https://links.localhost.example.com",
    "https://notlocalhost",
    "http://[::1]:8443",
    "http://127.0.0.2:8443",
    "http://127.0.0.1@example.com",
    "http://127.0.0.1:x",
    "ftp://127.0.0.1",
    "//127.0.0.1",
    "",
]


def tokens(app: App, count: int = 3) -> list[str]:
    key = dev_token.obtain_key(app.directory / "shipshape" / "dev-key.json")
    issuer, audience = Settings().jwt_issuer, Settings().jwt_audience
    scope = "links:read links:write"
    return [
        dev_token.mint(key, issuer=issuer, audience=audience, subject=f"load-{n}", scope=scope, expires_in=600)
        for n in range(count)
    ]


@pytest.fixture
def facts(tmp_path: Path) -> Facts:
    """Writes what `make up` would have written."""

    def write(url: str, **changes: str | None) -> Path:
        mint = f"cd {ROOT} && {sys.executable} -m app token --key {tmp_path}/shipshape/dev-key.json"
        known = {
            "url": url,
            "ca": str(tmp_path / "ca.crt"),
            "namespace": "links",
            "release": "links",
            "prometheus": "http://127.0.0.1:1",
            "alertmanager": "http://127.0.0.1:2",
            "token": mint,
            **changes,
        }
        file = tmp_path / "up.json"
        file.write_text(json.dumps({key: value for key, value in known.items() if value is not None}))
        return file

    return write


def load(file: Path, *arguments: str) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-m", "k8s", "load", f"--facts={file}", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(argv, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Refused:
    """The exit status, and what was said; nothing may have been sent."""

    def sent(*_: object) -> None:
        raise AssertionError("sent")

    monkeypatch.setattr(OpenLoop, "run", sent)

    def refused(file: Path, *arguments: str) -> tuple[int, str]:
        try:
            status = main(["load", f"--facts={file}", *arguments])
        except SystemExit as error:
            status = int(str(error.code))
        return status, capsys.readouterr().err

    return refused


def put_faults(app: App, **fault: object) -> None:
    connection = HTTPConnection(app.management, timeout=10)
    connection.request("PUT", "/faults", json.dumps(fault))
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.anyio
async def test_each_kind_is_answered_as_it_should_be_and_the_service_counts_the_same(
    start: Callable[..., App],
) -> None:
    app = start(**UNLIMITED)
    url = f"http://{app.public}"
    chance = random.Random(3)  # noqa: S311
    load = LinkLoad(tokens(app), chance)
    traffic = Traffic(Mix([load], chance))
    async with session(url, None, fresh=False) as kept:
        await traffic.prepare(kept, url)
        for _ in range(COUNT):
            await traffic.send(kept, url)
        # The next load finds the links again.
        await Traffic(Mix([LinkLoad(tokens(app)[1:], chance)])).prepare(kept, url)
        with pytest.raises(RefusedError, match=f"POST {url}{API} was answered with 401: .*token"):
            await Traffic(Mix([LinkLoad(["no-token"], chance)])).prepare(kept, url)
    tallies = traffic.tallies
    assert {kind: dict(tally.unexpected) for kind, tally in tallies.items()} == {kind: {} for kind in tallies}
    assert sum(tally.sent for tally in tallies.values()) == COUNT
    assert traffic.take_interval().sent == COUNT
    assert traffic.take_interval().sent == 0
    for kind, tally in tallies.items():
        assert tally.sent, kind
        assert 0 < tally.quantile(0.5) <= tally.quantile(0.99) < 10
    assert tallies["follow"].sent > COUNT / 2
    app.get("/metrics")
    assert f"\nlinks_followed_total {tallies['follow'].sent + tallies['look (HEAD)'].sent}.0\n" in app.body.decode()
    made = POPULAR + EXPIRED + tallies["create"].classes[2]
    assert f"\nlinks_created_total {made}.0\n" in app.body.decode()
    assert f"\nlinks_changed_total {tallies['change'].sent}.0\n" in app.body.decode()
    deleted = tallies["delete"].sent
    assert f"\nlinks_deleted_total {deleted}.0\n" in app.body.decode()
    assert len(load.made) == made - POPULAR - EXPIRED - deleted


def test_some_links_are_followed_far_more_than_others() -> None:
    load = LinkLoad([], random.Random(1))  # noqa: S311
    followed = Counter(load.popular_path() for _ in range(20_000))
    (_, most), (_, second), *_ = followed.most_common()
    assert most == pytest.approx(2 * second, rel=0.1)
    assert len(followed) == POPULAR


def test_from_the_command_line(start: Callable[..., App], facts: Facts) -> None:
    app = start()
    process = load(facts(f"http://{app.public}"), "--rate=18", "--seconds=6")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"18 requests a second to http://{app.public} for 6 s; Ctrl-C ends it sooner."
    (told,) = (line for line in lines if "since the line before" in line)
    assert "0 x 5xx, 0 without an answer, p50 " in told
    assert lines[3].split() == ["sent", "2xx", "3xx", "4xx", "5xx", "none", "p50", "ms", "p99", "ms"]
    sent = int(next(line for line in lines if line.startswith("all ")).split()[1])
    assert 90 < sent <= 109  # a machine that is busy as it ends may take some of them
    assert any(line.startswith(f"{sent} requests in 6 s, ") for line in lines)
    assert "Every answer was as it should be." in lines
    assert "Where to look:" in lines
    assert any("http://127.0.0.1:1/query?g0.expr=" in line for line in lines)


def test_ctrl_c_ends_it_with_the_summary(start: Callable[..., App], facts: Facts) -> None:
    app = start(**UNLIMITED)
    process = load(facts(f"http://{app.public}"), "--rate=40", "--seconds=3600")
    assert process.stdout
    until(lambda: app.get("/metrics").status == 200 and 'route="/{slug}",status="307"' in app.body.decode())
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "")
    assert "Stopping" in out
    assert "Every answer was as it should be." in out
    assert "Where to look:" in out


def test_ctrl_c_before_it_has_begun(refused: Refused, facts: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_tokens", interrupted)
    assert refused(facts("http://127.0.0.1:1")) == (130, "\nInterrupted.\n")


def test_errors_and_silence_are_told_apart(start: Callable[..., App], facts: Facts) -> None:
    """It begins all the same: such a service may be what one wants to look at."""
    app = start(APP_FAULTS_ENABLED="true", **UNLIMITED)
    put_faults(app, error_ratio=0.5)
    process = load(facts(f"http://{app.public}"), "--rate=40", "--seconds=3")

    def both_seen() -> bool:
        """Of visits alone: the links are made first, with errors too, and that is no part of the load."""
        assert app.get("/metrics").status == 200
        counts = [
            line.split()[-1]
            for status in ("307", "500")
            for line in app.body.decode().splitlines()
            if line.startswith(
                f'http_request_duration_seconds_count{{method="GET",route="/{{slug}}",status="{status}"}}'
            )
        ]
        # Three each: the client has seen all but perhaps the last.
        return len(counts) == 2 and min(map(float, counts)) >= 3

    until(both_seen)
    app.process.kill()
    app.end()
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    (told,) = (line for line in out.splitlines() if line.startswith("Not as they should be: "))
    assert " x status 500" in told
    assert " x ClientConnectorError" in told
    everything = next(line for line in out.splitlines() if line.startswith("all "))
    assert 100 < int(everything.split()[1]) <= 121


def test_where_nothing_answers(refused: Refused, facts: Facts, unused_port: int) -> None:
    status, said = refused(facts(f"http://127.0.0.1:{unused_port}"))
    assert status == 1
    assert f"http://127.0.0.1:{unused_port} cannot be reached" in said
    assert "`make up`" in said


@pytest.mark.parametrize("url", ELSEWHERE)
def test_it_is_sent_nowhere_else(refused: Refused, facts: Facts, url: str) -> None:
    status, said = refused(facts(url))
    assert (status, said) == (1, f"{url} is not this machine: the load is for the local cluster alone, at 127.0.0.1.\n")


def test_without_a_cluster(refused: Refused, facts: Facts, tmp_path: Path, unused_port: int) -> None:
    status, said = refused(tmp_path / "none.json")
    assert status == 1
    assert said == f"No cluster is up ({tmp_path}/none.json is not there): bring one up with `make up`.\n"
    broken = tmp_path / "broken.json"
    for text in ("{", "[1]", "3"):
        broken.write_text(text)
        status, said = refused(broken)
        assert (status, "cannot be read" in said) == (1, True)
    status, said = refused(facts("http://127.0.0.1", namespace=None))
    assert (status, "does not say namespace" in said) == (1, True)
    status, said = refused(facts(f"http://127.0.0.1:{unused_port}", token="echo no key >&2; false"))
    assert (status, "no key" in said) == (1, True)
    status, said = refused(facts("https://links.localhost:8443"))
    assert (status, "certificate cannot be read" in said) == (1, True)


@pytest.mark.parametrize(
    "argument",
    ["--rate=0", "--rate=1001", "--rate=nan", "--rate=many", "--seconds=0", "--seconds=3601", "--seconds=inf"],
)
def test_bounds(refused: Refused, tmp_path: Path, argument: str) -> None:
    status, said = refused(tmp_path / "none.json", argument)
    assert status == 2
    assert "is not a number from 1 to" in said


@pytest.mark.anyio
async def test_every_name_is_this_machine(start: Callable[..., App]) -> None:
    app = start()
    port = app.public.rpartition(":")[2]
    async with (
        session(f"http://example.com:{port}", None, fresh=True) as kept,
        kept.get(f"http://example.com:{port}/") as answer,
    ):
        assert answer.status == 421  # ours, which is not example.com


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/", "https://[::1]/", "http://127.0.0.2/", "http://[::ffff:127.0.0.1]"]
)
def test_no_other_address(url: str) -> None:
    with pytest.raises(ValueError, match="not on this machine"):
        require_loopback(url)


@pytest.mark.anyio
async def test_slow_answers_do_not_hold_up_the_next_requests(until: Until) -> None:
    answered = asyncio.Event()
    begun: list[int] = []

    async def send(number: int) -> None:
        begun.append(number)
        await answered.wait()

    loop = OpenLoop(200, 60)
    running = asyncio.create_task(loop.run(send))
    await until(lambda: len(begun) >= 50)
    loop.stop()
    await asyncio.wait([running], timeout=0.3)
    assert not running.done()  # it waits for the answers
    answered.set()
    await running
    assert begun == list(range(loop.sent))
    assert loop.sent / loop.seconds < 210


@pytest.mark.anyio
async def test_it_ends_when_its_time_is_up() -> None:
    async def send(_number: int) -> None:
        pass

    loop = OpenLoop(100, 0.5)
    await loop.run(send)
    assert 0 < loop.sent <= 51
    assert 0.49 < loop.seconds < 5


def test_the_tests_load_in_a_process_of_its_own(
    start: Callable[..., App], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.e2e.load.slowness", lambda: 1.0)
    app = start(**UNLIMITED)
    (token,) = tokens(app, 1)
    url = f"http://{app.public}"
    made = httpx.post(f"{url}{API}", json={"url": "https://example.com"}, headers={"Authorization": f"Bearer {token}"})
    authority = ensure_authority(tmp_path / "ca").certificate
    with Load(f"{url}/{made.json()['slug']}", authority, rate=100) as running:
        running.sent_at_least(60)
    result = running.result
    assert (result.failed, result.reasons()) == (0, "none failed")
    assert len(result.answers) == result.sent >= 60
    assert 50 < result.rate < 110
    with Load(f"{url}/unknown", authority, rate=100) as running:
        running.sent_at_least(10)
    assert running.result.failed == running.result.sent
    assert "status 404 of the service" in running.result.reasons()
    with pytest.raises(ValueError, match="more than"):
        Load(url, authority, rate=MAX_RATE + 1)


def test_every_acknowledged_write_is_known(start: Callable[..., App], tmp_path: Path) -> None:
    """Half of the requests are writes. Those that the service has not are told, and so are those that it refuses."""
    app = start(**UNLIMITED)
    (token,) = tokens(app, 1)
    url = f"http://{app.public}"
    authority = ensure_authority(tmp_path / "ca").certificate
    with Load(f"{url}/unknown", authority, expected=404, write=Write(url + API, token, every=2)) as running:
        running.go_on(1)
    result = running.result
    slugs = [location.rpartition("/")[2] for location in result.made]
    assert result.failed == 0, result.reasons()
    assert len(slugs) == len(range(0, result.sent, 2))
    assert not lost(running, lambda statement: {"SELECT slug FROM links": "\n".join([*slugs, "another"])}[statement])
    assert lost(running, lambda _: "\n".join(slugs[1:])) == {slugs[0]}
    with Load(f"{url}/unknown", authority, expected=404, write=Write(url + API, "none", every=2)) as running:
        running.go_on(1)
    assert {reason for _, reason in running.result.failures} == {"write: status 401 of the service"}


def test_a_tally_knows_latencies_to_two_per_cent() -> None:
    tally = Tally()
    assert tally.quantile(0.5) == 0
    for milliseconds in range(1, 1001):
        tally.answered(200, milliseconds / 1000)
    tally.unanswered()
    assert tally.quantile(0.5) == pytest.approx(0.5, rel=0.02)
    assert tally.quantile(0.99) == pytest.approx(0.99, rel=0.02)
    assert tally.quantile(1) == pytest.approx(1, rel=0.02)
    ours, theirs = rows({"x": tally})
    assert ours[:7] == ["x", "1001", "1000", "", "", "", "1"]
    assert theirs == ["all", *ours[1:]]
