"""A command that runs while something else is watched, and that a Ctrl-C at the terminal does not reach."""

import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Sequence

from toolkit.process import Argument, CommandFailed, log_file

POLL_SECONDS = 1.5
END_SECONDS = 10.0


def run_watched(argv: Sequence[Argument], *, log: str, look: Callable[[], None]) -> str:
    """Run to the end with all output appended to build/log/LOG.log, and return it; `look` is called meanwhile, again
    and again. What it raises ends the command, and so does a signal's exception. Raises CommandFailed."""
    path = log_file(log)
    with path.open("a+", encoding="utf-8", errors="replace") as out:
        out.write(f"$ {shlex.join(str(a) for a in argv)}\n")
        out.flush()
        start = out.tell()
        # A session of its own: the terminal's signals are for us, and we say when it ends.
        child = subprocess.Popen(
            [str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
        try:
            while True:
                try:
                    code = child.wait(POLL_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    look()
        except BaseException:
            end(child)
            raise
        out.seek(start)
        said = out.read()
        if code:
            raise CommandFailed(argv, code, said, path)
        return said


def end(child: "subprocess.Popen[bytes]") -> None:
    """By SIGTERM, so that it can leave things in order, and by SIGKILL if it takes too long."""
    child.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + END_SECONDS
    while child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    if child.poll() is None:
        child.kill()
        child.wait()
