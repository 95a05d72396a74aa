"""What a newcomer does, step by step, and one step done: shown while it runs, with its output in a log."""

import json
import re
from dataclasses import dataclass

from tests.rehearsal.machine import LOG, Machine
from toolkit.process import CommandFailed, log_file, run
from toolkit.progress import Progress

CHECKOUT = "/root/shipshape"
# What the README asks for: Python, and Go, which is there; what fetches and starts the checkout; what the last lines of
# `make up` are typed with. No pip: `make .venv` gets Debian's.
PACKAGES = ("ca-certificates", "curl", "git", "make", "python3")
IMAGE = "valkey/valkey"  # from Debian's packages; with it come the engine, the base image and the registry


@dataclass(frozen=True)
class Step:
    """A command of the newcomer's, and how long it should take, in seconds."""

    name: str
    argv: tuple[str, ...]
    seconds: float
    folder: str = CHECKOUT

    @property
    def log(self) -> str:
        return f"{LOG}-{re.sub(r'[^a-z]+', '-', self.name.lower()).strip('-')}"


INSTALL = Step(
    "apt-get install",
    ("sh", "-c", f"apt-get update -q && apt-get install -y -q --no-install-recommends {' '.join(PACKAGES)}"),
    20,
    folder="/root",
)
STEPS = {
    "venv": Step("make .venv", ("make", ".venv"), 60),
    "doctor": Step("make doctor", ("make", "doctor"), 3),
    "image": Step(f"an image ({IMAGE})", (".venv/bin/python", "-m", "k8s", "images", IMAGE), 60),
    "up": Step("make up", ("make", "up"), 1200),
}


def served(facts: str) -> Step:
    """The request over TLS that the last lines of `make up` propose, from what it has written."""
    up = json.loads(facts)
    curl = ("curl", "--fail", "--silent", "--show-error", "--max-time", "10", "--cacert", up["ca"], f"{up['url']}/")
    return Step("a request over TLS", curl, 1)


def do(step: Step, machine: Machine, progress: Progress) -> None:
    """Take a step: its last line is on show, all are in a log. Raises CommandFailed, of the newcomer's command."""
    with progress.step(step.name, step.seconds) as shown:

        def show(line: str) -> bool:
            shown.detail = line.strip()[:80]
            return False

        try:
            run(machine.command(*step.argv, folder=step.folder), log=step.log, each_line=show)
        except CommandFailed as error:
            raise CommandFailed(step.argv, error.code, error.said, log_file(step.log)) from error
        finally:
            shown.detail = ""
