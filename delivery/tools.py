"""cosign, actionlint and trivy: the host's own, or from Debian, Go modules and wheels into the cache."""

import argparse
import re
import shutil
from functools import cache as once
from pathlib import Path
from typing import Any

import yaml

from toolkit.exclusive import exclusive_run
from toolkit.packages import read
from toolkit.paths import ROOT, cache
from toolkit.process import Failure, output
from toolkit.programs import Programs
from toolkit.progress import Progress
from toolkit.versions import Module, Program, Versions

LOCK_FILE = ROOT / "delivery" / "lock.yaml"
Version = tuple[int, ...]


@once
def raw() -> dict[str, Any]:
    """The lock file as it is written."""
    content: dict[str, Any] = yaml.safe_load(LOCK_FILE.read_text(encoding="utf-8"))
    return content


@once
def lock() -> Versions:
    """What the programs are made of, in the form of the cluster's lock."""
    programs: dict[str, Program] = {}
    for name, entry in raw()["programs"].items():
        lists = {key: tuple(entry[key]) for key in ("packages", "set") if key in entry}
        programs[name] = Program(name=name, **{**entry, **lists})
    modules = {path: Module(path=path, **entry) for path, entry in raw()["modules"].items()}
    packages = {name: read(name, entry) for name, entry in raw()["packages"].items()}
    return Versions(modules=modules, programs=programs, tools={}, base={}, images=(), manifests={}, packages=packages)


def program(name: str, progress: Progress | None = None) -> Path:
    """Where a program lies: on the PATH if it is new enough, else in the cache, built if need be. Raises Failure."""
    return on_path(name) or provided(name, progress)


def on_path(name: str) -> Path | None:
    """The host's own program, unless it is older than the lock file's."""
    found = shutil.which(name)
    if not found:
        return None
    try:
        said = output([found, *raw()["asked"][name]])
    except Failure:
        return None
    version = parse(said)
    return Path(found) if version and version >= locked(name) else None


def provided(name: str, progress: Progress | None = None) -> Path:
    """The lock file's program, from the cache."""
    programs = Programs(lock(), progress or Progress())
    wanted = lock().programs[name]
    path = programs.path(name)
    if not path.exists():
        with exclusive_run(cache() / f"{name}.lock"):
            programs.ensure(wanted)
    return path


def locked(name: str) -> Version:
    """The version in the lock file, to the patch."""
    wanted = lock().programs[name]
    text = wanted.wheel.partition("==")[2] if wanted.wheel else lock().modules[wanted.module].version
    found = parse(text)
    if not found:
        raise Failure(f"delivery/lock.yaml gives {name} no version: '{text}'.")
    return found


def parse(text: str) -> Version | None:
    """The first version in a text, as numbers: (3, 1, 3)."""
    found = re.search(r"(?<![\d.])v?(\d+)\.(\d+)\.(\d+)", text)
    return tuple(int(part) for part in found.groups()) if found else None


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("tools", help="provide cosign, actionlint and trivy, and say where they are")
    command.add_argument("names", nargs="*", metavar="name", help="only these")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    names = args.names or list(lock().programs)
    if unknown := [name for name in names if name not in lock().programs]:
        raise Failure(f"There is no program '{unknown[0]}' in delivery/lock.yaml: {', '.join(lock().programs)}.")
    with Progress() as progress:
        for name in names:
            print(f"{name:<10} {program(name, progress)}")
    return 0
