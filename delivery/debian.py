"""What Debian's archive has now of an image's packages, as apt sees it: apt checks the archive's signatures."""

import os
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from toolkit import apt
from toolkit.process import Failure, output, run, succeeds

# https://www.debian.org/releases/
RELEASES = {"12": "bookworm", "13": "trixie", "14": "forky"}


@dataclass(frozen=True)
class Archive:
    """The newest version of each package, by suite, and when the security team's suite was last published."""

    security: dict[str, str]
    stable: dict[str, str]
    published: str


def newest(system: str, names: Iterable[str], architecture: str = "amd64") -> Archive:
    """Ask the archive that this machine's apt is set up for about the packages of, say, debian 13.7. Raises Failure."""
    suite = release(system)
    if not succeeds(["apt-get", "--version"]):
        raise Failure("this machine has no apt, which checks the archive's signatures")
    mirrors = apt.mirrors()
    if "debian-security" not in mirrors:
        raise Failure("this machine's apt knows no archive of security updates (debian-security)")
    options = f"[signed-by={apt.KEYRING}]"
    sources = [
        f"deb {options} {mirrors['debian']} {suite} main",
        f"deb {options} {mirrors['debian']} {suite}-updates main",
        f"deb {options} {mirrors['debian-security']} {suite}-security main",
    ]
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        work.chmod(0o755)  # apt downloads as an unprivileged user where it can
        (work / "lists" / "partial").mkdir(parents=True)
        (work / "status").touch()
        (work / "sources.list").write_text("\n".join(sources) + "\n")
        settings = {
            "APT::Architecture": architecture,
            "APT::Architectures": architecture,
            "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
            "Acquire::Languages": "none",
            "Dir::Cache::PkgCache": "",
            "Dir::Cache::SrcPkgCache": "",
            "Dir::Etc::SourceList": work / "sources.list",
            "Dir::Etc::SourceParts": "-",
            "Dir::State::Lists": work / "lists",
            "Dir::State::Status": work / "status",
        }
        words = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
        run(["apt-get", "-q", "--error-on=any", *words, "update"], log="apt", env=apt.QUIET)
        listed = output(["apt-cache", "-q", *words, "madison", *sorted(names)])
        # One signed file, or one beside its signature, as the mirror has it.
        published = [f.read_text(encoding="utf-8") for f in (work / "lists").glob(f"*{suite}-security_*Release")]
    date = re.search(r"(?m)^Date: (.*)$", "\n".join(published))
    return Archive(
        security=of_suite(listed, f"{suite}-security"),
        stable=of_suite(listed, suite) | of_suite(listed, f"{suite}-updates"),
        published=date[1] if date else "an unknown day",
    )


def release(system: str) -> str:
    """The name of a release: trixie for debian 13.7. Raises Failure for another system."""
    name, _, version = system.partition(" ")
    suite = RELEASES.get(version.partition(".")[0])
    if name != "debian" or not suite:
        raise Failure(
            f"the image is of {system or 'no known system'}, and only Debian's stable releases are known here"
        )
    return suite


def of_suite(listed: str, suite: str) -> dict[str, str]:
    """Of apt-cache madison's lines, `name | version | address suite/main amd64 Packages`, the newest of a suite."""
    found: dict[str, str] = {}
    for line in listed.splitlines():
        name, version, where = (part.strip() for part in line.split("|"))
        if f" {suite}/" in where and (name not in found or newer(version, found[name])):
            found[name] = version
    return found


def newer(version: str, than: str) -> bool:
    """By Debian's own order (https://www.debian.org/doc/debian-policy/ch-controlfields.html#version)."""
    return succeeds(["dpkg", "--compare-versions", version, "gt", than])
