import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from k8s import up
from k8s.__main__ import main, sentence
from k8s.kind import host
from k8s.kind.cluster import NODE_PORTS
from offline.images import Images
from offline.registry import Registry
from offline.sources import Source
from toolkit import versions

StandIn = Callable[[str, str], None]


@pytest.fixture
def nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bad input is refused before anything is begun."""

    def begun(*_: object, **__: object) -> None:
        raise AssertionError("begun")

    monkeypatch.setattr(up, "survey", begun)
    monkeypatch.setattr(up, "down", begun)


def shipshape(checkout: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "k8s", *arguments]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False, timeout=60)


def tree(folder: Path) -> dict[str, float]:
    return {str(p): p.stat().st_mtime for p in folder.rglob("*") if "__pycache__" not in p.parts}


@pytest.mark.usefixtures("nothing_is_done")
@pytest.mark.parametrize("name", [*(f"{n.upper()}_PORT" for n in NODE_PORTS)])
@pytest.mark.parametrize("value", ["abc", "0", "65536", "-1", "80 ", "8e3", "٨٠", "", "9" * 5000])
def test_a_bad_port_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert main(["up"]) == 1
    said = capsys.readouterr().err
    assert f"{name} is '{value}'" in said
    assert "1 to 65535" in said


@pytest.mark.usefixtures("nothing_is_done")
@pytest.mark.parametrize("command", ["up", "images"])
def test_a_bad_registry_port_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.setenv("REGISTRY_PORT", "x")
    assert main([command]) == 1
    assert "REGISTRY_PORT is 'x'" in capsys.readouterr().err


@pytest.mark.usefixtures("nothing_is_done")
@pytest.mark.parametrize("command", ["up", "images"])
def test_what_cannot_be_left_out_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.setenv("WITHOUT", "traces data")
    assert main([command]) == 1
    assert "WITHOUT names 'data': what can be left out is logs and traces." in capsys.readouterr().err


@pytest.mark.usefixtures("nothing_is_done")
@pytest.mark.parametrize("name", ["valkey", "valkey/valkey:8.1", "grafana/grafana", ""])
def test_an_image_that_cannot_be_built_is_a_sentence(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main(["images", "valkey/valkey", name]) == 1
    said = capsys.readouterr().err
    assert f"There is no image '{name}' to build. There are: library/registry, " in said


def test_only_the_named_images_are_built(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(up, "survey", lambda *_: (versions.load(), Source.BUILD))
    monkeypatch.setattr(Registry, "ensure", lambda *_: None)
    monkeypatch.setattr(Images, "ensure_registry_image", lambda *_: "registry:1")
    monkeypatch.setattr(
        Images, "ensure_all", lambda self, tools: asked.append(([i.repository for i in self.versions.images], tools))
    )
    assert main(["images", "valkey/valkey"]) == 0
    assert asked == [(["library/registry", "valkey/valkey"], ())]


@pytest.mark.usefixtures("nothing_is_done")
@pytest.mark.parametrize("ports", [{"HTTP_PORT": "9090"}, {"HTTPS_PORT": "5001"}, {"REGISTRY_PORT": "8080"}])
def test_two_ports_that_are_the_same_are_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ports: dict[str, str]
) -> None:
    for name, value in ports.items():
        monkeypatch.setenv(name, value)
    assert main(["up"]) == 1
    said = capsys.readouterr().err
    assert "the same" in said
    assert next(iter(ports.values())) in said


@pytest.mark.usefixtures("nothing_is_done")
@pytest.mark.parametrize("command", ["up", "down"])
@pytest.mark.parametrize("name", ["../../elsewhere", "Links", "a b", "-x", "bin", "log"])
def test_a_bad_name_of_a_cluster_is_a_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str, name: str
) -> None:
    """The name is a folder's below build/, where bin/ and log/ have another use, and the nodes'."""
    before = tree(tmp_path)
    assert main([f"--cluster={name}", command]) == 1
    assert name in capsys.readouterr().err
    assert {p for p in tree(tmp_path).keys() - before.keys() if "cache" not in p} == set()


@pytest.mark.parametrize("arguments", [[], ["destroy"], ["up", "--fast"]])
def test_what_is_no_command_is_refused_with_the_usage(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: python -m k8s" in capsys.readouterr().err


def test_help(checkout: Path) -> None:
    done = shipshape(checkout, "--help")
    assert done.returncode == 0
    for command in ("doctor", "images", "up", "down"):
        assert command in done.stdout
    assert done.stderr == ""


def test_an_engine_that_does_not_answer_is_a_sentence(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHIPSHAPE_IMAGES", "build")
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    done = shipshape(checkout, "up")
    assert done.returncode == 1
    assert "DOCKER_HOST" in done.stderr
    assert "Traceback" not in done.stderr
    assert "apt-get" not in done.stderr


@pytest.fixture
def another_run() -> Iterator[None]:
    with up.alone():
        yield


@pytest.mark.usefixtures("another_run")
@pytest.mark.parametrize("command", ["up", "down", "images"])
def test_a_second_run_at_the_same_time_is_a_sentence(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert main([command]) == 1
    assert "Another run" in capsys.readouterr().err


@pytest.mark.usefixtures("another_run")
def test_doctor_may_look_while_another_run_is_at_work(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHIPSHAPE_IMAGES", "pull")
    monkeypatch.setattr(host, "examine", lambda *_: [host.Finding(True, "Fine.")])
    assert main(["doctor"]) == 0
    assert "✓ Fine." in capsys.readouterr().err


def test_what_ends_is_no_longer_another_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up, "survey", lambda *_: (versions.load(), None))
    monkeypatch.setattr(up, "provide", lambda *_: None)
    assert main(["images"]) == 0
    assert main(["images"]) == 0


@pytest.mark.parametrize("ok", [True, False])
def test_doctor_says_what_was_found_and_how_to_mend_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, ok: bool
) -> None:
    monkeypatch.setenv("SHIPSHAPE_IMAGES", "build")
    findings = [host.Finding(True, "Fine [really]."), host.Finding(ok, "No tea.", "boil water")]
    monkeypatch.setattr(host, "examine", lambda *_: findings)
    assert main(["doctor"]) == (0 if ok else 1)
    said = capsys.readouterr().err
    assert "no image registry answers" in said
    assert "✓ Fine [really]." in said
    assert f"{'✓' if ok else '✗'} No tea.  Mend it with: boil water" in said


def an_engine(state: str, mirrors: Path) -> str:
    """A stand-in for docker with a registry and one node, both in this state."""
    names = ["shipshape-registry", "mine-control-plane"]
    network: dict[str, object] = {"NetworkSettings": {"Ports": {}, "Networks": {}}}
    said = [
        [{"Name": f"/{n}", "State": {"Status": state, "StartedAt": "2026-01-01T10:00:00Z"}, **network}] for n in names
    ]
    registry, node = [json.dumps(s) for s in said]
    return f"""case "$*" in
      "ps --all --filter label=io.x-k8s.kind.cluster=mine "*) echo mine-control-plane ;;
      *"json .Mounts"*) echo '[{{"Source": "{mirrors}", "Destination": "/etc/containerd/certs.d"}}]' ;;
      "container inspect shipshape-registry") echo '{registry}' ;;
      "container inspect mine-control-plane") echo '{node}' ;;
    esac"""


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a cluster `mine` of this checkout has its mirrors, on a host that lacks nothing."""
    monkeypatch.setenv("SHIPSHAPE_IMAGES", "build")
    monkeypatch.setattr(host, "examine", lambda *_: [])
    folder = tmp_path / "build" / "mine"
    folder.mkdir(parents=True)
    (folder / "created.yaml").write_text("")
    return folder / "certs.d"


