import json
from typing import cast

from packaging.markers import default_environment

from tests.rehearsal.difference import Difference
from tests.rehearsal.distributions import differences, installed, locked
from toolkit.paths import ROOT

LOCK = """\
# made by a tool
Async_Timeout==5.0.1 ; python_full_version < '3.11.3' \\
    --hash=sha256:00 \\
    --hash=sha256:01
    # via redis
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:02
coverage[toml]==7.17.3 \\
    --hash=sha256:03
grafana-foundation-sdk==1769699379!11.6.0 \\
    --hash=sha256:04
"""
MARKERS = {**cast("dict[str, str]", default_environment()), "python_full_version": "3.11.2", "sys_platform": "linux"}
INSTALLED = {"async-timeout": "5.0.1", "coverage": "7.17.3", "grafana_foundation_sdk": "1769699379!11.6.0"}


def found(**others: str) -> list[Difference]:
    listing = [{"name": name, "version": version} for name, version in {**INSTALLED, **others}.items()]
    return differences(locked(LOCK, MARKERS), installed(json.dumps(listing)))


def test_what_the_lock_lists_for_this_python_is_no_difference() -> None:
    assert found() == []


def test_what_a_new_environment_has_by_itself_is_none_either() -> None:
    assert found(setuptools="66.1.1") == []


def test_another_version_is_one() -> None:
    assert found(coverage="7.17.5") == [Difference("coverage", "PyPI", "7.17.3", "7.17.5")]


def test_so_is_what_is_not_in_the_lock_or_for_another_system() -> None:
    assert found(colorama="0.4.6", tomli="2.0.0") == [
        Difference("colorama", "PyPI", "none", "0.4.6"),
        Difference("tomli", "PyPI", "none", "2.0.0"),
    ]


def test_so_is_what_is_missing() -> None:
    listing = json.dumps([{"name": "coverage", "version": "7.17.3"}])
    missing = differences(locked(LOCK, MARKERS), installed(listing))
    assert [(each.name, each.fetched) for each in missing] == [
        ("async-timeout", "none"),
        ("grafana-foundation-sdk", "none"),
    ]


def test_the_lock_itself_can_be_read() -> None:
    text = (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8")
    wanted = locked(text, MARKERS)
    assert len(wanted) > 100
    assert "async-timeout" in wanted
    assert "async-timeout" not in locked(text, {**MARKERS, "python_full_version": "3.12.0"})
