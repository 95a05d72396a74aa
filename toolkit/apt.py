"""Debian packages: installed, or fetched from another suite and unpacked beside the system. apt checks signatures."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from toolkit.process import CommandFailed, Failure, output, run, succeeds

SOURCE_LIST = Path("/etc/apt/sources.list")
SOURCE_PARTS = Path("/etc/apt/sources.list.d")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
RELEASED = {"bookworm", "trixie"}  # these have updates of their own
QUIET = {"DEBIAN_FRONTEND": "noninteractive"}
# apt's own patience with an archive that says nothing is minutes for each file.
PATIENCE = {"Acquire::Retries": "2", "Acquire::http::Timeout": "15", "Acquire::https::Timeout": "15"}
# Without this a list that could not be fetched is no failure, and its packages are then said not to exist.
STRICT = {"APT::Update::Error-Mode": "any"}


class Unusable(Failure):
    """A suite lacks a package, or has it in a version that will not do; `what` says which."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} Name another suite or version under `packages` in the lock file, and test it.")
        self.what = what


def may_install() -> bool:
    """Whether we are root on a Debian, where packages can be installed."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def installed(package: str) -> bool:
    return succeeds(["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]) and (
        output(["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]) == "installed"
    )


def install(packages: list[str]) -> None:
    """Install what is missing of these packages."""
    missing = [p for p in packages if not installed(p)]
    if not missing:
        return
    apt = ["apt-get", "-q", *_options(PATIENCE)]
    run([*apt, "update"], log="apt", env=QUIET)
    run([*apt, "install", "-y", "--no-install-recommends", *missing], log="apt", env=QUIET)


def mirrors() -> dict[str, str]:
    """The addresses of the archives `debian` and `debian-security` that this machine itself uses."""
    found: dict[str, str] = {}
    for address, keyring in _entries():
        archive = address.rstrip("/").rsplit("/", 1)[-1]
        # Others, such as Docker's, have a folder of that name too; their packages are signed with their own keys.
        if archive in {"debian", "debian-security"} and (not keyring or KEYRING.stem in keyring):
            found.setdefault(archive, address.rstrip("/"))
    if "debian" not in found:
        raise Failure("No Debian archive in /etc/apt/sources.list or sources.list.d: is this Debian?")
    return found


def _entries() -> Iterator[tuple[str, str]]:
    """Address and keyring of each source, in both formats of sources.list(5)."""
    parts = sorted(SOURCE_PARTS.glob("*.list")) + sorted(SOURCE_PARTS.glob("*.sources"))
    for file in [SOURCE_LIST, *parts]:
        if not file.is_file():
            continue
        lines = [line for line in file.read_text().splitlines() if not line.lstrip().startswith("#")]
        if file.suffix == ".sources":
            for stanza in re.split(r"\n\s*\n", "\n".join(lines)):
                fields = dict(re.findall(r"(?m)^([A-Za-z-]+):[ \t]*(.*)$", stanza))
                if fields.get("Enabled", "yes") != "no" and "deb" in fields.get("Types", "").split():
                    yield from ((address, fields.get("Signed-By", "")) for address in fields.get("URIs", "").split())
        else:
            for line in lines:
                if match := re.match(r"\s*deb\s+(?:\[([^]]*)\]\s+)?(\S+)", line):
                    keyring = re.search(r"signed-by=(\S+)", match[1] or "")
                    yield match[2], keyring[1] if keyring else ""


def sources(suite: str) -> list[str]:
    """The lines of a sources.list for a suite. A mirror may be weeks behind, hence no check of its dates."""
    options = f"[signed-by={KEYRING} check-valid-until=no]"
    lines = [f"deb {options} {mirrors()['debian']} {suite} main"]
    if suite in RELEASED:
        lines.append(f"deb {options} {mirrors()['debian']} {suite}-updates main")
        if "debian-security" in mirrors():
            lines.append(f"deb {options} {mirrors()['debian-security']} {suite}-security main")
    return lines


@contextmanager
def unpacked(packages: list[str], suite: str, *, beside: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """Fetch packages of a suite and unpack them in a temporary folder: that folder, and the packages' versions.

    Nothing is installed, no script of theirs runs. Who wants to keep the folder renames it, to a place beside `beside`.
    Raises Unusable where the suite lacks one.
    """
    with tempfile.TemporaryDirectory(dir=beside.parent, prefix=".apt") as temporary:
        work = Path(temporary)
        # apt downloads as an unprivileged user where it can.
        work.chmod(0o755)
        (work / "sources.list").write_text("\n".join(sources(suite)) + "\n")
        for folder in ("lists/partial", "archives/partial", "debs", "root"):
            (work / folder).mkdir(parents=True)
        options = {
            "Dir::Etc::SourceList": work / "sources.list",
            "Dir::Etc::SourceParts": "-",
            "Dir::State::Lists": work / "lists",
            "Dir::Cache::Archives": work / "archives",
            "Dir::Cache::PkgCache": "",
            "Dir::Cache::SrcPkgCache": "",
            "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
            **PATIENCE,
            **STRICT,
        }
        apt = ["apt-get", "-q", *_options(options)]
        run([*apt, "update"], log="apt")
        try:
            run([*apt, "download", *packages], log="apt", cwd=work / "debs")
        except CommandFailed as error:
            if missing := re.search(r"Unable to locate package (\S+)", error.said):
                raise Unusable(f"Debian's {suite} has no package {missing[1]}, or no longer.") from error
            raise
        versions = {}
        for package in sorted((work / "debs").glob("*.deb")):
            run(["dpkg", "--extract", package, work / "root"], log="apt")
            name, version = output(["dpkg-deb", "--show", "--showformat=${Package} ${Version}", package]).split()
            versions[name] = version
        yield work / "root", versions


def _options(options: Mapping[str, str | Path]) -> list[str]:
    return [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
