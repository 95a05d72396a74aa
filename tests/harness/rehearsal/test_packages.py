from pathlib import Path

import pytest

from tests.rehearsal.difference import Difference
from tests.rehearsal.packages import Package, by_suite, fetched, judged
from toolkit import process
from toolkit.packages import read

LOG = """\
$ apt-get -q update
Get:1 http://mirror.example.com/debian forky InRelease [151 kB]
Get:2 http://mirror.example.com/debian forky/main amd64 Packages [10.1 MB]
Get:3 http://mirror.example.com/debian forky/main amd64 DEP-11 Metadata [5544 kB]
Get:4 http://mirror.example.com/debian forky/main Translation-en [6486 kB]
Get:1 http://mirror.example.com/debian forky/main amd64 docker.io amd64 28.5.2+dfsg4-5 [19.3 MB]
Get:2 http://mirror.example.com/debian bookworm/main amd64 git amd64 1:2.39.5-0+deb12u3 [7264 kB]
#5 8.731 Get:1 http://mirror.example.com/debian-security trixie-security/main amd64 libssl3t64 all 3.5.1-1 [9 kB]
Fetched 19.3 MB in 1s
"""
ENTRY = {"suite": "forky", "packages": ["a", "b", "c"], "held": {"a": {}, "b": {"least": "2"}, "c": {}}}


def test_what_apt_says_of_packages_is_found_and_of_lists_is_not() -> None:
    assert fetched(LOG) == {
        Package("forky", "docker.io", "28.5.2+dfsg4-5"),
        Package("bookworm", "git", "1:2.39.5-0+deb12u3"),
        Package("trixie-security", "libssl3t64", "3.5.1-1"),
    }


def test_packages_are_listed_by_suite_and_none_is_lost() -> None:
    assert by_suite(
        {Package("s", "b", "1"), Package("s", "b", "2"), Package("s", "a", "3"), Package("r", "a", "4")}
    ) == {
        "r": {"a": "4"},
        "s": {"a": "3", "b": "1, 2"},
    }


def test_a_version_that_was_not_tried_is_a_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is written by those who judge."""
    monkeypatch.setattr(process, "LOGS", tmp_path)
    group = read("group", ENTRY, version="3.5")
    for package, version in {"a": "3.5.7", "b": "4.0", "c": "of an unknown version"}.items():
        group.judge(package, version)
    assert judged((tmp_path / "versions.log").read_text()) == {
        "forky a": None,
        "forky b": Difference("b", "Debian forky", "3.5", "4.0"),
        "forky c": Difference("c", "Debian forky", "3.5", "of an unknown version"),
    }
