"""A healthy service, whatever operations do to it, fires no alert: with the chart's own windows and waits."""

import pytest

from k8s import up
from tests.e2e.conftest import OPERATIONS
from tests.e2e.test_monitoring import query

pytestmark = pytest.mark.timeout(420)


def test_upgrades_scaling_and_drains_have_fired_no_alert(stack: up.Stack) -> None:
    """By what Prometheus remembers of the tests that ran before."""
    assert len(OPERATIONS) >= 4, "the operations were not tested in this run"
    rules = query(stack, 'count(job:slo_errors:ratio_rate5m{namespace="links",job="links"})')
    assert rules, "Prometheus has no rules of the release"
    fired: dict[str, list[str]] = {}
    for name, began, ended in OPERATIONS:
        selector = 'ALERTS{namespace="links",job="links",alertstate="firing"}'
        found = query(stack, f"max_over_time({selector}[{ended - began:.0f}s] @ {ended:.0f})")
        if found:
            fired[name] = [each["metric"]["alertname"] for each in found]  # type: ignore[index]
    assert not fired
