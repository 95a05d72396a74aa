"""The judgement, over numbers as Prometheus gives them."""

from dataclasses import dataclass

import pytest

from delivery.deploy import environment
from delivery.deploy.access import Access
from delivery.deploy.bake import Bake, Counts, Limits, Tally, query, sample
from delivery.deploy.prometheus import Prometheus
from delivery.deploy.rollout import Pod, State
from delivery.deploy.values import Objectives
from toolkit.process import Failure

OBJECTIVES = Objectives(errors=0.001, slow=0.01, threshold="0.5", burn_rate=14.4, minimum=10)
LIMITS = Limits(OBJECTIVES, burn_rate=14.4, minimum_bad=10, minimum_requests=100)


def counts(requests: int, errors: int = 0, slow: int = 0) -> Counts:
    return Counts(requests, errors, requests - errors - slow)


@pytest.mark.parametrize(
    ("seen", "crossed"),
    [
        (counts(0), False),
        (counts(1000), False),
        (counts(50, errors=9), False),  # chance
        (counts(50, errors=10), True),
        (counts(1000, errors=14), False),  # 14 times the budget
        (counts(1000, errors=15), True),  # 15 times
        (counts(100, slow=14), False),
        (counts(100, slow=15), True),
        (counts(20, slow=9), False),
        (counts(10, errors=10), True),
        (counts(100, errors=10, slow=9), True),
    ],
)
def test_limits(seen: Counts, crossed: bool) -> None:
    assert bool(LIMITS.crossed(seen)) is crossed


def test_it_is_said_what_was_wrong() -> None:
    assert LIMITS.crossed(counts(200, errors=40)) == (
        "40 of 200 answers of the new version were errors: the error budget of 0.1 % is "
        "spent 200.0 times as fast as it may be, and 14.4 is the limit"
    )
    assert LIMITS.crossed(counts(200, slow=100)).startswith(
        "100 of 200 answers of the new version were slower than 0.5 s: the error budget of 1 %"
    )


def test_errors_are_not_counted_among_the_fast_ones() -> None:
    """The latency objective is about the answers that are no errors."""
    assert counts(100, errors=50).slow == 0


def test_an_objective_of_all_requests_has_no_budget_to_burn() -> None:
    strict = Limits(Objectives(0, 0, "0.5", 14.4, 10), 14.4, 10, 100)
    assert strict.crossed(counts(100, errors=50)) == ""


def test_pods_that_are_gone_still_count() -> None:
    tally = Tally()
    tally.add({"a": counts(100, errors=20), "b": counts(50)}, older=set())
    tally.add({"b": counts(80)}, older=set())
    assert tally.total == counts(180, errors=20)


def test_of_pods_that_served_before_only_what_is_new_counts() -> None:
    tally = Tally()
    tally.add({"old": counts(1000, errors=500), "new": counts(10)}, older={"old"})
    assert tally.total == counts(10)
    tally.add({"old": counts(1100, errors=501), "new": counts(20)}, older={"old"})
    assert tally.total == counts(120, errors=1)


def test_a_look_at_an_older_scrape_takes_nothing_back() -> None:
    tally = Tally()
    tally.add({"a": counts(100)}, older=set())
    tally.add({"a": counts(90)}, older=set())
    assert tally.total == counts(100)


Json = dict[str, object]


def series(pod: str, status: str, value: str) -> Json:
    return {"metric": {"pod": pod, "status": status}, "value": [1.0, value]}


def test_what_prometheus_says() -> None:
    result = [series("a", "307", "70"), series("a", "404", "10"), series("a", "500", "20"), series("a", "fast", "75")]
    found = sample([*result, series("b", "2xx", "5"), series("b", "5xx", "1"), series("b", "fast", "5")]).counts
    assert found == {"a": Counts(100, 20, 75), "b": Counts(6, 1, 5)}
    assert found["a"].slow == 5
    assert sample([]).counts == {}


