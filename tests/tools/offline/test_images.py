import io
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from offline import images as subject
from offline.images import Images, scratch
from offline.registry import Registry
from toolkit import versions
from toolkit.apt import Unusable
from toolkit.packages import Held, Packages
from toolkit.process import CommandFailed, Failure
from toolkit.progress import Progress
from toolkit.versions import Image, Module, Program, Tool, Versions

PLAIN = Image("example.com/team/plain:v1", files={"tool": "/bin/tool"})
BUILT = Image("example.com/team/built:v1", dockerfile="built.Dockerfile", context=("built",), files={"tool": "/tool"})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """offline/images, the test's own."""
    folder = tmp_path / "offline" / "images"
    (folder / "built").mkdir(parents=True)
    (folder / "built.Dockerfile").write_text("FROM scratch\n")
    (folder / "built" / "entrypoint").write_text("#!/bin/sh\n")
    monkeypatch.setattr(subject, "OFFLINE", tmp_path / "offline")
    return folder


@pytest.fixture
def tiny() -> Versions:
    module = Module("example.com/tool", "v1.0.0", "h1:x")
    return Versions(
        modules={module.path: module},
        programs={"tool": Program("tool", 1, module=module.path, packages=(".",))},
        tools={"tool": Tool("tool", "tool", "v1.0.0", "v1")},
        base={"name": "debian:trixie-slim", "suite": "trixie", "packages": []},
        images=(PLAIN, BUILT),
        manifests={},
    )


def images_of(a_lock: Versions, progress: Progress, port: int = 1) -> Images:
    return Images(a_lock, Registry(port), progress)


def with_program(tiny: Versions, **change: Any) -> Versions:
    return replace(tiny, programs={"tool": replace(tiny.programs["tool"], **change)})


# The key.


def test_the_key_stays_while_nothing_changes(folder: Path, tiny: Versions, progress: Progress) -> None:
    before = images_of(tiny, progress).key(BUILT)
    shutil.copytree(folder, folder.with_name("copy"))
    shutil.rmtree(folder)
    folder.with_name("copy").rename(folder)
    assert images_of(tiny, progress).key(BUILT) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "built.Dockerfile").write_text("FROM scratch\nUSER 1\n"),
        lambda folder: (folder / "built" / "entrypoint").write_text("#!/bin/bash\n"),
        lambda folder: (folder / "built" / "entrypoint").chmod(0o755),
        lambda folder: (folder / "built" / "entrypoint").rename(folder / "built" / "start"),
        lambda folder: (folder / "built" / "another").touch(),
    ],
    ids=["Dockerfile", "content", "mode", "name", "another file"],
)
def test_the_key_names_dockerfile_and_context(
    change: Callable[[Path], None], folder: Path, tiny: Versions, progress: Progress
) -> None:
    images = images_of(tiny, progress)
    built, plain = images.key(BUILT), images.key(PLAIN)
    change(folder)
    assert images.key(BUILT) != built
    assert images.key(PLAIN) == plain


def test_the_key_names_the_folder_of_a_context_file(folder: Path, tiny: Versions, progress: Progress) -> None:
    images = images_of(tiny, progress)
    before = images.key(BUILT)
    (folder / "built" / "below").mkdir()
    (folder / "built" / "entrypoint").rename(folder / "built" / "below" / "entrypoint")
    assert images.key(BUILT) != before


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "change",
    [{"files": {"tool": "/usr/bin/tool"}}, {"config": {"user": "1"}}, {"name": "example.com/team/built:v2"}],
    ids=lambda change: next(iter(change)),
)
def test_the_key_names_the_entry(change: dict[str, Any], tiny: Versions, progress: Progress) -> None:
    images = images_of(tiny, progress)
    assert images.key(replace(BUILT, **change)) != images.key(BUILT)


