"""Past its limit the service answers what it can, refuses the rest at once, and is itself again right after."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench import overload
from delivery import tools
from k8s import up
from k8s.load.vegeta import Load, quantile
from k8s.service import NAMESPACE, RELEASE

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(480)]
AT_ONCE = 1.0  # seconds: TLS handshakes wait for the same two cores


@pytest.fixture
def small(stack: up.Stack) -> Iterator[None]:
    with overload.small(stack.cluster.context, NAMESPACE, RELEASE):
        yield


@pytest.fixture
def sender(stack: up.Stack, page: str) -> Callable[[int, int], Load]:
    program, authority = tools.program("vegeta"), Path(stack.service.authority.certificate)

    def make(rate: int, seconds: int) -> Load:
        return Load(program, stack.service.url + page, authority, rate=rate, seconds=seconds)

    return make


@pytest.mark.usefixtures("small")
def test_three_times_the_load_that_it_can_answer(
    sender: Callable[[int, int], Load], report: Callable[..., None]
) -> None:
    most = overload.capacity(sender)
    result = overload.overload(sender, most)
    during = result.during
    refused = f"{len(during.refused)} of {during.sent} refused"
    report(
        f"{overload.TIMES} times the load, for {overload.OVERLOAD_SECONDS} s",
        note=f"{most}/s can be answered, {result.answered:.0%} of it was; {refused}",
    )
    assert result.answered >= 0.8
    assert not during.failed, during.reasons()
    assert quantile(during.refused, 0.99) <= AT_ONCE
    calm = result.after.between(result.after.answers[0].began + overload.RECOVERY_SECONDS, float("inf"))
    assert len(calm.served) == calm.sent > 0, calm.reasons()
    assert quantile(calm.served, 0.99) <= overload.SOON
