"""`make sbom`: what an image is made of, as CycloneDX and as SPDX, by trivy.

The image is one in a registry, or an OCI layout or a saved image on disk. What scan and licences judge is this list.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packageurl import PackageURL

from delivery import tools
from delivery.image import reachable
from toolkit.paths import BUILD, cache, shown
from toolkit.process import Failure

REPORT = BUILD / "report"
FILES = {"cyclonedx": "sbom.cdx.json", "spdx-json": "sbom.spdx.json"}
ECOSYSTEMS = {"apk": "apk package", "deb": "Debian package", "pypi": "Python distribution", "rpm": "RPM package"}
OF_A_SYSTEM = {"apk", "deb", "rpm"}
TIMEOUT = 600  # seconds; an image is read in a few


@dataclass(frozen=True)
class Package:
    """A component of an image. `kind` is the package URL's type (https://github.com/package-url/purl-spec)."""

    kind: str
    name: str
    version: str
    architecture: str = ""
    licences: tuple[str, ...] = ()
    """All of them hold; one may be an SPDX expression."""


@dataclass(frozen=True)
class Contents:
    """What an image holds. `system` is what trivy takes it for, such as debian 13.7; '' where it knows none, and then
    lists no package of it either."""

    system: str
    packages: tuple[Package, ...]


def write(image: str, folder: Path | None = None, platform: str = "") -> dict[str, Path]:
    """Both documents, by format. Raises Failure."""
    folder = folder or REPORT
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for form, name in FILES.items():
        made[form] = folder / name
        trivy("image", *source(image, platform), f"--format={form}", f"--output={folder / name}")
    found = read(made["cyclonedx"])
    if not found.system:
        raise Failure(
            f"Of which system {image} is made is not known, so that system's packages cannot be listed. trivy knows "
            "Debian by etc/debian_version, Ubuntu by etc/lsb-release, Amazon Linux by etc/system-release, and Alpine, "
            "Wolfi, Red Hat and its like, SUSE, Azure Linux and Photon by etc/os-release. Others are not supported."
        )
    if not any(p.kind in OF_A_SYSTEM for p in found.packages):
        raise Failure(
            f"No package of its system ({found.system}) was found in {image}, so they cannot be listed: the records "
            "are missing (var/lib/dpkg, lib/apk/db or the RPM database)."
        )
    return made


def read(file: Path) -> Contents:
    """A CycloneDX document, as trivy writes it (https://cyclonedx.org/docs/1.6/json/)."""
    document = json.loads(file.read_text(encoding="utf-8"))
    components = document.get("components", [])
    system = next(
        (f"{c['name']} {c.get('version', '')}".strip() for c in components if c["type"] == "operating-system"), ""
    )
    system = "" if system == "none" else system
    packages = [package(c) for c in components if "purl" in c]
    return Contents(system, tuple(sorted(packages, key=lambda p: (p.kind, p.name))))


def package(component: dict[str, Any]) -> Package:
    """pkg:deb/debian/zlib1g@1.3-1?arch=amd64&epoch=1 and the licences beside it."""
    found = PackageURL.from_string(component["purl"])
    qualifiers = dict(found.qualifiers)
    epoch = f"{qualifiers['epoch']}:" if "epoch" in qualifiers else ""
    return Package(
        found.type,
        normalized(found.name) if found.type == "pypi" else found.name,
        epoch + (found.version or ""),
        qualifiers.get("arch", ""),
        tuple(dict.fromkeys(licence(entry) for entry in component.get("licenses", []))),
    )


def licence(entry: dict[str, Any]) -> str:
    if "expression" in entry:
        return str(entry["expression"])
    named = entry["license"]
    return str(named.get("id") or named["name"])


def normalized(name: str) -> str:
    """https://packaging.python.org/en/latest/specifications/name-normalization/"""
    return re.sub(r"[-_.]+", "-", name).lower()


def source(image: str, platform: str = "") -> list[str]:
    """trivy's words for an image."""
    if not image:
        raise Failure("Say which image: IMAGE=repository@sha256:..., or a file or folder with a saved one.")
    if Path(image).exists():
        return [f"--input={Path(image).absolute()}"]
    return [
        "--image-src=remote",
        *([f"--platform={platform}"] if platform else []),
        reachable(image),
    ]


def trivy(*arguments: str) -> str:
    """Run it to its end. Its database, if one can be had, is cached. Raises Failure with its last line."""
    command, *rest = arguments
    options = ["--quiet", "--skip-version-check", "--disable-telemetry", f"--cache-dir={cache() / 'trivy'}"]
    done = ended([tools.program("trivy"), command, *options, *rest], TIMEOUT)
    if done.returncode:
        said = [line.strip(" \t*") for line in done.stderr.splitlines() if line.strip(" \t*")]
        reason = (
            re.sub(r"^.*FATAL\s+(Fatal error\s+)?(run error: )?", "", said[-1]) if said else f"exit {done.returncode}"
        )
        raise Failure(f"trivy {command} failed: {reason}")
    return done.stdout


def ended(argv: Sequence[str | Path], seconds: float) -> "subprocess.CompletedProcess[str]":
    """A program that has run to its end, however it ended. Raises Failure if it cannot be run, or takes longer."""
    name = Path(argv[0]).name
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise Failure(
            f"{name} did not end within {seconds:g} s: is there a network that drops its requests?"
        ) from error
    except OSError as error:
        raise Failure(f"{name} cannot be run ({error.strerror}): `make .venv` installs what is of Python.") from error


def run(args: argparse.Namespace) -> int:
    made = write(args.image, platform=args.platform)
    found = read(made["cyclonedx"])
    counts = Counter(ECOSYSTEMS.get(p.kind, f"{p.kind} package") for p in found.packages)
    lists = " and ".join(f"{count} {words}s" for words, count in counts.items())
    sys.stdout.write(f"{', '.join(shown(f) for f in made.values())}: {lists}\n")
    return 0


def add_image(parser: argparse.ArgumentParser) -> None:
    """The image, from the command line or from make's variables."""
    image, platform = os.environ.get("IMAGE", ""), os.environ.get("PLATFORM", "")
    help_text = "repository@sha256:..., or a file or folder with a saved image (default: $IMAGE)"
    parser.add_argument("image", nargs="?", default=image, help=help_text)
    parser.add_argument("--platform", default=platform, help="such as linux/arm64 (default: $PLATFORM, linux/amd64)")


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("sbom", help="list what an image is made of, as CycloneDX and SPDX")
    add_image(parser)
    parser.set_defaults(run=run)