@pytest.mark.usefixtures("folder")
def test_the_key_names_programs_modules_and_the_base(tiny: Versions, progress: Progress) -> None:
    image = replace(BUILT, module={"path": "example.com/tool", "files": ["README"]})
    only_module = replace(image, files={})
    other = replace(tiny, modules={"example.com/tool": Module("example.com/tool", "v1.0.1", "h1:y")})
    key = images_of(tiny, progress).key(image)
    assert images_of(with_program(tiny, set=("main.version=1",)), progress).key(image) != key
    assert images_of(replace(tiny, base={"packages": ["tzdata"]}), progress).key(image) != key
    assert images_of(other, progress).key(only_module) != images_of(tiny, progress).key(only_module)


# What is there.


@pytest.fixture
def has() -> Iterator[tuple[int, set[str]]]:
    """A registry's port, and the paths of the manifests it has."""
    there: set[str] = set()

    class Answer(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200 if self.path in there else 404)
            self.send_header("Docker-Content-Digest", "sha256:1")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield server.server_port, there
        server.shutdown()


def test_an_image_is_missing_unless_the_registry_has_its_key(
    has: tuple[int, set[str]], folder: Path, tiny: Versions, progress: Progress
) -> None:
    port, there = has
    images = images_of(tiny, progress, port)
    assert images.missing() == [PLAIN, BUILT]
    there.add(f"/v2/team/built/manifests/key-{images.key(BUILT)}")
    assert images.missing() == [PLAIN]
    (folder / "built.Dockerfile").write_text("FROM scratch\nUSER 1\n")
    assert images.missing() == [PLAIN, BUILT]


@pytest.mark.usefixtures("folder")
def test_an_image_of_the_engine_is_missing_unless_it_has_the_label(
    tiny: Versions, progress: Progress, stand_in: Callable[[str, str], None]
) -> None:
    image = replace(BUILT, engine=True)
    images = images_of(tiny, progress)
    stand_in("docker", "exit 1")
    assert not images.is_there(image)
    stand_in("docker", "echo old-key")
    assert not images.is_there(image)
    stand_in("docker", f'case "$*" in *shipshape.key*) echo {images.key(image)} ;; esac')
    assert images.is_there(image)


# What is built.


class Recorded(Images):
    """Builds nothing, and notes what would be built. What is called `bad` fails."""

    done: list[str]
    time_to_overtake = 0.0  # seconds that a program takes

    def missing(self) -> list[Image]:
        return list(self.versions.images)

    def ensure_base(self) -> None:
        self.done.append("base")

    def _ensure_program(self, name: str) -> None:
        time.sleep(self.time_to_overtake)
        self._note(name)

    def _build(self, image: Image) -> None:
        self._note(image.repository)

    def _note(self, name: str) -> None:
        self.done.append(name)
        if "bad" in name:
            raise Failure(f"{name} cannot be built")


def recorded(progress: Progress, programs: dict[str, float], images: dict[str, list[str]]) -> Recorded:
    """Programs by their seconds, and images by the programs in them."""
    made = Recorded(
        Versions(
            modules={},
            programs={n: Program(n, s, module="m", packages=(".",)) for n, s in programs.items()},
            tools={},
            base={"name": "debian:trixie-slim"},
            images=tuple(Image(f"example.com/{n}:1", files={f: f"/{f}" for f in fs}) for n, fs in images.items()),
            manifests={},
        ),
        Registry(1),
        progress,
    )
    made.done = []
    return made


def test_an_image_is_built_after_its_programs_and_each_program_once(progress: Progress) -> None:
    images = recorded(progress, {"p": 1, "q": 2, "unused": 3}, {"one": ["p"], "both": ["p", "q"], "none": []})
    images.time_to_overtake = 0.1
    images.ensure_all([])
    assert sorted(images.done) == ["both", "none", "one", "p", "q"]
    assert images.done.index("one") > images.done.index("p")
    assert images.done.index("both") > max(images.done.index("p"), images.done.index("q"))


def test_the_longest_program_comes_first(progress: Progress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "COMPILERS", 1)
    images = recorded(progress, {"short": 1, "long": 9, "middle": 5}, {"all": ["short", "middle", "long"]})
    images.ensure_all([])
    assert images.done == ["long", "middle", "short", "all"]


