"""The local cluster and what runs on it: `python -m k8s --help`."""
