"""What the business wants to know."""

from prometheus_client import CollectorRegistry, Counter


class LinkMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.created = Counter("links_created", "Links made.", registry=registry)
        self.followed = Counter("links_followed", "Redirects answered.", registry=registry)