def test_tools_are_built_as_well(tiny: Versions, progress: Progress) -> None:
    images = Recorded(replace(tiny, images=()), Registry(1), progress)
    images.done = []
    images.ensure_all(["tool"])
    assert images.done == ["tool"]


@pytest.mark.usefixtures("folder")
def test_the_base_comes_before_what_starts_from_it(tiny: Versions, progress: Progress) -> None:
    images = Recorded(tiny, Registry(1), progress)
    images.done = []
    images.ensure_all([])
    assert images.done[0] == "base"


def test_after_the_first_program_that_fails_none_is_begun(progress: Progress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "COMPILERS", 1)
    images = recorded(progress, {"good": 9, "bad": 5, "late": 1}, {"one": ["good", "bad"], "two": ["late"]})
    with pytest.raises(Failure, match="bad cannot be built"):
        images.ensure_all([])
    assert images.done == ["good", "bad"]


def test_after_the_first_image_that_fails_none_is_begun(progress: Progress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "BUILDERS", 1)
    images = recorded(progress, {}, {"bad": [], "two": [], "three": [], "four": []})
    ready = threading.Barrier(4)
    original = images._ensure_image

    def ensure(*arguments: Any) -> None:
        with suppress(threading.BrokenBarrierError):
            ready.wait(0.5)  # before the first one fails all wait for a builder, where so many may
        original(*arguments)

    def build(image: Image) -> None:
        images.done.append(image.repository)
        raise Failure(f"{image.repository} cannot be built")

    monkeypatch.setattr(images, "_ensure_image", ensure)
    monkeypatch.setattr(images, "_build", build)
    with pytest.raises(Failure, match="cannot be built"):
        images.ensure_all([])
    assert len(images.done) == 1


# The files of an image.


def test_the_dockerfile_of_programs_alone() -> None:
    image = Image(
        "example.com/a:1",
        files={"a": "/a"},
        config={"user": "65534", "entrypoint": ["/a", 'say "hi"'], "cmd": ["back\\slash"]},
    )
    assert scratch(image) == (
        "FROM scratch\n"
        "COPY rootfs/ /\n"
        "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
        "USER 65534\n"
        'ENTRYPOINT ["/a", "say \\"hi\\""]\n'
        'CMD ["back\\\\slash"]\n'
    )
    assert scratch(Image("example.com/a:1")).splitlines()[0] == "FROM scratch"
    assert "USER" not in scratch(Image("example.com/a:1"))


@pytest.fixture
def built(tiny: Versions, progress: Progress) -> Images:
    """Images whose one program is in the cache."""
    images = images_of(tiny, progress)
    path = images.programs.path("tool")
    path.parent.mkdir(parents=True)
    path.write_text("a program")
    path.chmod(0o755)
    return images


def test_an_image_of_programs_alone_has_users_and_a_folder_for_all(built: Images, tmp_path: Path) -> None:
    dockerfile = built._stage(PLAIN, tmp_path / "context")
    assert dockerfile.read_text() == scratch(PLAIN)
    root = dockerfile.parent / "rootfs"
    assert sorted(str(p.relative_to(root)) for p in root.rglob("*")) == ["bin", "bin/tool", "etc", "etc/passwd", "tmp"]
    assert (root / "bin/tool").stat().st_mode & 0o777 == 0o755
    assert (root / "tmp").stat().st_mode & 0o7777 == 0o1777
    assert "nobody:x:65534:65534:" in (root / "etc/passwd").read_text()


def test_a_dockerfile_gets_its_programs_context_and_files_of_a_module(
    folder: Path, tiny: Versions, progress: Progress, tmp_path: Path, publish: Callable[..., Module]
) -> None:
    module = publish("example.com/files", "v1.0.0", {"conf/a.conf": "a", "b.c": "b", "not-wanted": ""})
    images = images_of(replace(tiny, modules=tiny.modules | {module.path: module}), progress)
    program = images.programs.path("tool")
    program.parent.mkdir(parents=True)
    program.write_text("a program")
    image = replace(BUILT, module={"path": module.path, "files": ["conf", "b.c"]})
    context = tmp_path / "context"
    assert images._stage(image, context) == folder / "built.Dockerfile"
    files = {str(p.relative_to(context)): p for p in context.rglob("*") if p.is_file()}
    assert sorted(files) == ["bin/tool", "built/entrypoint", "upstream/b.c", "upstream/conf/a.conf"]
    for path in context.rglob("*"):
        assert path.stat().st_mode & 0o200, "the module cache's are read-only, and could not be removed"


