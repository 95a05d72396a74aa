"""The delivery's programs: the host's own where they are new enough, else the lock file's."""

from pathlib import Path

import pytest

from delivery import tools
from delivery.__main__ import main
from toolkit.packages import Verdict


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is alone on the PATH beside the shell's."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def install(folder: Path, name: str, says: str, code: int = 0) -> Path:
    file = folder / name
    file.write_text(f"#!/bin/sh\necho '{says}'\nexit {code}\n")
    file.chmod(0o755)
    return file


@pytest.mark.parametrize("says", ["GitVersion:    v3.1.3", "GitVersion: v3.2.0", "v4.0.0", "3.10.0"])
def test_the_hosts_own_is_taken_where_it_is_new_enough(on_path: Path, says: str) -> None:
    own = install(on_path, "cosign", says)
    assert tools.program("cosign") == own


@pytest.mark.parametrize(("says", "code"), [("GitVersion: v3.1.2", 0), ("v2.9.9", 0), ("devel", 0), ("v3.1.3", 1)])
def test_an_older_or_broken_one_is_not(on_path: Path, says: str, code: int) -> None:
    install(on_path, "cosign", says, code)
    assert tools.on_path("cosign") is None


@pytest.mark.usefixtures("on_path")
def test_none_is_not_either() -> None:
    assert tools.on_path("actionlint") is None


def test_what_is_built_says_the_version_of_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would not be taken where it is installed."""
    (tmp_path / "actionlint").symlink_to(tools.provided("actionlint"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert tools.on_path("actionlint") == tmp_path / "actionlint"


def test_debians_cosign_will_do_and_the_module_is_the_second_way() -> None:
    cosign = tools.lock().programs["cosign"]
    group = tools.lock().packages["cosign"]
    assert cosign.debian == {"cosign": "usr/bin/cosign"}
    assert group.packages == ("cosign",)
    assert group.held["cosign"].judge("3.1.1") is Verdict.TRIED
    assert group.held["cosign"].judge("4.0.0") is Verdict.REFUSED
    assert (cosign.module, cosign.packages) == ("github.com/sigstore/cosign/v3", ("cmd/cosign",))


def test_every_program_of_the_lock_can_be_asked() -> None:
    assert set(tools.raw()["asked"]) == set(tools.lock().programs)
    assert tools.locked("trivy") == (0, 76, 0)
    assert tools.locked("cosign") == (3, 1, 3)


def test_an_unknown_program_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tools", "crane"]) == 1
    assert "There is no program 'crane'" in capsys.readouterr().err
