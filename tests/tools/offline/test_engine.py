import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from offline import engine
from toolkit.paths import cache
from toolkit.process import Failure
from toolkit.progress import Progress

StandIn = Callable[[str, str], None]
NEEDED = ["CAP_CHOWN", "CAP_SYS_RESOURCE"]


# The runtime in front of runc.


@pytest.fixture
def runc(stand_in: StandIn) -> Path:
    """The wrapper as it is installed, and a runc that says what it was called with and exits with 7."""
    stand_in("runc", "exit 7")
    return engine._clamped_runc()


def process() -> dict[str, Any]:
    kinds = ["bounding", "effective", "inheritable", "permitted", "ambient"]
    return {
        "args": ["sh"],
        "capabilities": {kind: list(NEEDED) for kind in kinds},
        "oomScoreAdj": -999,
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1, "soft": 1}],
    }


def is_clamped(found: dict[str, Any]) -> bool:
    return found == {
        "args": ["sh"],
        "capabilities": {kind: ["CAP_CHOWN"] for kind in process()["capabilities"]},
        "oomScoreAdj": 0,
    }


@pytest.mark.parametrize("command", ["create", "run"])
@pytest.mark.parametrize("option", ["--bundle {}", "--bundle={}", "-b {}", ""])
def test_a_container_is_asked_for_without_what_needs_the_capability(
    runc: Path, calls: Callable[[], list[str]], tmp_path: Path, command: str, option: str
) -> None:
    spec = {"ociVersion": "1.2.0", "process": process(), "linux": {"resources": {}}}
    (tmp_path / "config.json").write_text(json.dumps(spec))
    words = ["--root", "/run/x", command, *option.format(tmp_path).split(), "the-container"]
    done = subprocess.run([runc, *words], cwd=tmp_path if not option else "/", check=False)
    assert done.returncode == 7  # runc's own
    assert calls() == [f"runc {' '.join(words)}"]
    written = json.loads((tmp_path / "config.json").read_text())
    assert is_clamped(written.pop("process"))
    assert written == {"ociVersion": "1.2.0", "linux": {"resources": {}}}


@pytest.mark.parametrize("option", ["--process {}", "--process={}", "-p {}"])
def test_a_process_in_a_container_as_well(
    runc: Path, calls: Callable[[], list[str]], tmp_path: Path, option: str
) -> None:
    file = tmp_path / "process.json"
    file.write_text(json.dumps(process()))
    words = ["exec", *option.format(file).split(), "--detach", "the-container"]
    assert subprocess.run([runc, *words], check=False).returncode == 7
    assert calls() == [f"runc {' '.join(words)}"]
    assert is_clamped(json.loads(file.read_text()))


@pytest.mark.parametrize("words", [["--version"], ["state", "x"], ["kill", "x", "9"], ["exec", "x", "sh"]])
def test_everything_else_is_left_to_runc(runc: Path, calls: Callable[[], list[str]], words: list[str]) -> None:
    assert subprocess.run([runc, *words], check=False).returncode == 7
    assert calls() == [f"runc {' '.join(words)}"]


@pytest.mark.parametrize("score", [0, 500, None])
def test_a_container_that_wants_nothing_special_is_left_as_it_is(runc: Path, tmp_path: Path, score: int | None) -> None:
    spec = {"process": {"args": ["sh"], "capabilities": {"bounding": ["CAP_CHOWN"]}, "oomScoreAdj": score}}
    (tmp_path / "config.json").write_text(json.dumps(spec))
    subprocess.run([runc, "create", "--bundle", tmp_path, "x"], check=False)
    assert json.loads((tmp_path / "config.json").read_text()) == spec


# Which engine.


def test_one_that_answers_is_taken(stand_in: StandIn, calls: Callable[[], list[str]], progress: Progress) -> None:
    stand_in("docker", "echo 29.1.0")
    engine.ensure(progress)
    assert all(c.startswith("docker version") for c in calls())


def test_one_that_the_user_names_is_never_replaced(stand_in: StandIn, progress: Progress) -> None:
    stand_in("docker", "exit 1")
    stand_in("apt-get", "")
    with pytest.raises(Failure, match=rf"DOCKER_HOST={os.environ['DOCKER_HOST']}.*unset"):
        engine.ensure(progress)


