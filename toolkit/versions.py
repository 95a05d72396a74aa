"""images.lock.yaml, typed: every image by its upstream name, and how it is built where no registry answers."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache as once
from pathlib import Path
from typing import Any

import yaml

from toolkit import packages
from toolkit.packages import Packages
from toolkit.paths import OFFLINE, shown
from toolkit.process import Failure

LOCK_FILE = OFFLINE / "images.lock.yaml"
REGISTRY = "library/registry"


@dataclass(frozen=True)
class Module:
    """A Go module; `sum` is its checksum in go.sum's form (https://go.dev/ref/mod#go-sum-files)."""

    path: str
    version: str
    sum: str


@dataclass(frozen=True)
class Program:
    """One build that gives one or more executables: Go packages of a module, or the script of a Python wheel."""

    name: str
    seconds: float
    module: str = ""
    packages: tuple[str, ...] = ()
    staging: bool = False
    replace: bool = False
    set: tuple[str, ...] = ()
    wheel: str = ""
    sha256: str = ""
    stub: str = ""
    debian: dict[str, str] = field(default_factory=dict)

    @property
    def executables(self) -> dict[str, str]:
        """Executable → Go package, relative to the module. A wheel gives the one of the program's own name."""
        named = {p.rsplit("/", 1)[-1]: p for p in self.packages if p != "."}
        return named or {self.name: "."}


@dataclass(frozen=True)
class Tool:
    """A program the host needs: any of the versions that start with `match` will do."""

    name: str
    program: str
    version: str
    match: str


@dataclass(frozen=True)
class Image:
    """An image by its upstream name; see the lock file for what the fields mean."""

    name: str
    also: tuple[str, ...] = ()
    engine: bool = False
    build_only: bool = False
    pull_only: bool = False
    dockerfile: str = ""
    files: dict[str, str] = field(default_factory=dict)
    module: dict[str, Any] = field(default_factory=dict)
    context: tuple[str, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    # Not part of the key, which is made of the repr: what it is for, and what `Images.key` asks for itself.
    component: str = field(default="", repr=False)
    packages: str = field(default="", repr=False)

    @property
    def tagged(self) -> str:
        """The name without a digest: what is built here cannot have upstream's."""
        return self.name.split("@")[0]

    @property
    def registry(self) -> str:
        return self.name.split("/")[0]

    @property
    def repository(self) -> str:
        """The name below the registry, as the nodes ask a mirror for it: library/postgres."""
        return self.tagged.split("/", 1)[1].rsplit(":", 1)[0]

    @property
    def tag(self) -> str:
        return self.tagged.rsplit(":", 1)[1]


@dataclass(frozen=True)
class Manifest:
    """Files or folders of a module that k8s/platform patches."""

    module: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class Versions:
    """The whole lock file."""

    modules: dict[str, Module]
    programs: dict[str, Program]
    tools: dict[str, Tool]
    base: dict[str, Any]
    images: tuple[Image, ...]
    manifests: dict[str, Manifest]
    together: tuple[str, ...] = ()
    packages: dict[str, Packages] = field(default_factory=dict)

    @property
    def registries(self) -> list[str]:
        """The registries that the images come from upstream."""
        return sorted({i.registry for i in self.images if not i.build_only})

    def without(self, components: Collection[str]) -> "Versions":
        """The same without the images that these components of the platform alone need."""
        return replace(self, images=tuple(i for i in self.images if i.component not in components))

    def only(self, repositories: Collection[str]) -> "Versions":
        """The same with these images alone, and the registry that they are pushed to. Raises Failure."""
        buildable = [i.repository for i in self.images if not i.pull_only]
        if unknown := [name for name in repositories if name not in buildable]:
            raise Failure(f"There is no image '{unknown[0]}' to build. There are: {', '.join(buildable)}.")
        wanted = {*repositories, REGISTRY}
        return replace(self, images=tuple(i for i in self.images if i.repository in wanted))

    def resolved_with(self, module: str) -> list[Module]:
        """The modules whose dependencies are resolved as one with this one's, itself among them."""
        return [self.modules[path] for path in (self.together if module in self.together else (module,))]

    def program_of(self, executable: str) -> Program:
        return next(p for p in self.programs.values() if executable in p.executables)

    def image(self, repository: str) -> Image:
        """The image of a repository such as library/postgres."""
        return next(i for i in self.images if i.repository == repository)


def _tuples(entry: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}


def read(path: Path = LOCK_FILE) -> dict[str, Any]:
    """The lock file, with its `vars` in the places that name them. Raises Failure for one that there is not."""
    text = path.read_text(encoding="utf-8")
    known: dict[str, str] = {}
    for name, version in yaml.safe_load(text)["vars"].items():
        major, minor = version.removeprefix("v").split(".")[:2]
        known |= {name: version, f"{name}.major": major, f"{name}.minor": minor}
    named = re.compile(r"\$\{(\w+(?:\.\w+)?)\}")
    if unknown := sorted(set(named.findall(text)) - known.keys()):
        raise Failure(f"{shown(path)} names ${{{unknown[0]}}}, and its `vars` have: {', '.join(known)}.")
    filled: dict[str, Any] = yaml.safe_load(named.sub(lambda match: known[match[1]], text))
    return filled


@once
def load(path: Path = LOCK_FILE) -> Versions:
    """Read the lock file."""
    raw = read(path)
    programs = {k: Program(name=k, **_tuples(v)) for k, v in raw["programs"].items()}
    images = tuple(Image(**_tuples(v)) for v in raw["images"])
    versions = _promised(images, programs)
    return Versions(
        modules={k: Module(path=k, **v) for k, v in raw["modules"].items()},
        programs=programs,
        tools={k: Tool(name=k, **v) for k, v in raw["tools"].items()},
        base=raw["base"],
        images=images,
        manifests={k: Manifest(**_tuples(v)) for k, v in raw["manifests"].items()},
        together=tuple(raw["together"]),
        packages={k: packages.read(k, v, versions.get(k, "")) for k, v in raw["packages"].items()},
    )


def _promised(images: Iterable[Image], programs: Mapping[str, Program]) -> dict[str, str]:
    """The versions that the images' names promise of the packages they are made of, such as 1.24.1 by v1.24.1-p1."""
    made_of = {e: p.name for p in programs.values() if p.debian for e in p.executables}
    found = {}
    for image in images:
        for name in {image.packages, *(made_of.get(e, "") for e in image.files)} - {""}:
            found[name] = image.tag.removeprefix("v").partition("-")[0]
    return found
