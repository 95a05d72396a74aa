"""Builds the lock file's images where no registry answers, and pushes them to the local one by their own names."""

import stat
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

from offline import bootstrap
from offline.engine import buildx, push_options
from offline.registry import Registry
from toolkit import packages, project
from toolkit.paths import OFFLINE
from toolkit.process import CommandFailed, output, run, succeeds
from toolkit.programs import Programs, copy, digest, module_dir
from toolkit.progress import Progress
from toolkit.versions import REGISTRY, Image, Module, Versions

COMPILERS = 2  # side by side: one links on a single core while the other compiles
BUILDERS = 2
KEY_LABEL = f"{project.NAME}.key"
COMPRESSION = "zstd"  # packed and, on every node, unpacked in a third of gzip's time
HOLD = "packages/hold"  # asks for the versions of the packages in an image
# What every image without a distribution in it gets, as distroless images do: names for users, and a /tmp.
USERS = """\
root:x:0:0:root:/root:/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin
nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin
"""


class Images:
    """What is missing of the lock file's images, built in as few minutes as two cores allow."""

    def __init__(self, versions: Versions, registry: Registry, progress: Progress) -> None:
        self.versions = versions
        self.registry = registry
        self.progress = progress
        self.programs = Programs(versions, progress)
        self._builders = threading.Semaphore(BUILDERS)

    def key(self, image: Image) -> str:
        """Names everything that goes into an image."""
        parts = [repr(image), repr(self.versions.base), COMPRESSION]
        parts += [self.programs.key(self.versions.program_of(e)) for e in image.files]
        if image.module:
            parts.append(repr(self.versions.modules[image.module["path"]]))
        if image.packages:
            parts += [repr(self.versions.packages[image.packages]), (OFFLINE / "images" / HOLD).read_text()]
        if image.dockerfile:
            parts.append((OFFLINE / "images" / image.dockerfile).read_text())
        for folder in image.context:
            top = OFFLINE / "images" / folder
            files = sorted(p for p in top.rglob("*") if p.is_file())
            names = [f"{folder}/{p.relative_to(top)} {p.stat().st_mode & stat.S_IXUSR}" for p in files]
            parts += [*names, *(p.read_text() for p in files)]
        return digest(*parts)

    def missing(self) -> list[Image]:
        """The images that were not built from their present inputs."""
        return [i for i in self.versions.images if not i.pull_only and not self.is_there(i)]

    def is_there(self, image: Image) -> bool:
        """Whether the registry (or the engine, for an image that it runs itself) has what the present inputs give."""
        key = self.key(image)
        if not image.engine:
            return self.registry.digest(image.repository, f"key-{key}") is not None
        if not succeeds(["docker", "image", "inspect", image.tagged]):
            return False
        label = f'{{{{index .Config.Labels "{KEY_LABEL}"}}}}'
        return output(["docker", "image", "inspect", image.tagged, "--format", label]).strip() == key

    def ensure_registry_image(self) -> str:
        """Build the registry's own image, which all others need, unless the engine has it. Returns its name."""
        image = self.versions.image(REGISTRY)
        if not self.is_there(image):
            self.ensure_base()
            self._build(image)
        return image.tagged

    def ensure_all(self, tools: Sequence[str]) -> None:
        """Build what is missing of the images, and these tools of the host.

        Programs are built two at a time, the longest first, and each image as soon as its programs are there.
        """
        missing = self.missing()
        wanted = [self.versions.tools[t].program for t in tools]
        wanted += [self.versions.program_of(e).name for i in missing for e in i.files]
        if any(i.dockerfile for i in missing):
            self.ensure_base()
        stop = threading.Event()

        def unless_stopped(task: Callable[[], None]) -> None:
            if stop.is_set():
                raise CancelledError
            try:
                task()
            except BaseException:
                stop.set()  # the first failure: what has not begun does not begin
                raise

        order = sorted(set(wanted), key=lambda n: -self.versions.programs[n].seconds)
        with (
            ThreadPoolExecutor(max_workers=COMPILERS) as compilers,
            ThreadPoolExecutor(max_workers=len(missing) or 1) as builders,
        ):
            programs = {n: compilers.submit(unless_stopped, partial(self._ensure_program, n)) for n in order}
            images = [builders.submit(unless_stopped, partial(self._ensure_image, i, programs, stop)) for i in missing]
        failures = [e for f in [*programs.values(), *images] if (e := f.exception())]
        for error in sorted(failures, key=lambda e: isinstance(e, CancelledError)):
            raise error

    def ensure_base(self) -> None:
        """Make debian:trixie-slim from the archive that this machine uses, unless the engine has one."""
        base = self.versions.base
        key = digest(repr(base), "2")
        found = f'{{{{index .Config.Labels "{KEY_LABEL}"}}}}'
        with _BASE_LOCK:
            if succeeds(["docker", "image", "inspect", base["name"]]):
                label = output(["docker", "image", "inspect", base["name"], "--format", found]).strip()
                if label in {key, "", "<no value>"}:  # ours and fresh, or somebody's real one
                    return
            with self.progress.step(f"build {base['name']}", 30):
                bootstrap.make(base["name"], base["suite"], base["packages"], labels={KEY_LABEL: key}, log="base")

    def _ensure_program(self, name: str) -> None:
        self.programs.ensure(self.versions.programs[name])

    def _ensure_image(self, image: Image, programs: dict[str, "Future[None]"], stop: threading.Event) -> None:
        for name in {self.versions.program_of(e).name for e in image.files}:
            programs[name].result()
        with self._builders:
            if stop.is_set():
                raise CancelledError
            self._build(image)

    def _build(self, image: Image) -> None:
        with (
            self.progress.step(f"build {image.tagged}", 25 if image.dockerfile else 8),
            tempfile.TemporaryDirectory() as work,
        ):
            context = Path(work)
            self._docker_build(image, context, self._stage(image, context))

    def _stage(self, image: Image, context: Path) -> Path:
        """Lay out a build context, and return the Dockerfile."""
        for module_file in image.module.get("files", ()):
            module: Module = self.versions.modules[image.module["path"]]
            copy(module_dir(module) / module_file, context / "upstream" / module_file)
        if image.packages:
            copy(OFFLINE / "images" / HOLD, context / HOLD)
            (context / HOLD).with_name("held").write_text(self.versions.packages[image.packages].lines())
        for folder in image.context:
            copy(OFFLINE / "images" / folder, context / folder)
        if image.dockerfile:
            for executable in image.files:
                copy(self.programs.path(executable), context / "bin" / executable)
            return OFFLINE / "images" / image.dockerfile
        rootfs = context / "rootfs"
        for executable, target in image.files.items():
            copy(self.programs.path(executable), rootfs / target.lstrip("/"))
        (rootfs / "etc").mkdir(exist_ok=True)
        (rootfs / "etc/passwd").write_text(USERS)
        (rootfs / "tmp").mkdir(mode=0o1777)
        (rootfs / "tmp").chmod(0o1777)
        dockerfile = context / "Dockerfile"
        dockerfile.write_text(scratch(image))
        return dockerfile

    def _docker_build(self, image: Image, context: Path, dockerfile: Path) -> None:
        key = self.key(image)
        argv: list[str | Path] = [*buildx(), "build", "--provenance=false", "--label", f"{KEY_LABEL}={key}"]
        argv += ["--build-arg", "SOURCE_DATE_EPOCH=0", "--file", dockerfile]
        if image.engine:
            argv += ["--tag", image.tagged, "--load"]
        else:
            names = [image.tagged, *image.also]
            local = [f"{self.registry.host}/{n.split('/', 1)[1]}" for n in names]
            local.append(f"{self.registry.host}/{image.repository}:key-{key}")
            argv += ["--output", f'{push_options(COMPRESSION)},"name={",".join(local)}"']
        said: dict[str, str] = {}

        def note_version(line: str) -> bool:
            said.update(packages.held_in(line))
            return False

        try:
            run([*argv, context], log=f"image-{image.repository.replace('/', '-')}", each_line=note_version)
        except CommandFailed:
            self._accept(image, said)  # or else say why it was ended
            raise
        self._accept(image, said)

    def _accept(self, image: Image, versions: dict[str, str]) -> None:
        """Say which of an image's packages came in a version that was never tried. Raises Unusable."""
        for package, version in versions.items():
            self.versions.packages[image.packages].accept(package, version, self.progress.say)


_BASE_LOCK = threading.Lock()


def scratch(image: Image) -> str:
    """The Dockerfile of an image that holds nothing but its programs."""
    lines = ["FROM scratch", "COPY rootfs/ /", f"ENV PATH={bootstrap.PATH}"]
    if user := image.config.get("user"):
        lines.append(f"USER {user}")
    for instruction in ("entrypoint", "cmd"):
        if words := image.config.get(instruction):
            lines.append(f"{instruction.upper()} [{', '.join(_quoted(w) for w in words)}]")
    return "\n".join(lines) + "\n"


def _quoted(word: str) -> str:
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
