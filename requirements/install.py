"""Install what a lock lists, and nothing else, in a virtual environment: `python -m requirements.install LOCK VENV`.

Nothing is resolved, so a release made tomorrow changes nothing: pip fetches no dependency that the lock does not list
(--no-deps), and no source distribution (--only-binary), as the tools that build one are in no lock. A check at the end
finds what the lock lacks. It is pip, not uv, as uv does not read pip's configuration: mirrors, proxies, authorities.

This runs before anything is installed: it, and what it imports, needs the standard library alone.
"""

import sys
from pathlib import Path

from toolkit.paths import shown
from toolkit.process import CommandFailed, Failure, run


def install(lock: Path, venv: Path, *, log: str = "install") -> None:
    """Install a lock. Raises Failure, and leaves an environment that is to be made anew."""
    # Of the environment's own packages (-I), not of those that PYTHONPATH names.
    pip: list[str | Path] = [venv / "bin" / "python", "-I", "-m", "pip", "--disable-pip-version-check"]
    what = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--requirement", str(lock)]
    run([*pip, "install", "--quiet", *what], log=log)
    try:
        run([*pip, "check"], log=log)
    except CommandFailed as error:
        advice = "Take it from git again, or resolve it anew: `make lock`."
        raise Failure(f"{shown(lock.absolute())} does not list all that is needed:\n{error.said}{advice}") from error


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        sys.stderr.write("Usage: python -m requirements.install LOCK VENV\n")
        return 2
    try:
        install(*map(Path, arguments))
    except Failure as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
