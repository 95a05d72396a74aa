import gc
import sys

# What imports make is here to stay: looking for garbage in it takes an eighth of the time until the service is ready.
gc.disable()

from app.cli import main  # noqa: E402

sys.exit(main())
