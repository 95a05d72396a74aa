"""`make load`: a bounded load on the local cluster, through 127.0.0.1 and nowhere else."""
