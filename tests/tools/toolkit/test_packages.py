import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.tools.archive import NEEDS_DEBIAN, Archive
from toolkit import apt, packages, reasons, versions
from toolkit.apt import Unusable
from toolkit.packages import Held, Packages, Verdict, accept, fetch, held_in, version_in
from toolkit.paths import OFFLINE
from toolkit.process import CommandFailed

SAYS = 'test "$*" = --version && echo "tool, version 1.2.3+ds1 (branch: debian/sid, revision: 1.2.3+ds1-6)"'


def tool(**held: str) -> Packages:
    return Packages("tool", "forky", ("tool",), {"tool": Held(**{"version": "1.2", "asks": "usr/bin/tool", **held})})


# The version, and what to think of it.


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("prometheus, version 3.5.3+ds1 (branch: debian/sid, revision: 3.5.3+ds1-6)\n  go version: go1.27.1", "3.5.3"),
        ("containerd github.com/containerd/containerd/v2 2.1.9+unknown ", "2.1.9"),
        ("Docker version 28.5.2+dfsg4, build ecc6942", "28.5.2"),
        ("postgres (PostgreSQL) 17.12 (Debian 17.12-0+deb13u1)", "17.12"),
        ("Valkey server v=8.1.1 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64", "8.1.1"),
        ("syslog-ng 4 (4.8.1)\nConfig version: 4.2", "4.8.1"),
        ("5:28.5.2+dfsg4-5", "28.5.2"),
        ("GitVersion: devel", packages.UNKNOWN),
        ("", packages.UNKNOWN),
    ],
)
def test_the_version_in_what_programs_say(text: str, version: str) -> None:
    assert version_in(text) == version


JUDGED = [
    (Held("3.5.3"), "3.5.3", Verdict.TRIED),
    (Held("3.5.3"), "3.5.30", Verdict.REFUSED),
    (Held("3.5.3"), "3.5.4", Verdict.REFUSED),
    (Held("17"), "17.12", Verdict.TRIED),
    (Held("17"), "170.1", Verdict.REFUSED),
    (Held("8.1"), "8.10.1", Verdict.REFUSED),
    (Held("28.5", least="26"), "28.5.2", Verdict.TRIED),
    (Held("28.5", least="26"), "29.0.1", Verdict.UNTRIED),
    (Held("28.5", least="26"), "26.1.5", Verdict.UNTRIED),
    (Held("28.5", least="26"), "25.0", Verdict.REFUSED),
    (Held("28.5", least="26"), "100.0", Verdict.UNTRIED),
    (Held("2.1", least="2"), "1.7.24", Verdict.REFUSED),
]


@pytest.mark.parametrize(("held", "found", "verdict"), JUDGED)
def test_what_is_written_counts_and_no_more(held: Held, found: str, verdict: Verdict) -> None:
    assert held.judge(found) is verdict


def test_no_version_is_none_that_will_do() -> None:
    assert Held("17", least="1").judge(packages.UNKNOWN) is Verdict.REFUSED


@NEEDS_DEBIAN
@pytest.mark.parametrize(("held", "found", "verdict"), JUDGED)
def test_an_image_s_build_judges_alike(
    held: Held, found: str, verdict: Verdict, tmp_path: Path, stand_in: Callable[[str, str], None]
) -> None:
    """It cannot ask us: its script has the rules once more."""
    stand_in("asked", f"echo tool version {found}+ds1 of 2026.1")
    done = hold(tmp_path, Held(held.version, held.least, str(tmp_path / "bin/asked").lstrip("/")))
    assert (done.returncode == 0) is (verdict is not Verdict.REFUSED), done.stderr
    assert held_in(f"#8 12.31 {done.stdout.strip()}") == {"tool": found}


@NEEDS_DEBIAN
def test_an_image_s_build_asks_for_the_package_s_version(tmp_path: Path, stand_in: Callable[[str, str], None]) -> None:
    stand_in("dpkg-query", "echo 2:1.9.1+ds1-1")
    assert hold(tmp_path, Held("1.9")).stdout == "held: tool 1.9.1\n"


def hold(folder: Path, held: Held) -> "subprocess.CompletedProcess[str]":
    """Run the script of the images' builds."""
    shutil.copy(OFFLINE / "images/packages/hold", folder)
    (folder / "held").write_text(Packages("tool", "forky", ("tool",), {"tool": held}).lines())
    return subprocess.run(["sh", folder / "hold"], capture_output=True, text=True, check=False)


def test_other_lines_of_a_build_name_no_package() -> None:
    assert held_in("#8 [2/3] RUN apt-get update && sh /packages/hold") == {}


# What is fetched.


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "tool-forky"


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture(autouse=True)
def folder(target: Path) -> Iterator[None]:
    """Whatever happens, nothing half made is left."""
    target.parent.mkdir()
    yield
    assert set(target.parent.iterdir()) <= {target}


