"""A kind cluster on this host, and where its images come from."""
