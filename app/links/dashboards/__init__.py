"""Dashboards of the links: beside each JSON is the Python that builds it (`python -m grafana`). No image has them."""
