"""Where a valkey-server for tests and development comes from: the PATH, or else Debian, unpacked beside the system."""

from k8s.kind.unpacked import Unpacked

# Debian 12 has no Valkey. That of 13 wants 13's C library, hence the libraries with it.
_VALKEY = Unpacked(
    "valkey",
    "trixie",
    (
        *("valkey-server", "valkey-tools"),
        *("libatomic1", "libc6", "libcap2", "libgcc-s1", "libjemalloc2", "liblzf1", "libssl3t64", "libstdc++6"),
        *("libsystemd0", "libzstd1", "zlib1g"),
    ),
)


def server() -> list[str] | None:
    """The command that runs valkey-server; None if there is none yet."""
    return _VALKEY.command("valkey-server")


def obtain() -> list[str] | None:
    """The same, fetched before if there is none and we are root on Debian. Takes some 5 s."""
    return _VALKEY.obtain("valkey-server")
