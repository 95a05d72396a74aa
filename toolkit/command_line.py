"""What every command line makes of the ways in which a command ends."""

import sys
from collections.abc import Callable

from toolkit.process import Failure


def exit_code(command: Callable[[], int]) -> int:
    """Run a command; what keeps it from its end is a sentence on standard error, and no traceback."""
    try:
        return command()
    except Failure as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:  # a read-only folder, a full disk
        print(f"{error.filename or 'The system'}: {error.strerror or error}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130
