"""Command line of `make dev`."""

import argparse
import os
import sys

from dev import command
from toolkit.command_line import exit_code
from toolkit.paths import TOOLS


def main(argv: list[str] | None = None) -> int:
    description = "Run the service with reload, on a real PostgreSQL and Valkey."
    argparse.ArgumentParser(prog="python -m dev", description=description).parse_args(argv)
    os.environ["PATH"] = f"{TOOLS}{os.pathsep}{os.environ['PATH']}"
    return exit_code(command.run)


if __name__ == "__main__":
    sys.exit(main())
