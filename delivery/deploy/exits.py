"""How a deploy can end, for pipelines and people."""

from enum import IntEnum

from toolkit.process import Failure


class Exit(IntEnum):
    """Exit codes. 2 is left to argparse: the command line itself was wrong."""

    DONE = 0
    REFUSED = 1
    ROLLED_BACK = 3
    LOCKED = 4
    STUCK = 5
    UNPROVEN = 6
    CHANGES = 10
    INTERRUPTED = 130
    TERMINATED = 143


MEANINGS = {
    Exit.DONE: "done",
    Exit.REFUSED: "refused, and nothing was changed",
    Exit.ROLLED_BACK: "failed and rolled back: the version before serves",
    Exit.LOCKED: "another deploy is at work, and nothing was changed",
    Exit.STUCK: "failed, and so did the way back: a person is needed, and is told what to run",
    Exit.UNPROVEN: "done, and nothing is known of it: what the new version answers cannot be judged",
    Exit.CHANGES: "diff: something would change",
    Exit.INTERRUPTED: "interrupted (SIGINT) and rolled back",
    Exit.TERMINATED: "terminated (SIGTERM) and rolled back",
}


class Stopped(Failure):
    """A failure with an exit code of its own."""

    def __init__(self, code: Exit, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
