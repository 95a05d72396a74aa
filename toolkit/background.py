"""Commands that run in the background and give way to everything else: builds beside tests that measure time.

`nice` alone does not do it. Where the kernel shares the CPU out by session first (autogroups, the default of Debian,
Ubuntu and Fedora), it counts among the processes of one session only, so that a build in a session of its own gets as
much as all the tests together. See sched(7).
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from toolkit.paths import ROOT

LOWEST = 19
AUTOGROUP = Path("/proc/self/autogroup")
ATTEMPTS = 10


def start(argv: Sequence[str], *, log: IO[bytes] | None = None) -> "subprocess.Popen[bytes]":
    """Start a command, in the checkout and in a session of its own, at the lowest priority there is.

    What it starts inherits that. The session is the process group too: end all of it with `os.killpg`.
    """
    wrapped = [sys.executable, "-m", "toolkit.background", *argv]
    return subprocess.Popen(wrapped, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)


def give_way() -> None:
    """Lower the priority of this process, of its children to come, and of its session if it leads one.

    None of it needs any rights. What a kernel lacks or forbids is left out: the command then runs, only less meekly.
    """
    os.nice(LOWEST)
    if sys.platform == "linux":
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        if os.getsid(0) == os.getpid():  # or the terminal that we were started from would give way as well
            _lower_session()


def _lower_session() -> None:
    """Set the nice value of the session's autogroup, its weight among all sessions."""
    for _ in range(ATTEMPTS):
        try:
            AUTOGROUP.write_text(str(LOWEST))
        except BlockingIOError:  # the kernel takes one such request in 0.1 s from all users but root
            time.sleep(0.1)
        except OSError:
            return
        else:
            return


def main(argv: list[str]) -> None:
    """Give way, then become the command."""
    give_way()
    try:
        os.execvp(argv[0], argv)  # noqa: S606
    except OSError as error:
        sys.exit(f"`{argv[0]}` cannot be run: {error.strerror}.")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m toolkit.background COMMAND [ARGUMENT ...]")
    main(sys.argv[1:])
