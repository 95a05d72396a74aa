"""Where a valkey-server for tests and development comes from: the PATH, or else Debian, unpacked beside the system."""

from toolkit import versions
from toolkit.unpacked import Unpacked


def server() -> list[str] | None:
    """The command that runs valkey-server; None if there is none yet."""
    return _unpacked().command("valkey-server")


def obtain() -> list[str] | None:
    """The same, fetched before if there is none and we are root on Debian. Takes some 5 s."""
    return _unpacked().obtain("valkey-server")


def _unpacked() -> Unpacked:
    return Unpacked(versions.load().packages["valkey"])  # the image's, too
