"""The dashboards as pages without Grafana: drawn once, of what Prometheus and Loki say, in plain HTML."""
