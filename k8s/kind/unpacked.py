"""Programs of a newer Debian than this machine's, unpacked beside the system with the libraries they need."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from k8s.kind import apt
from k8s.kind.engine import may_install
from k8s.kind.paths import cache


@dataclass(frozen=True)
class Unpacked:
    """Packages of a suite, in a folder of the cache that `name` and `suite` name."""

    name: str
    suite: str
    packages: tuple[str, ...]

    def command(self, program: str) -> list[str] | None:
        """The command that runs a program: that of the PATH, or else the unpacked one; None if there is none yet."""
        if found := shutil.which(program):
            return [found]
        path, loaders = self.folder / "usr/bin" / program, sorted(self.folder.glob("usr/lib*/ld-linux-*.so.*"))
        if not path.exists() or not loaders:
            return None
        libraries = ":".join(map(str, self.folder.glob("usr/lib/*-linux-gnu*")))
        return [str(loaders[0]), "--library-path", libraries, str(path)]

    def obtain(self, program: str) -> list[str] | None:
        """The same, fetched before if there is none and we are root on Debian."""
        if self.command(program) is None and may_install():
            try:
                apt.unpack(list(self.packages), self.suite, self.folder)
            except OSError:
                if self.command(program) is None:  # else another run was quicker
                    raise
        return self.command(program)

    @property
    def folder(self) -> Path:
        return cache() / f"{self.name}-{self.suite}"
