"""`make dev`: the service on real servers, without a cluster and without Docker."""
