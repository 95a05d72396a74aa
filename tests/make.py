"""make, as people and pipelines call it."""

from toolkit.paths import ROOT
from toolkit.process import output


def make(target: str, *options: str, **variables: str) -> str:
    """What a target prints. Raises CommandFailed with what it said on standard error.

    Variables are given by the environment. The one that the tests run in is not made anew under them.
    """
    argv = ["make", "--no-print-directory", "--old-file=.venv/.made", *options, target]
    return output(argv, cwd=ROOT, env=variables)
