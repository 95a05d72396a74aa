"""`make load`: a bounded load on the local cluster, through 127.0.0.1 and nowhere else."""

MAX_RATE = 1000.0  # requests a second
MAX_SECONDS = 3600.0
