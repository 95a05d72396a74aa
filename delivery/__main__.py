"""Command line of the delivery: the make targets and, through them, the pipeline call this.

A module with commands has `add(commands)`, which adds their parsers and says by `set_defaults(run=...)` what runs each:
a function of the parsed arguments that returns the exit code, and raises Failure with a sentence for exit code 1.
"""

import argparse
import os
import sys

from delivery import gitops, image, licences, release, sbom, scan, signing, summary, tools
from delivery.deploy import command as deploy
from toolkit.command_line import exit_code
from toolkit.paths import TOOLS

MODULES = (deploy, signing, gitops, release, summary, tools, image, sbom, scan, licences)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m delivery", description="Bring a change to where users are.")
    commands = parser.add_subparsers(dest="command", required=True)
    for module in MODULES:
        module.add(commands)
    args = parser.parse_args(argv)
    os.environ["PATH"] = f"{TOOLS}{os.pathsep}{os.environ['PATH']}"
    return exit_code(lambda: int(args.run(args)))


if __name__ == "__main__":
    sys.exit(main())
