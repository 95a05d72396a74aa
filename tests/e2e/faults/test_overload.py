"""Past its limit the service answers what it can, refuses the rest at once, and is itself again right after."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kubernetes import client
from prometheus_client.parser import text_string_to_metric_families

from bench import overload
from bench.overload import SIZES, Size
from delivery import tools
from k8s import up
from k8s.load.vegeta import Load, quantile
from k8s.service import NAMESPACE, RELEASE
from tests.e2e.pods import management, pod_names, restarts

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(600)]
AT_ONCE = 1.0  # seconds: TLS handshakes wait for the same two cores
FLAT_MIB = 20


@pytest.fixture(params=SIZES, ids=[f"{times} times" for times in SIZES])
def times(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def size(stack: up.Stack, times: int) -> Iterator[Size]:
    with overload.small(SIZES[times], stack.cluster.context, NAMESPACE, RELEASE):
        yield SIZES[times]


@pytest.fixture
def sender(stack: up.Stack, page: str) -> Callable[[int, int], Load]:
    program, authority = tools.program("vegeta"), Path(stack.service.authority.certificate)

    def make(rate: int, seconds: int) -> Load:
        return Load(program, stack.service.url + page, authority, rate=rate, seconds=seconds)

    return make


def memory(core: client.CoreV1Api) -> dict[str, float]:
    """In MiB, of each pod."""
    return {
        pod: sample.value / (1 << 20)
        for pod in pod_names(core)
        for family in text_string_to_metric_families(management(core, pod, "metrics"))
        for sample in family.samples
        if sample.name == "process_resident_memory_bytes"
    }


def test_more_than_it_can_answer(
    times: int, size: Size, sender: Callable[[int, int], Load], core: client.CoreV1Api, report: Callable[..., None]
) -> None:
    most = overload.capacity(sender, size.first)
    before, alive = memory(core), restarts(core)
    result = overload.overload(sender, most, times)
    during, after = result.during, memory(core)
    grown = max(after[pod] - before[pod] for pod in before)
    report(
        f"{times} times the load, for {overload.OVERLOAD_SECONDS} s",
        note=f"{most}/s can be answered, {result.answered:.0%} of it was; {len(during.refused)} of {during.sent} "
        f"refused, p99 {quantile(during.refused, 0.99):.2f} s; memory of a pod {grown:+.0f} MiB",
    )
    assert restarts(core) == alive
    assert grown <= FLAT_MIB
    assert result.answered >= 0.8
    assert not during.failed, during.reasons()
    assert quantile(during.refused, 0.99) <= AT_ONCE
    calm = result.after.between(result.after.answers[0].began + overload.RECOVERY_SECONDS, float("inf"))
    assert len(calm.served) == calm.sent > 0, calm.reasons()
    assert quantile(calm.served, 0.99) <= overload.SOON
