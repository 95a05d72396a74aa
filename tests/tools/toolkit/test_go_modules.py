import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tools.archive import Archive
from toolkit import go_modules, reasons
from toolkit.go_modules import go_fetch
from toolkit.process import CommandFailed, Failure
from toolkit.programs import module_dir
from toolkit.versions import Module

Publish = Callable[[str, str, dict[str, str]], Module]


@pytest.fixture
def proxy(publish: Publish, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Module:
    """A module that a proxy on a port of 127.0.0.1 has."""
    module = publish("example.com/far", f"v1.0.{time.time_ns()}", {"far.go": "package far\n"})  # in no cache
    for file in (tmp_path / "goproxy").glob("*/*/@v/*"):
        archive.files[f"/{file.relative_to(tmp_path / 'goproxy')}"] = file.read_bytes()
    monkeypatch.setenv("GOPROXY", f"http://127.0.0.1:{archive.port}")
    return module


def test_a_proxy_that_says_nothing_is_not_waited_for(
    proxy: Module, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Go would wait for ever."""
    monkeypatch.setattr(go_modules, "SECONDS", 0.5)
    archive.silent_for = "/example.com"
    with pytest.raises(Failure, match=rf"^{re.escape(reasons.NETWORK)}\n`go mod download .*` was ended after 0.5 s\.$"):
        module_dir(proxy)


def test_what_breaks_off_is_tried_again(proxy: Module, archive: Archive) -> None:
    archive.breaks_off = 1
    assert (module_dir(proxy) / "far.go").exists()


def test_what_always_breaks_off_is_a_sentence(proxy: Module, archive: Archive) -> None:
    archive.breaks_off = 100
    with pytest.raises(CommandFailed, match=f"^{re.escape(reasons.NETWORK)}\n`go mod download"):
        module_dir(proxy)
    assert archive.breaks_off == 100 - go_modules.TRIES


def test_a_version_that_is_gone_is_a_sentence_at_once(proxy: Module, archive: Archive) -> None:
    archive.files.clear()
    with pytest.raises(CommandFailed, match=r"^A package registry does not have what is asked of it.*\n`go mod"):
        module_dir(proxy)


def test_what_fails_otherwise_is_not_tried_again(stand_in: Callable[[str, str], None], tmp_path: Path) -> None:
    stand_in("go", f"echo again >> {tmp_path}/tries; echo undefined >&2; exit 1")
    with pytest.raises(CommandFailed, match="undefined"):
        go_fetch(["go", "build", "-n"], env={})
    assert (tmp_path / "tries").read_text() == "again\n"