def test_an_image_is_pushed_by_its_own_names_and_its_key(
    built: Images, tmp_path: Path, stand_in: Callable[[str, str], None], calls: Callable[[], list[str]]
) -> None:
    stand_in("docker", "")
    image = replace(PLAIN, also=("example.com/team/plain:v1.0",))
    built._docker_build(image, tmp_path, tmp_path / "Dockerfile")
    command = calls()[-1]
    key = built.key(image)
    for name in ("plain:v1", "plain:v1.0", f"plain:key-{key}"):
        assert f"127.0.0.1:1/team/{name}" in command.replace('"', ",").split("name=")[1].split(",")
    assert f"--label shipshape.key={key}" in command
    assert "push=true" in command


@pytest.mark.usefixtures("folder")
def test_an_image_of_the_engine_is_not_pushed(
    built: Images, tmp_path: Path, stand_in: Callable[[str, str], None], calls: Callable[[], list[str]]
) -> None:
    stand_in("docker", "")
    image = replace(BUILT, engine=True, name=BUILT.name + "@sha256:" + "0" * 64)
    built._docker_build(image, tmp_path, tmp_path / "Dockerfile")
    assert "--tag example.com/team/built:v1 --load" in calls()[-1]
    assert "push" not in calls()[-1]


@pytest.fixture
def held(built: Images, folder: Path) -> Image:
    """An image with a package that is held to a version."""
    (folder / "packages").mkdir()
    (folder / "packages/hold").write_text("")
    group = Packages("runtime", "forky", ("containerd",), {"containerd": Held("2.1", least="2")})
    built.versions = replace(built.versions, packages={"runtime": group})
    return replace(BUILT, packages="runtime")


def test_a_package_that_was_never_tried_is_told(
    built: Images, held: Image, tmp_path: Path, stand_in: Callable[[str, str], None], said: io.StringIO
) -> None:
    stand_in("docker", "echo '#8 9.12 held: containerd 2.3.1' >&2")
    built._docker_build(held, tmp_path, tmp_path / "Dockerfile")
    assert "Debian's forky has containerd 2.3.1, which was never tried here (2.1 was)" in said.getvalue()


def test_a_package_that_will_not_do_is_why_a_build_fails(
    built: Images, held: Image, tmp_path: Path, stand_in: Callable[[str, str], None]
) -> None:
    build = "case $* in *--label*) echo '#8 9.12 held: containerd {}'; echo something else; exit 1 ;; esac"
    stand_in("docker", build.format("1.7.24"))
    with pytest.raises(Unusable, match=r"^Debian's forky has containerd 1\.7\.24, but 2 or newer is needed\. "):
        built._docker_build(held, tmp_path, tmp_path / "Dockerfile")
    stand_in("docker", build.format("2.1.9"))
    with pytest.raises(CommandFailed, match="something else"):
        built._docker_build(held, tmp_path, tmp_path / "Dockerfile")


def test_a_build_gets_what_its_packages_are_held_to(built: Images, held: Image, folder: Path, tmp_path: Path) -> None:
    built._stage(held, tmp_path / "context")
    assert (tmp_path / "context/packages/hold").exists()
    assert (tmp_path / "context/packages/held").read_text() == "containerd 2.1 2 -\n"
    key = built.key(held)
    assert key != built.key(BUILT)
    (folder / "packages/hold").write_text("exit 1\n")
    assert built.key(held) != key


def test_the_key_can_be_made_of_every_image_of_the_lock(progress: Progress) -> None:
    images = images_of(versions.load(), progress)
    assert len({images.key(i) for i in images.versions.images}) == len(images.versions.images)
