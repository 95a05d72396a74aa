"""Child processes: their output goes to a log, and a failure shows its last lines and where the log lies."""

import os
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from toolkit.paths import LOGS, shown
from toolkit.reasons import explain

LAST_LINES = 12
Argument = str | Path


class Failure(Exception):  # noqa: N818  # it is what people read, not what programs catch
    """A sentence for the person at the terminal, which says what to do; the command exits with 1."""


class CommandFailed(Failure):
    """A child process exited with something other than 0."""

    def __init__(self, argv: Sequence[Argument], code: int, said: str, log: Path | None) -> None:
        command = shlex.join(str(a) for a in argv)
        short = command if len(command) <= 160 else command[:157] + "..."
        tail = "\n".join("  " + line for line in said.rstrip().splitlines()[-LAST_LINES:])
        where = f"\nThe whole log: {shown(log)}" if log else ""
        reason = f"{explain(said)}\n".lstrip()
        super().__init__(f"{reason}`{short}` failed (exit {code}).{' Its last lines:' if tail else ''}\n{tail}{where}")
        self.code = code
        self.said = said


class TimedOut(Failure):
    """A child process was ended because it took too long."""

    def __init__(self, argv: Sequence[Argument], seconds: float) -> None:
        super().__init__(f"`{shlex.join(str(a) for a in argv)}` was ended after {seconds:g} s.")


def log_file(name: str) -> Path:
    LOGS.mkdir(parents=True, exist_ok=True)
    return LOGS / f"{name}.log"


def run(
    argv: Sequence[Argument],
    *,
    log: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    each_line: Callable[[str], bool] | None = None,
) -> None:
    """Run to the end with all output appended to build/log/LOG.log. Raises CommandFailed.

    `each_line` gets every line as it comes, and keeps it from the log by returning True. There is no `stdin` then.
    """
    path = log_file(log)
    with path.open("a+", encoding="utf-8", errors="replace") as out:
        out.write(f"$ {shlex.join(str(a) for a in argv)}\n")
        out.flush()
        start = out.tell()
        if each_line:
            code = _follow(argv, each_line, out, cwd=cwd, env=env)
        else:
            code = _start(argv, cwd=cwd, env=env, stdin=stdin, stdout=out, stderr=subprocess.STDOUT).returncode
        if code:
            out.seek(start)
            raise CommandFailed(argv, code, out.read(), path)


def output(
    argv: Sequence[Argument],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
) -> str:
    """Run to the end and return what it wrote to standard output. Raises CommandFailed with its standard error."""
    return captured(argv, cwd=cwd, env=env, stdin=stdin).stdout


def captured(
    argv: Sequence[Argument],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout: float | None = None,
) -> "subprocess.CompletedProcess[str]":
    """The same, with standard error as well. Raises TimedOut, too."""
    pipe = subprocess.PIPE
    done = _start(argv, cwd=cwd, env=env, stdin=stdin, stdout=pipe, stderr=pipe, timeout=timeout)
    if done.returncode:
        raise CommandFailed(argv, done.returncode, done.stderr or done.stdout, None)
    return done


def succeeds(argv: Sequence[Argument]) -> bool:
    """Whether a command exists and exits with 0."""
    try:
        output(argv)
    except Failure:
        return False
    return True


def _start(
    argv: Sequence[Argument],
    *,
    cwd: Path | None,
    env: Mapping[str, str] | None,
    stdin: str | None,
    stdout: IO[str] | int,
    stderr: int,
    timeout: float | None = None,
) -> "subprocess.CompletedProcess[str]":
    # Without input the child gets none at all: a tool that would ask must fail instead of waiting for ever.
    with _explained(argv):
        return subprocess.run(
            [str(a) for a in argv],
            check=False,
            text=True,
            errors="replace",
            cwd=cwd,
            env=_with_ours(env),
            stdout=stdout,
            stderr=stderr,
            input=stdin or "",
            timeout=timeout,
        )


def _follow(
    argv: Sequence[Argument],
    each_line: Callable[[str], bool],
    out: IO[str],
    *,
    cwd: Path | None,
    env: Mapping[str, str] | None,
) -> int:
    with _explained(argv):
        child = subprocess.Popen(
            [str(a) for a in argv],
            text=True,
            errors="replace",
            cwd=cwd,
            env=_with_ours(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    with child:
        try:
            for line in child.stdout or ():
                if not each_line(line.rstrip("\n")):
                    out.write(line)
                    out.flush()
        except BaseException:
            child.kill()  # leaving the block would wait for its end
            raise
    return child.returncode


def _with_ours(env: Mapping[str, str] | None) -> dict[str, str] | None:
    return None if env is None else {**os.environ, **env}


@contextmanager
def _explained(argv: Sequence[Argument]) -> Iterator[None]:
    """What keeps a program from being started, in a sentence."""
    try:
        yield
    except subprocess.TimeoutExpired as error:
        raise TimedOut(argv, error.timeout) from error
    except FileNotFoundError as error:
        raise Failure(f"`{argv[0]}` is not installed or not on the PATH: run `make doctor`.") from error
    except OSError as error:
        raise Failure(f"`{argv[0]}` cannot be run ({error.strerror}): run `make doctor`.") from error
