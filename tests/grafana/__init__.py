"""The dashboards: that they are tidy, and that every query of theirs has an answer from a real Prometheus."""
