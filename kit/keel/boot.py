"""The first lines of a service's process, before its imports.

They are in a module of their own as `python -m` runs a package's `__main__`: `from keel import boot`, then import the
service, then `boot.main(SERVICE)`.
"""

import gc
import os
import sys
from typing import TYPE_CHECKING

from keel.observability import otel_variables

if TYPE_CHECKING:
    from keel.service import Service

# What imports make is here to stay: looking for garbage in it takes an eighth of the time until the service is ready.
gc.disable()
otel_variables.leave_out_unknown_propagators(os.environ)


def main(service: "Service") -> None:
    """Run the service's command line, and exit with its code."""
    from keel import cli  # noqa: PLC0415  # the imports are what this module is run before

    sys.exit(cli.main(service))
