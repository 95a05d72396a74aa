"""The dashboards as pages without Grafana: drawn once, of what Prometheus and VictoriaLogs say, in plain HTML."""
