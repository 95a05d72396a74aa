"""What a cluster must offer the service: ingress, metrics, monitoring, data services."""
