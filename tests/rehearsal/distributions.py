"""What pip has installed, beside the lock that it was to install from."""

import json
from collections.abc import Iterator, Mapping

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.rehearsal.difference import Difference

ORIGIN = "PyPI"
# What `python -m venv` puts into an environment by itself, in Debian's version.
BESIDE = {"setuptools"}


def locked(requirements: str, markers: Mapping[str, str]) -> dict[str, Version]:
    """Name and version of each distribution of a lock that a machine with these markers wants."""
    return {
        canonicalize_name(each.name): _pinned(each)
        for each in _requirements(requirements)
        if each.marker is None or each.marker.evaluate(markers)
    }


def _requirements(text: str) -> Iterator[Requirement]:
    lines = (
        line for line in text.replace("\\\n", " ").splitlines() if line.strip() and not line.lstrip().startswith("#")
    )
    return (Requirement(line.partition(" --hash=")[0]) for line in lines)


def _pinned(requirement: Requirement) -> Version:
    (pin,) = requirement.specifier
    return Version(pin.version)


def installed(listing: str) -> dict[str, Version]:
    """Likewise, of what `pip list --format=json` prints."""
    return {canonicalize_name(each["name"]): Version(each["version"]) for each in json.loads(listing)}


def differences(wanted: Mapping[str, Version], found: Mapping[str, Version]) -> list[Difference]:
    """What is installed in another version, or not, or without being locked."""
    names = sorted({*wanted, *found} - (BESIDE - set(wanted)))
    return [
        Difference(name, ORIGIN, str(wanted.get(name, "none")), str(found.get(name, "none")))
        for name in names
        if wanted.get(name) != found.get(name)
    ]
