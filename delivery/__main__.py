"""Command line of the delivery: the make targets and, through them, the pipeline call this.

A module with commands has `add(commands)`, which adds their parsers and says by `set_defaults(run=...)` what runs each:
a function of the parsed arguments that returns the exit code, and raises Failure with a sentence for exit code 1.
"""

import argparse
import os
import sys

from delivery import dev, gitops, image, licences, release, sbom, scan, signing, summary, tools
from delivery.deploy import command as deploy
from k8s.kind.paths import TOOLS
from k8s.kind.process import Failure

MODULES = (deploy, signing, gitops, release, summary, tools, dev, image, sbom, scan, licences)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m delivery", description="Bring a change to where users are.")
    commands = parser.add_subparsers(dest="command", required=True)
    for module in MODULES:
        module.add(commands)
    args = parser.parse_args(argv)
    os.environ["PATH"] = f"{TOOLS}{os.pathsep}{os.environ['PATH']}"
    try:
        return int(args.run(args))
    except Failure as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:  # a read-only folder, a full disk
        print(f"{error.filename or 'The system'}: {error.strerror or error}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
