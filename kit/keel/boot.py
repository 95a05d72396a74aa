"""The first lines of a service's process, before its imports.

A package's `__main__` imports this module first (`from keel import boot`), then the service, and calls
`boot.main(SERVICE)`.
"""

import gc
import os
import sys
from typing import TYPE_CHECKING

from keel.observability import otel_variables

if TYPE_CHECKING:
    from keel.service import Service

# Imports leave no garbage. To look for it takes an eighth of the time until the service is ready.
gc.disable()
otel_variables.leave_out_unknown_propagators(os.environ)


def main(service: "Service") -> None:
    """Run the service's command line, and exit with its code."""
    from keel import cli  # noqa: PLC0415  # its imports must come after the lines above

    sys.exit(cli.main(service))