@pytest.mark.parametrize(("state", "says"), [("exited", "stopped"), ("paused", "paused")])
def test_doctor_says_what_is_wrong_with_what_was_made(
    capsys: pytest.CaptureFixture[str], stand_in: StandIn, made: Path, state: str, says: str
) -> None:
    stand_in("docker", an_engine(state, made))
    assert main(["--cluster=mine", "doctor"]) == 1
    said = capsys.readouterr().err
    for name in ("shipshape-registry", "mine-control-plane"):
        assert f"✗ The container {name} is {says}.  Mend it with: make up" in said


def test_doctor_says_nothing_of_what_is_well(
    capsys: pytest.CaptureFixture[str], stand_in: StandIn, calls: Callable[[], list[str]], made: Path
) -> None:
    stand_in("docker", an_engine("running", made))
    assert main(["--cluster=mine", "doctor"]) == 0
    assert "Nothing is missing" in capsys.readouterr().err
    assert {c.split()[1] for c in calls()} <= {"version", "ps", "inspect", "container"}


@pytest.mark.usefixtures("made")
def test_doctor_says_whose_cluster_it_is(capsys: pytest.CaptureFixture[str], stand_in: StandIn) -> None:
    """`make up` would refuse it."""
    stand_in("docker", an_engine("exited", Path("/home/me/elsewhere/build/mine/certs.d")))
    assert main(["--cluster=mine", "doctor"]) == 1
    said = capsys.readouterr().err
    assert "✗ The cluster mine belongs to the checkout of /home/me/elsewhere" in said
    assert "mine-control-plane is stopped" not in said


