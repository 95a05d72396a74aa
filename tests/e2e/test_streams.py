"""500 event streams and 500 WebSockets over rollouts: all come back, and none hears too much or too little."""

import time
from collections import Counter
from collections.abc import Callable, Iterator

import httpx
import pytest

from k8s import up
from tests.e2e.cluster import wait_for
from tests.e2e.followers import MAX_FOLLOWERS, Followers
from tests.e2e.links_release import LinksRelease, released
from tests.e2e.load import Load, assert_lost_nothing, note
from tests.e2e.machine import slowness
from tests.e2e.subject import SUBJECT
from tests.e2e.web import Loopback, trust_of

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(600)]

NAME = "streams"
CLICKS = 20  # a second
BACK_SECONDS = 10  # at full speed
REPLICAS = 2
SERVICE_RESTART = "1012"


@pytest.fixture(scope="module")
def release(stack: up.Stack) -> Iterator[LinksRelease]:
    with released(stack, NAME, cache=4) as release:
        yield release


@pytest.fixture
def slug(release: LinksRelease, token: str) -> str:
    """A link to follow."""
    trust = trust_of(release.stack.service.authority.certificate)
    with httpx.Client(base_url=release.url, timeout=10, transport=Loopback(trust)) as web:
        return SUBJECT.make(web, token).removeprefix("/")


def test_all_come_back_after_a_rollout_and_nothing_is_lost(
    release: LinksRelease, slug: str, token: str, report: Callable[..., None]
) -> None:
    authority = release.stack.service.authority.certificate
    url = f"{release.url}/api/v1/links/{slug}/clicks"

    def counted() -> int:
        return int(release.row("SELECT coalesce(sum(clicks), 0) FROM link_clicks")[0])

    back = BACK_SECONDS * slowness()
    with Followers(url, authority, token) as followers:
        wait_for("all followers", lambda: followers.told.open == MAX_FOLLOWERS, seconds=60)
        with Load(f"{release.url}/{slug}", authority, rate=CLICKS) as clicks:
            clicks.go_on(1)
            began = time.monotonic()
            release.upgrade(*release.options("--set", "podAnnotations.again=yes"))
            release.helm("rollback", "--wait", "--timeout=120s")
            took = time.monotonic() - began
            clicks.go_on(1)
        wait_for("the end of the pods before", lambda: len(release.pods()) == REPLICAS, seconds=60)
        wait_for("all followers again", lambda: followers.told.open == MAX_FOLLOWERS, seconds=back)
        wait_for("all clicks written", lambda: counted() == clicks.sent, seconds=30)
        wait_for(f"all {clicks.sent} clicks heard of", lambda: followers.told.least >= clicks.sent, seconds=30)
    crowd = followers.told.followers
    away = max(each.away for each in crowd)
    cut = sum(len(each.ends) for each in crowd)
    said = f"{MAX_FOLLOWERS} cut {cut} times, back within {away:.1f} s ({back:.0f} s allowed); {note(clicks)}"
    report("500 streams, 500 WebSockets: upgrade, rollback", clicks.result, seconds=took, note=said)
    assert_lost_nothing(clicks)
    assert {each.clicks for each in crowd} == {clicks.sent}
    assert (sum(each.twice for each in crowd), sum(each.missed for each in crowd)) == (0, 0)
    assert all(each.ends for each in crowd), "some were never cut: nothing was proven"
    assert {end for each in crowd for end in each.ends} == {"end", SERVICE_RESTART}
    assert Counter(reason for each in crowd for reason in each.refused) == {}
    assert away <= back, followers.summary()["away"]
