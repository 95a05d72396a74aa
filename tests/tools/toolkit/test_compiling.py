import time
from pathlib import Path

import pytest

from toolkit.compiling import Share, go_build, room, to_compile
from toolkit.process import CommandFailed
from toolkit.programs import GO_ENV
from toolkit.progress import Step

MAIN = 'package main\n\nimport "example.com/tiny/%s"\n\nfunc main() { println(%s.Text) }\n'
PROGRAMS = ["example.com/tiny/cmd/one", "example.com/tiny/cmd/two"]
LIBRARIES = ["example.com/tiny/first", "example.com/tiny/second"]


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of two programs, each with a library, which no build cache has."""
    monkeypatch.setenv("GOPROXY", "off")
    module = tmp_path / "tiny"
    files = {"go.mod": "module example.com/tiny\n\ngo 1.26.0\n"}
    for program, library in (("one", "first"), ("two", "second")):
        files[f"{library}/{library}.go"] = f'package {library}\n\nconst Text = "{library} {time.time_ns()}"\n'
        files[f"cmd/{program}/main.go"] = MAIN % (library, library)
    for name, text in files.items():
        (module / name).parent.mkdir(parents=True, exist_ok=True)
        (module / name).write_text(text)
    return module


def build(module: Path, step: Step) -> None:
    (module / "out").mkdir(exist_ok=True)
    go_build(step, ["-o", "out/"], PROGRAMS, log="tiny", cwd=module, env=GO_ENV)


def missing(module: Path) -> set[str]:
    return to_compile(["-o", "out/", *PROGRAMS], cwd=module, env=GO_ENV)


def test_what_must_be_compiled_is_what_the_build_cache_lacks(tiny: Path) -> None:
    assert missing(tiny) == {*LIBRARIES, *PROGRAMS}
    build(tiny, Step("build tiny"))
    assert missing(tiny) == set()
    (tiny / "second/second.go").write_text(f'package second\n\nconst Text = "{time.time_ns()}"\n')
    assert missing(tiny) == {LIBRARIES[1], PROGRAMS[1]}


def test_packages_are_counted_as_they_are_compiled(tiny: Path, watched: list[str], logs: Path) -> None:
    step = Step("build tiny")
    build(tiny, step)
    assert (step.done, step.total, step.detail) == (4, 4, "")
    assert [line for line in watched if "of 4" in line][1:] == [
        "0 of 4",
        "1 of 4",
        "2 of 4",
        "3 of 4",
        "4 of 4",
        "4 of 4 linking",
        "4 of 4",
    ]
    assert (tiny / "out/one").exists()
    assert (tiny / "out/two").exists()
    log = (logs / "tiny.log").read_text()
    assert len(log.splitlines()) == 1, log  # the command alone


def test_where_all_is_compiled_it_is_linked_from_the_start(tiny: Path, watched: list[str]) -> None:
    build(tiny, Step("build tiny"))
    watched.clear()
    step = Step("build tiny", 90)
    build(tiny, step)
    assert watched == ["0 of 0", "0 of 0 fetching modules", "0 of 0 linking", "0 of 0"]
    assert step.expected is None


def test_a_mistake_is_shown_without_the_names_of_packages(tiny: Path) -> None:
    (tiny / "cmd/two/main.go").write_text("package main\n\nfunc main() { missing() }\n")
    with pytest.raises(CommandFailed, match="undefined: missing") as caught:
        build(tiny, Step("build tiny"))
    assert not {*LIBRARIES, *PROGRAMS}.intersection(caught.value.said.splitlines())


def test_a_package_that_is_missing_is_told_before_anything_is_compiled(tiny: Path, logs: Path) -> None:
    (tiny / "first/first.go").unlink()
    with pytest.raises(CommandFailed, match=r"(?s)go build -n .*tiny/first"):
        build(tiny, Step("build tiny"))
    assert not (logs / "tiny.log").exists()


def test_what_another_build_compiles_meanwhile_counts_too() -> None:
    """It is not named, but all of it is there when the last program is compiled."""
    step = Step("build all")
    share = Share(step, ["a", "b", "c", "one", "two"], ["one", "two", "of/old"])
    for line in ("a", "one", "# one", "two.go:1:1: a warning"):
        assert share.named(line) == (line in {"a", "one"})
    assert (step.done, step.detail) == (2, "")
    share.named("two")
    assert (step.done, step.total, step.detail) == (5, 5, "linking")


def test_the_compiler_keeps_its_garbage_while_there_is_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       16384000 kB\nMemAvailable:    8192000 kB\n")
    assert room(meminfo) == {"GOGC": "off", "GOMEMLIMIT": "2000MiB"}
    assert room(tmp_path / "none") == {}