def test_what_prometheus_does_not_say_is_not_taken_for_good() -> None:
    unlabelled = {"metric": {"pod": "a"}, "value": [1.0, "40"]}
    found = sample([unlabelled, series("a", "ok", "2"), series("a", "fast", "40"), series("a", "up", "1")])
    assert found.counts == {"a": Counts(fast=40, untold=42)}
    assert (found.up, found.counting) == ({"a"}, {"a"})
    without_bucket = sample([series("a", "200", "40"), series("a", "500", "2")]).counts
    assert without_bucket == {"a": Counts(42, errors=2, untimed=40)}
    assert without_bucket["a"].slow == 0
    idle, silent = sample([series("a", "up", "1"), series("a", "counting", "0")]), sample([series("a", "up", "1")])
    assert (idle.up, idle.counting) == ({"a"}, {"a"})
    assert (silent.up, silent.counting) == ({"a"}, set())


@pytest.mark.parametrize(("threshold", "le"), [("0.5", 'le=~"0[.]5"'), ("1", 'le=~"1([.]0)?"')])
def test_the_query_names_the_pods_and_the_bucket(threshold: str, le: str) -> None:
    text = query("links", "web", ["b", "a"], threshold)
    assert 'namespace="links",job="web",pod=~"a|b"' in text
    assert le in text


def attempts(pod: str, task: str, **outcomes: int) -> list[Json]:
    return [
        {"metric": {"pod": pod, "status": "task", "task": task, "outcome": outcome}, "value": [1.0, str(count)]}
        for outcome, count in outcomes.items()
    ]


class TestTasks:
    def test_what_prometheus_says_of_them(self) -> None:
        found = sample(
            [*attempts("w", "mail", done=4, retried=2, failed=1, lost=1, put_back=9), *attempts("a", "report", done=1)]
        )
        assert found.tasks == {"mail": {"w": Counts(8, 4)}, "report": {"a": Counts(1)}}
        assert (found.counts, found.counting) == ({}, set())

    def test_another_s_metric_of_that_name_is_none(self) -> None:
        assert sample([{"metric": {"pod": "a", "status": "task"}, "value": [1.0, "40"]}]).tasks == {}

    def test_the_query_names_the_workers_for_them_alone(self) -> None:
        text = query("links", "web", ["b", "a"], "0.5", ["mailer"])
        assert 'task_attempts_total{namespace="links",pod=~"a|b|mailer"}' in text
        assert text.count("mailer") == 1

    @pytest.mark.parametrize(
        ("seen", "crossed"),
        [
            (counts(9, errors=9), False),
            (counts(10, errors=10), True),
            (counts(20, errors=10), False),
            (counts(21, errors=11), True),
        ],
    )
    def test_limit(self, seen: Counts, crossed: bool) -> None:
        assert bool(LIMITS.crossed_by("mail", seen)) is crossed

    def test_one_kind_may_be_broken_while_others_are_well(self) -> None:
        broken = attempts("w", "mail", retried=12, done=3)
        with pytest.raises(Failure, match="12 of 15 attempts of the new version at the task mail failed, and 50 % is"):
            baked(*attempts("w", "report", done=1000), *broken)

    def test_none_are_judged_where_all_may_fail(self) -> None:
        lenient = Limits(OBJECTIVES, burn_rate=14.4, minimum_bad=10, minimum_requests=100, failed_tasks=1)
        assert lenient.crossed_by("mail", counts(50, errors=50)) == ""


def pod(name: str, *, ready: bool = True, restarts: int = 0, template: str = "new", leaving: bool = False) -> Pod:
    return Pod(name, name, template, ready, leaving, restarts)


def bake() -> Bake:
    return Bake(None, "links", LIMITS, 5, set())


def test_a_restart_ends_it() -> None:
    subject = bake()
    subject.pods(State(template="new", pods=[pod("a", restarts=1)]))
    subject.pods(State(template="new", pods=[pod("a", restarts=1), pod("b")]))
    with pytest.raises(Failure, match="its pod a was restarted under load"):
        subject.pods(State(template="new", pods=[pod("a", restarts=2), pod("b")]))


