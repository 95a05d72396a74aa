import ctypes
import io
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from k8s.kind import host
from k8s.kind.host import Finding, examine, require
from offline import engine
from offline.sources import Source
from toolkit import paths, versions
from toolkit.process import Failure
from toolkit.programs import Programs
from toolkit.progress import Progress

StandIn = Callable[[str, str], None]
LOCK = versions.load()
GO = 'case "$*" in "env GOVERSION") echo {version} ;; "env GOSUMDB") echo {sumdb} ;; esac'


def docker(answers: bool) -> str:
    return "echo 29.1.0" if answers else "exit 1"


@pytest.fixture
def ready(stand_in: StandIn, only_stand_ins: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host on which everything is there, by an unprivileged user."""
    stand_in("go", GO.format(version="go1.26.1", sumdb="sum.golang.org"))
    stand_in("docker", docker(answers=True))
    stand_in("mmdebstrap", "")
    for tool in LOCK.tools.values():
        stand_in(tool.name, f"echo {tool.version}")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for name in ("DISK_TO_PULL", "DISK_TO_BUILD", "MEMORY"):
        monkeypatch.setattr(host, name, 0)
    monkeypatch.setattr(host, "INOTIFY", {"max_user_instances": 1, "max_user_watches": 1})
    return only_stand_ins


def only_missing(source: Source = Source.BUILD, ports: tuple[int, ...] = ()) -> Finding:
    """The one finding that is not all right. It says so in a sentence."""
    missing = [f for f in examine(LOCK, source, ports) if not f.ok]
    assert len(missing) == 1, missing
    assert missing[0].what.endswith(".")
    return missing[0]


@pytest.mark.parametrize("source", list(Source))
@pytest.mark.usefixtures("ready")
def test_a_host_that_is_ready(source: Source) -> None:
    findings = examine(LOCK, source)
    assert all(f.ok for f in findings), findings
    require(findings)


@pytest.mark.usefixtures("ready")
def test_go_is_missing(bin_folder: Path) -> None:
    (bin_folder / "go").unlink()
    finding = only_missing()
    assert "Go is missing" in finding.what
    assert "go.dev" in finding.fix


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize("version", ["go1.25.9", "go1.9", "go1.25rc1"])
def test_go_is_old(stand_in: StandIn, version: str) -> None:
    stand_in("go", GO.format(version=version, sumdb="sum.golang.org"))
    finding = only_missing()
    assert version in finding.what
    assert "1.26" in finding.what
    assert "go.dev" in finding.fix


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize("version", ["go1.26", "go1.27rc1", "go2.0.1"])
def test_go_is_new_enough(stand_in: StandIn, version: str) -> None:
    stand_in("go", GO.format(version=version, sumdb="sum.golang.org"))
    assert all(f.ok for f in examine(LOCK, Source.BUILD))


@pytest.mark.usefixtures("ready")
def test_go_s_checksum_database_is_off(stand_in: StandIn) -> None:
    stand_in("go", GO.format(version="go1.26.1", sumdb="off"))
    finding = only_missing()
    assert "checksum database" in finding.what
    assert finding.fix == "go env -u GOSUMDB"


@pytest.mark.usefixtures("ready")
def test_no_engine_answers(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST")
    stand_in("docker", docker(answers=False))
    finding = only_missing()
    assert "No Docker engine" in finding.what
    assert "start Docker" in finding.fix


@pytest.mark.usefixtures("ready")
def test_root_on_debian_gets_an_engine(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    stand_in("apt-get", "")
    stand_in("docker", docker(answers=False))
    assert all(f.ok for f in examine(LOCK, Source.BUILD))


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize("user", [0, 1000])
def test_no_engine_answers_where_the_user_says_there_is_one(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, user: int
) -> None:
    """None is installed then, root or not."""
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    stand_in("apt-get", "")
    stand_in("docker", docker(answers=False))
    assert "DOCKER_HOST=tcp://127.0.0.1:1" in only_missing().what


@pytest.mark.usefixtures("ready")
def test_images_cannot_be_built_without_root_on_debian(bin_folder: Path) -> None:
    (bin_folder / "mmdebstrap").unlink()
    finding = only_missing()
    assert "only on Debian as root" in finding.what
    assert finding.fix == "sudo make up"
    assert all(f.ok for f in examine(LOCK, Source.PULL))


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize("name", ["max_user_instances", "max_user_watches"])
def test_too_little_inotify(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(host.INOTIFY, name, 2**40)
    finding = only_missing()
    assert f"fs.inotify.{name} is {Path('/proc/sys/fs/inotify', name).read_text().strip()}" in finding.what
    assert finding.fix == f"sudo sysctl -w fs.inotify.{name}={2**40}"


@pytest.mark.usefixtures("ready")
def test_root_mends_inotify_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(host.INOTIFY, "max_user_watches", 2**40)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert all(f.ok for f in examine(LOCK, Source.BUILD))


def test_nobody_else_mends_anything(monkeypatch: pytest.MonkeyPatch, progress: Progress, said: io.StringIO) -> None:
    monkeypatch.setattr(host, "INOTIFY", {"max_user_watches": 2**40})
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    host.mend(progress)
    assert said.getvalue() == ""


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize(("source", "name"), [(Source.BUILD, "DISK_TO_BUILD"), (Source.PULL, "DISK_TO_PULL")])
def test_the_disk_is_full(monkeypatch: pytest.MonkeyPatch, source: Source, name: str) -> None:
    monkeypatch.setattr(host, name, 10**9)
    finding = only_missing(source)
    assert f"GiB free, but {10**9} are needed" in finding.what
    assert finding.fix == f"df -h {paths.cache()}"


@pytest.mark.usefixtures("ready")
def test_what_was_built_needs_no_more_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "DISK_TO_BUILD", 10**9)
    for folder in ("registry", "programs"):
        (paths.cache() / folder).mkdir()
    assert all(f.ok for f in examine(LOCK, Source.BUILD))


@pytest.mark.usefixtures("ready")
def test_too_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "MEMORY", 10**6)
    finding = only_missing()
    assert f"the cluster needs {10**6}" in finding.what


@pytest.mark.usefixtures("ready")
def test_another_system(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "win32")
        finding = host._system()
    assert not finding.ok
    assert "not supported" in finding.what
    assert "WSL" in finding.fix


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize("name", LOCK.tools)
@pytest.mark.parametrize("body", [None, "echo v0.1.0", "echo no version", "exit 1"])
def test_a_tool_is_missing_or_another_version(stand_in: StandIn, bin_folder: Path, name: str, body: str | None) -> None:
    """Where images are pulled: where they are built, the tools are as well."""
    if body is None:
        (bin_folder / name).unlink()
    else:
        stand_in(name, body)
    finding = only_missing(Source.PULL)
    assert finding.what.startswith(name)
    assert finding.fix
    assert host.missing_tools(LOCK) == [name]
    assert all(f.ok for f in examine(LOCK, Source.BUILD))


@pytest.mark.usefixtures("ready")
def test_a_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        finding = only_missing(ports=(port,))
    assert f"Port {port} of 127.0.0.1 is taken" in finding.what
    assert str(port) in finding.fix


def test_everything_that_is_missing_is_said_at_once() -> None:
    findings = [Finding(True, "Fine"), Finding(False, "No tea.", "boil water"), Finding(False, "No cups.")]
    with pytest.raises(Failure) as caught:
        require(findings)
    message = str(caught.value)
    assert "- No tea. Mend it with: boil water" in message
    assert "- No cups." in message
    assert "Fine" not in message
    require([findings[0]])


# The tools on the PATH.


@pytest.mark.usefixtures("ready")
def test_the_host_s_own_tools_are_used_where_they_will_do(bin_folder: Path, tools: Path, progress: Progress) -> None:
    tools.mkdir(parents=True)
    (tools / "kind").symlink_to("/an/older/build")
    host.provide_tools(LOCK, Programs(LOCK, progress))
    assert not (tools / "kind").is_symlink()
    assert (bin_folder / "kind").exists()


@pytest.mark.usefixtures("ready")
def test_what_was_built_is_used_where_the_host_has_none(
    bin_folder: Path, tools: Path, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bin_folder / "kind").unlink()
    programs = Programs(LOCK, progress)
    with pytest.raises(Failure, match="kind"):
        host.provide_tools(LOCK, programs)
    programs.path("kind").parent.mkdir(parents=True)
    programs.path("kind").write_text(f"#!/bin/sh\necho {LOCK.tools['kind'].version}\n")
    programs.path("kind").chmod(0o755)
    host.provide_tools(LOCK, programs)
    assert (tools / "kind").resolve() == programs.path("kind").resolve()
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{bin_folder}")
    assert host.missing_tools(LOCK) == ["kind"]  # one that we linked is not the host's own


# What the kernel says, by another way of asking.


def test_the_version_of_control_groups() -> None:
    kind = subprocess.run(["stat", "-fc", "%T", "/sys/fs/cgroup"], capture_output=True, text=True, check=True).stdout
    assert host.cgroup_v1() == (kind.strip() != "cgroup2fs")


def test_whether_a_capability_can_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    pr_capbset_read = 23  # prctl(2)
    for capability in range(38):  # those of every kernel since 2014: some can be given on any host, some may not
        monkeypatch.setattr(engine, "CAP_SYS_RESOURCE", capability)
        assert engine.has_sys_resource() == bool(ctypes.CDLL(None).prctl(pr_capbset_read, capability, 0, 0, 0))
    assert host.may_lower_oom_score() == engine.has_sys_resource()
