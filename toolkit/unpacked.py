"""Programs of a newer Debian than this machine's, unpacked beside the system with the libraries they need."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from toolkit import apt, packages
from toolkit.packages import Packages
from toolkit.paths import cache
from toolkit.progress import Progress


@dataclass(frozen=True)
class Unpacked:
    """Packages in a folder of the cache that their name and their suite name."""

    packages: Packages

    def command(self, program: str) -> list[str] | None:
        """The command that runs a program: that of the PATH, or else the unpacked one; None if there is none yet."""
        if on_path := shutil.which(program):
            return [on_path]
        files = (f"usr/bin/{program}", f"usr/sbin/{program}")
        found = next((file for file in files if (self.folder / file).exists()), None)
        return packages.command(self.folder, found) if found else None

    def obtain(self, program: str) -> list[str] | None:
        """The same, fetched before if there is none and we are root on Debian. Raises Failure."""
        if self.command(program) is None and apt.may_install():
            try:
                packages.fetch(self.packages, self.folder, Progress().say)
            except OSError:
                if self.command(program) is None:  # else another run was quicker
                    raise
        return self.command(program)

    @property
    def folder(self) -> Path:
        return cache() / f"{self.packages.name}-{self.packages.suite}"