def test_a_cluster_that_was_not_made_to_the_end_is_no_trouble(
    capsys: pytest.CaptureFixture[str], stand_in: StandIn, made: Path
) -> None:
    """`make up` makes it anew."""
    (made.parent / "created.yaml").unlink()
    stand_in("docker", an_engine("exited", made))
    assert main(["--cluster=mine", "doctor"]) == 1
    said = capsys.readouterr().err
    assert "shipshape-registry is stopped" in said
    assert "mine-control-plane" not in said


@pytest.mark.usefixtures("only_stand_ins")
def test_doctor_only_looks(
    checkout: Path,
    stand_in: StandIn,
    calls: Callable[[], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever it finds: here neither an engine nor Go, and a package manager that could install them."""
    for name in ("apt-get", "docker", "kubectl"):
        stand_in(name, "exit 1")
    before = tree(checkout)
    limits = [p.read_text() for p in Path("/proc/sys/fs/inotify").glob("*")]
    monkeypatch.setenv("SHIPSHAPE_IMAGES", "pull")
    done = shipshape(checkout, "doctor")
    assert done.returncode == 1
    assert "✗ Go is missing" in done.stderr
    assert tree(checkout) == before
    assert [p for p in (tmp_path / "cache").rglob("*") if p.is_file()] == []
    assert [p.read_text() for p in Path("/proc/sys/fs/inotify").glob("*")] == limits
    assert {" ".join(c.split()[:2]) for c in calls()} <= {"docker version", "kubectl version"}


def test_an_interruption_says_that_one_can_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(up, "survey", interrupted)
    assert main(["images"]) == 130
    assert "again to go on" in capsys.readouterr().err


def test_down_where_no_engine_runs_is_done(capsys: pytest.CaptureFixture[str], stand_in: StandIn) -> None:
    stand_in("docker", "exit 1")
    assert main(["down"]) == 0
    assert "No Docker engine runs" in capsys.readouterr().err


def test_down_leaves_what_other_clusters_need(
    stand_in: StandIn,
    calls: Callable[[], list[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    stand_in("docker", 'case "$*" in *"label=io.x-k8s.kind.cluster") echo 0123456789ab ;; esac')
    assert main(["--cluster=mine", "down"]) == 0
    assert "no cluster mine" in capsys.readouterr().err
    assert not [c for c in calls() if c.startswith(("docker rm", "docker network rm"))]


def test_what_the_system_refuses_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHIPSHAPE_CACHE", "/dev/null/cache")
    assert main(["tools"]) == 1
    assert capsys.readouterr().err == "/dev/null/cache: Not a directory.\n"
    assert sentence(OSError(28, "No space left on device", "/cache/x")).startswith("The disk is full.")
