"""Dashboards as code: each is built by a file of its own, and `python -m grafana` writes them into the chart."""
