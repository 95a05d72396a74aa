"""Questions to the cluster's Prometheus."""

from k8s import up
from toolkit.prometheus import Prometheus


def query(stack: up.Stack, promql: str) -> list[dict[str, object]]:
    """The result of an instant query."""
    with Prometheus(stack.service.facts()["prometheus"]) as prometheus:
        return prometheus.query(promql)


def value(stack: up.Stack, promql: str) -> float:
    """The one number that a query gives; 0 where it gives none."""
    found = query(stack, promql)
    return float(found[0]["value"][1]) if found else 0.0  # type: ignore[index]
