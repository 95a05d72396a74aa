"""Metrics of the business: links made and followed."""

from prometheus_client import CollectorRegistry, Counter


class LinkMetrics:
    """Counters of what users do with links; the routes increment them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.created = Counter("links_created", "Links made.", registry=registry)
        self.changed = Counter("links_changed", "Links changed.", registry=registry)
        self.checked = Counter(
            "link_targets_checked", "Targets asked whether they are there, by outcome.", ["outcome"], registry=registry
        )
        for outcome in ("fine", "broken"):
            self.checked.labels(outcome)
        self.deleted = Counter("links_deleted", "Links deleted.", registry=registry)
        self.followed = Counter("links_followed", "Redirects answered.", registry=registry)
        self.stale = Counter(
            "links_followed_stale",
            "Redirects answered from stale cache entries, because the database was unavailable.",
            registry=registry,
        )
        missed = Counter(
            "links_missed",
            "Short links requested that are unknown or expired, by reason.",
            ["reason"],
            registry=registry,
        )
        self.not_found = missed.labels("not_found")
        self.expired = missed.labels("expired")
