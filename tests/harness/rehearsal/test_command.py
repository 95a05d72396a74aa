import os
from pathlib import Path

import pytest

from offline import sources
from tests.make import make
from tests.rehearsal import machine
from tests.rehearsal.__main__ import until
from tests.rehearsal.machine import Machine
from tests.rehearsal.steps import STEPS, Step, do, served
from toolkit import process
from toolkit.process import CommandFailed, Failure
from toolkit.progress import Progress


def test_what_is_no_step_is_a_sentence() -> None:
    with pytest.raises(CommandFailed) as caught:
        make("rehearsal", UNTIL="nowhere")
    assert "UNTIL is 'nowhere': a rehearsal goes as far as venv, doctor, image, up." in caught.value.said


def test_it_goes_as_far_as_it_is_told() -> None:
    assert until("doctor") == ["venv", "doctor"]
    assert until("up") == list(STEPS)


def test_the_last_request_is_the_one_that_up_proposes() -> None:
    argv = served('{"url": "https://links.localhost:8443", "ca": "/root/ca.crt"}').argv
    assert argv[0] == "curl"
    assert argv[-3:] == ("--cacert", "/root/ca.crt", "https://links.localhost:8443/")


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What an engine was asked for, a command a line. It has every container, and runs here what is to run in one."""
    (tmp_path / "bin").mkdir()
    docker = tmp_path / "bin" / "docker"
    docker.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$*" >> {tmp_path}/calls\n'
        'if [ "$1" = exec ]; then while [ "$1" != env ]; do shift; done; exec "$@"; fi\n'
    )
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{docker.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(process, "LOGS", tmp_path / "log")
    return tmp_path / "calls"


@pytest.mark.parametrize("what", [KeyboardInterrupt, Failure])
def test_whatever_happens_the_machine_is_removed_and_nothing_else(calls: Path, what: type[BaseException]) -> None:
    with (
        pytest.raises(what),
        Progress() as progress,
        machine.fresh(sources.Source.PULL, Path("/usr/local/go"), {}, progress) as new,
    ):
        raise what
    removals = [line for line in calls.read_text().splitlines() if " rm " in f" {line} "]
    assert removals == [f"rm --force --volumes {new.name}", f"image rm {new.name}:latest"]


def test_two_machines_have_two_names(calls: Path) -> None:
    names = []
    for _ in range(2):
        with Progress() as progress, machine.fresh(sources.Source.PULL, Path("/go"), {}, progress) as new:
            names.append(new.name)
    assert len(set(names)) == 2
    assert sum(line.startswith("run ") for line in calls.read_text().splitlines()) == 2


@pytest.mark.usefixtures("calls")
def test_a_step_that_fails_names_the_newcomers_command_and_its_last_lines(tmp_path: Path) -> None:
    step = Step("make something", ("sh", "-c", "echo no space left; exit 3"), 1)
    with Progress() as progress, pytest.raises(CommandFailed) as caught:
        do(step, Machine("m", {"PATH": os.environ["PATH"]}), progress)
    assert "`sh -c 'echo no space left; exit 3'` failed (exit 3)" in str(caught.value)
    assert "  no space left" in str(caught.value)
    assert "no space left" in (tmp_path / "log" / "rehearsal-make-something.log").read_text()