@pytest.mark.usefixtures("only_stand_ins")
def test_without_root_none_can_be_started(
    stand_in: StandIn, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DOCKER_HOST")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    stand_in("apt-get", "")
    stand_in("docker", "exit 1")
    with pytest.raises(Failure, match=r"start Docker.*root"):
        engine.ensure(progress)


@pytest.fixture
def unpacked(
    stand_in: StandIn, only_stand_ins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], None]]:
    """Root's Debian where an engine was unpacked: its daemon is a script, its client asks whether `tmp_path/up` is."""
    monkeypatch.delenv("DOCKER_HOST")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(engine, "START_TIMEOUT", 10)
    stand_in("apt-get", "exit 1")
    stand_in("docker", f'case "$1" in version) test -e {tmp_path}/up ;; *) : ;; esac')
    for name in ("setsid", "sleep"):
        found = shutil.which(name, path=os.defpath)
        assert found
        (only_stand_ins / name).symlink_to(found)

    def put(body: str) -> None:
        daemon = engine._folder() / "usr/sbin/dockerd"
        daemon.parent.mkdir(parents=True)
        daemon.write_text(f"#!/bin/sh\necho $$ > {cache()}/dockerd.pid\n{body}\n")
        daemon.chmod(0o755)

    yield put
    (tmp_path / "up").unlink(missing_ok=True)  # the daemon ends when it is gone


WORKS = ": > {up}\nwhile test -e {up}; do sleep 0.05; done"


def test_one_that_was_unpacked_is_started_and_stopped(
    unpacked: Callable[[str], None], tmp_path: Path, progress: Progress
) -> None:
    unpacked(WORKS.format(up=tmp_path / "up"))
    engine.ensure(progress)
    pid = int((cache() / "dockerd.pid").read_text())
    assert engine._own_pid() == pid
    assert os.getsid(pid) == pid  # a session of its own: Ctrl-C does not reach it
    assert engine.stop()
    assert engine._own_pid() is None


def test_one_that_was_unpacked_has_no_process_for_each_port(
    unpacked: Callable[[str], None], tmp_path: Path, progress: Progress
) -> None:
    """Such a process can end, and its port with it."""
    unpacked(f'echo "$*" > {tmp_path}/arguments\n' + WORKS.format(up=tmp_path / "up"))
    engine.ensure(progress)
    assert "--userland-proxy=false" in (tmp_path / "arguments").read_text().split()


def test_one_in_which_something_runs_is_not_stopped(
    unpacked: Callable[[str], None], tmp_path: Path, progress: Progress, stand_in: StandIn
) -> None:
    unpacked(WORKS.format(up=tmp_path / "up"))
    engine.ensure(progress)
    stand_in("docker", "echo 0123456789ab")
    assert not engine.stop()
    assert engine._own_pid() is not None


def test_one_that_dies_says_why(unpacked: Callable[[str], None], progress: Progress) -> None:
    unpacked("sleep 0.3; echo cannot mount anything here >&2; exit 1")
    with pytest.raises(Failure, match=r"(?s)did not start.*dockerd\.log.*cannot mount anything here"):
        engine.ensure(progress)


def test_one_that_dies_at_once_is_not_waited_for(unpacked: Callable[[str], None], progress: Progress) -> None:
    unpacked("echo unknown flag >&2; exit 1")
    with pytest.raises(Failure, match="unknown flag"):
        engine.ensure(progress)
    [(_, seconds)] = progress.finished
    assert seconds < engine.START_TIMEOUT / 2


def test_a_process_that_is_no_engine_is_not_ours() -> None:
    (cache() / "dockerd.pid").write_text(str(os.getpid()))
    assert engine._own_pid() is None
    assert not engine.stop()


@pytest.mark.parametrize("text", ["", "\n"])
def test_a_file_that_is_being_written_names_no_process(text: str) -> None:
    (cache() / "dockerd.pid").write_text(text)
    assert engine._own_pid() is None


def test_a_process_that_is_noted_in_the_meantime_has_not_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = tmp_path / "noted"
    noted.write_text(str(os.getpid()))
    looks = iter([tmp_path / "not yet", noted, noted])
    monkeypatch.setattr(engine, "_pid_file", lambda: next(looks))
    assert not engine._has_ended()
    assert not engine._has_ended()


# What builds images.


@pytest.mark.usefixtures("only_stand_ins")
def test_buildx_is_docker_s_plugin_or_a_program(stand_in: StandIn) -> None:
    stand_in("docker", "exit 1")
    with pytest.raises(Failure, match=r"buildx.*install"):
        engine.buildx()
    stand_in("docker-buildx", "")
    assert engine.buildx() == ["docker-buildx"]
    engine.buildx.cache_clear()
    stand_in("docker", "")
    assert engine.buildx() == ["docker", "buildx"]


@pytest.mark.parametrize(("device", "largest"), [(1400, 1400), (9000, 1450)])
def test_the_bridge_sends_no_larger_packets_than_the_ways_out_take(
    device: int, largest: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container, the way out is none of the devices. A bridge is neither."""
    for name, size in {"eth0": 1450, "enp1s0": device, "docker0": 1200}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "mtu").write_text(f"{size}\n")
    (tmp_path / "enp1s0" / "device").mkdir()
    routes = tmp_path / "route"
    routes.write_text("Iface Destination Gateway\neth0 00000000 010011AC\ndocker0 000012AC 00000000\n")
    monkeypatch.setattr(engine, "INTERFACES", tmp_path)
    monkeypatch.setattr(engine, "ROUTES", routes)
    assert engine._host_mtu() == largest
