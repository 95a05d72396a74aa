"""Whatever clients send, the number of series in Prometheus is ours to say."""

import ssl
import time
from collections.abc import Callable

from k8s import up
from k8s.service import HOST
from tests.e2e.cluster import wait_for
from tests.e2e.prometheus import value
from tests.e2e.strangers import KINDS, visit

COUNT = 10_000
HANDFUL = 80  # five label sets of a histogram: statuses that come only when there is much to do
OURS = 'namespace="links",job="links",__name__!~"ALERTS.*|.*:.*"'
# Whatever pods the autoscaler adds: each has the same series.
SERIES = (
    "count(count without (pod, instance, container, endpoint) "
    f'(label_replace({{{OURS}}}, "series", "$1", "__name__", "(.+)")))'
)


def series(stack: up.Stack) -> float:
    """How many the release has by now, those that differ in the pod alone counted once."""
    now = time.time()
    # Each pod has been scraped since.
    scraped = f'min(timestamp(up{{namespace="links",job="links"}})) > {now:.3f}'
    wait_for("a scrape of every pod", lambda: value(stack, scraped) > 0, seconds=90)
    return value(stack, SERIES)


def test_ten_thousand_strangers_make_no_series(stack: up.Stack, report: Callable[..., None]) -> None:
    trust = ssl.create_default_context(cafile=stack.service.authority.certificate)
    port = stack.cluster.ports["https"]
    visit(port, HOST, KINDS, trust)  # each kind once, for the series that there may be
    before = series(stack)
    outcome = visit(port, HOST, COUNT, trust)
    after = series(stack)
    assert outcome.answered == COUNT
    assert outcome.by_service > COUNT / 3, outcome
    assert after - before <= HANDFUL, (before, after, outcome)
    note = f"{after - before:.0f} series more than {before:.0f}, {outcome.by_service} answered by the service itself"
    report("ten thousand distinct paths, methods and hosts", seconds=round(outcome.seconds, 1), note=note)