@NEEDS_DEBIAN
def test_what_will_do_is_unpacked(archive: Archive, target: Path, told: list[str], logs: Path) -> None:
    archive.put("tool", "1.2.3+ds1-6", SAYS)
    fetch(tool(), target, told.append)
    assert (target / "usr/bin/tool").exists()
    assert told == []
    assert (logs / "versions.log").read_text() == "forky tool 1.2.3: tried, locked 1.2\n"


@NEEDS_DEBIAN
def test_what_will_not_is_not_there(archive: Archive, target: Path, told: list[str]) -> None:
    archive.put("tool", "1.2.3+ds1-6", SAYS)
    with pytest.raises(Unusable, match=r"^Debian's forky has tool 1\.2\.3, but 1\.1 is needed\. .*lock file"):
        fetch(tool(version="1.1"), target, told.append)


@pytest.fixture
def unpacked(tmp_path: Path) -> Callable[[str], Path]:
    """A folder with a program of this text."""

    def put(says: str) -> Path:
        file = tmp_path / "root/usr/bin/tool"
        file.parent.mkdir(parents=True)
        file.write_text(f"#!/bin/sh\n{says}\n")
        file.chmod(0o755)
        return tmp_path / "root"

    return put


def test_a_version_that_was_not_tried_is_told_or_refused(unpacked: Callable[[str], Path], told: list[str]) -> None:
    root, versions = unpacked(SAYS), {"tool": "1.2.3+ds1-6"}
    accept(tool(version="1.1", least="1"), root, versions, told.append)
    assert told == ["Debian's forky has tool 1.2.3, which was never tried here (1.1 was): going on with it."]
    with pytest.raises(Unusable, match=re.escape("Debian's forky has tool 1.2.3, but 2.0 or newer is needed.")):
        accept(tool(version="2.1", least="2.0"), root, versions, told.append)


def test_a_program_that_does_not_know_its_version_has_its_package_s(
    unpacked: Callable[[str], Path], told: list[str]
) -> None:
    root, versions = unpacked("echo devel"), {"tool": "1:1.2.4-2"}
    accept(tool(asks=""), root, versions, told.append)
    with pytest.raises(Unusable, match="of an unknown version"):
        accept(tool(), root, versions, told.append)
    assert told == []


def test_one_that_this_system_cannot_run_will_not_do(unpacked: Callable[[str], Path], told: list[str]) -> None:
    root = unpacked('echo "version GLIBC_2.99 not found" >&2; exit 1')
    with pytest.raises(Unusable):
        accept(tool(), root, {"tool": "1.2.3-1"}, told.append)


# What goes wrong on the way.


@NEEDS_DEBIAN
def test_a_suite_without_the_package_is_a_sentence(archive: Archive, target: Path, told: list[str]) -> None:
    archive.put("other", "1.0-1", SAYS)
    with pytest.raises(Unusable, match=r"^Debian's forky has no package tool, or no longer\. .*lock file"):
        fetch(tool(), target, told.append)


@NEEDS_DEBIAN
def test_an_archive_that_says_nothing_is_not_waited_for(
    archive: Archive, target: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """apt alone waits minutes for each list, goes on without it, and says then that there is no such package."""
    monkeypatch.setattr(apt, "PATIENCE", {**dict.fromkeys(apt.PATIENCE, "1"), "Acquire::Retries": "0"})
    archive.put("tool", "1.2.3-1", SAYS)
    archive.silent_for = "/"
    with pytest.raises(CommandFailed, match=f"^{re.escape(reasons.NETWORK)}\n`apt-get"):
        fetch(tool(), target, told.append)


@NEEDS_DEBIAN
def test_a_package_with_another_checksum_is_not_used(archive: Archive, target: Path, told: list[str]) -> None:
    archive.put("tool", "1.2.3-1", SAYS)
    archive.files["/tool.deb"] = archive.files["/tool.deb"].replace(b"1.2.3", b"6.6.6")
    with pytest.raises(CommandFailed, match=r"^The Debian archive is being changed, or something on the way.*\n`apt"):
        fetch(tool(), target, told.append)


@NEEDS_DEBIAN
def test_a_full_disk_is_a_sentence(archive: Archive, target: Path, told: list[str]) -> None:
    archive.put("tool", "1.2.3-1", f"{SAYS}\n# {'x' * 2_000_000}")
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(target.parent)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may make a small disk")
    try:
        with pytest.raises(CommandFailed, match=r"^The disk is full. Make room.*\n`"):
            fetch(tool(), target, told.append)
        assert list(target.parent.iterdir()) == []
    finally:
        subprocess.run(["umount", target.parent], check=True)


def test_the_lock_s_packages_are_read() -> None:
    engine = versions.load().packages["engine"]
    assert engine.held["docker.io"] == Held("28.5", least="26", asks="usr/sbin/dockerd")
    assert versions.load().packages["prometheus"].held["promtool"].version == "3.5.3"  # of the image's name
