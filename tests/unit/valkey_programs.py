"""Where the tests' valkey-server comes from: the PATH, or else Debian, unpacked beside the system."""

import shutil
from pathlib import Path

from k8s.kind import apt
from k8s.kind.engine import may_install
from k8s.kind.paths import cache

# Debian 12 has no Valkey. That of 13 wants 13's C library, hence the libraries with it.
SUITE = "trixie"
PACKAGES = [
    *("valkey-server", "valkey-tools"),
    *("libatomic1", "libc6", "libcap2", "libgcc-s1", "libjemalloc2", "liblzf1", "libssl3t64", "libstdc++6"),
    *("libsystemd0", "libzstd1", "zlib1g"),
]


def server() -> list[str] | None:
    """The command that runs valkey-server; None if there is none yet."""
    if found := shutil.which("valkey-server"):
        return [found]
    root = _folder()
    programs, loaders = root / "usr/bin/valkey-server", sorted(root.glob("usr/lib*/ld-linux-*.so.*"))
    if not programs.exists() or not loaders:
        return None
    libraries = ":".join(map(str, root.glob("usr/lib/*-linux-gnu*")))
    return [str(loaders[0]), "--library-path", libraries, str(programs)]


def obtain() -> list[str] | None:
    """The same, fetched before if there is none and we are root on Debian. Takes some 5 s."""
    if server() is None and may_install():
        try:
            apt.unpack(PACKAGES, SUITE, _folder())
        except OSError:
            if server() is None:  # else another run of the tests was quicker
                raise
    return server()


def _folder() -> Path:
    return cache() / f"valkey-{SUITE}"
