import gc
import os
import sys

from app.observability import otel_variables

# What imports make is here to stay: looking for garbage in it takes an eighth of the time until the service is ready.
gc.disable()
otel_variables.leave_out_unknown_propagators(os.environ)

from app.cli import main  # noqa: E402

sys.exit(main())