def test_so_does_a_worker_s() -> None:
    subject = bake()
    api = [pod("a")]
    subject.pods(State(template="new", pods=api, workers=[State(template="mail", pods=[pod("m", template="mail")])]))
    crashed = State(template="mail", pods=[pod("m", template="mail", restarts=1)])
    with pytest.raises(Failure, match="its pod m was restarted under load"):
        subject.pods(State(template="new", pods=api, workers=[crashed]))


def test_a_pod_that_is_not_ready_any_more_ends_it() -> None:
    subject = bake()
    subject.pods(State(template="new", pods=[pod("a"), pod("b", ready=False)]))
    subject.pods(State(template="new", pods=[pod("a", ready=False), pod("b", ready=False)]))
    subject.pods(State(template="new", pods=[pod("a"), pod("b", ready=False)]))
    subject.pods(State(template="new", pods=[pod("a", ready=False)]))
    with pytest.raises(Failure, match="its pod a was ready and is not any more"):
        subject.pods(State(template="new", pods=[pod("a", ready=False)]))


def test_what_leaves_or_is_older_is_nobody_s_fault() -> None:
    subject = bake()
    subject.pods(State(template="new", pods=[pod("a"), pod("old", template="old")]))
    for _ in range(3):
        gone = [pod("a", ready=False, leaving=True), pod("old", ready=False, restarts=3, template="old")]
        subject.pods(State(template="new", pods=gone))


@dataclass(frozen=True)
class Answers(Prometheus):
    """A Prometheus that answers this, or does not answer."""

    result: tuple[Json, ...]

    def query(self, promql: str) -> list[Json]:
        assert "http_request_duration_seconds_count" in promql
        if not self.result:
            raise Failure("away")
        return list(self.result)


def baked(*result: Json) -> Bake:
    """A bake that has asked once."""
    there = environment.Prometheus(namespace="monitoring", service="prometheus", port=9090)
    subject = Bake(Answers(Access("test", "links"), there, result), "links", LIMITS, 5, set())
    subject.look(State(template="new", pods=[pod("a")], observed=True))
    return subject


UP = series("a", "up", "1")
UNLABELLED: Json = {"metric": {"pod": "a"}, "value": [1.0, "400"]}


@pytest.mark.parametrize(
    ("result", "unjudged"),
    [
        ([UP], "its metrics have no http_request_duration_seconds"),
        ([UP, UNLABELLED], "400 of 400 requests have no status code in the label status"),
        ([UP, UNLABELLED, series("a", "200", "200"), series("a", "fast", "200")], "400 of 600 requests have no status"),
        ([UP, series("a", "200", "400")], "its requests have no bucket of 0.5 s"),
        ([UP, series("a", "200", "400"), series("a", "fast", "400")], ""),
        ([UP, series("a", "200", "4"), series("a", "fast", "4")], ""),
        ([UP, series("a", "counting", "0")], ""),  # nobody asks it anything
    ],
)
def test_what_cannot_be_judged(result: list[Json], unjudged: str) -> None:
    subject = baked(*result)
    assert subject.unjudged.startswith(unjudged)
    assert bool(subject.unjudged) is bool(unjudged)
    if unjudged:
        assert not subject.proven
        assert subject.unproven() == subject.unjudged


def test_few_requests_and_no_prometheus_are_no_fault_of_the_metrics() -> None:
    few = baked(UP, series("a", "200", "99"), series("a", "fast", "99"))
    assert (few.proven, few.unjudged) == (False, "")
    assert few.unproven() == "99 requests prove nothing: 100 would"
    away = baked()
    assert (away.proven, away.unjudged) == (False, "")
    assert away.unproven() == "Prometheus has answered no question"
    early = baked(series("a", "counting", "0"))
    assert (early.unjudged, early.unproven()) == ("", "Prometheus has got no metrics from its pods yet")


def test_what_proves_nothing() -> None:
    subject = bake()
    assert subject.unproven() == "no Prometheus was asked"
    subject.tally.add({"a": counts(99)}, older=set())
    assert not subject.proven
    subject.tally.add({"a": counts(100)}, older=set())
    assert subject.proven
