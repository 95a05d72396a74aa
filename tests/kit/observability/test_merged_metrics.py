"""The metrics of several processes as one."""

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

from keel.observability.merged_metrics import Merged, tell


def merged(*registries: CollectorRegistry) -> CollectorRegistry:
    whole = CollectorRegistry()
    whole.register(Merged({str(number): tell([each]) for number, each in enumerate(registries)}))
    return whole


def two() -> tuple[CollectorRegistry, CollectorRegistry]:
    return CollectorRegistry(), CollectorRegistry()


def test_what_only_grows_is_added_up() -> None:
    one, other = two()
    for registry, number in ((one, 1), (other, 2)):
        counter = Counter("made", "Made.", ["kind"], registry=registry)
        counter.labels("a").inc(number)
        histogram = Histogram("seconds", "Seconds.", buckets=(1, 5), registry=registry)
        histogram.observe(number)
    counter.labels("b").inc()  # which the other has never had
    found = merged(one, other)
    assert found.get_sample_value("made_total", {"kind": "a"}) == 3
    assert found.get_sample_value("made_total", {"kind": "b"}) == 1
    assert [found.get_sample_value("seconds_bucket", {"le": le}) for le in ("1.0", "5.0", "+Inf")] == [1, 2, 2]
    assert (found.get_sample_value("seconds_sum"), found.get_sample_value("seconds_count")) == (3, 2)
    assert generate_latest(found).decode().count("# TYPE made_total counter") == 1


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("sum", 5), ("livesum", 5), ("max", 3), ("livemax", 3), ("min", 2), ("livemin", 2)],
)
def test_a_gauge_is_what_its_author_says(mode: str, expected: float) -> None:
    one, other = two()
    Gauge("size", "Size.", registry=one, multiprocess_mode=mode).set(3)  # type: ignore[arg-type]
    Gauge("size", "Size.", registry=other, multiprocess_mode=mode).set(2)  # type: ignore[arg-type]
    assert merged(one, other).get_sample_value("size") == expected


def test_a_gauge_of_which_nothing_is_said_stays_apart() -> None:
    one, other = two()
    Gauge("size", "Size.", ["of"], registry=one).labels("x").set(3)
    Gauge("size", "Size.", ["of"], registry=other).labels("x").set(2)
    found = merged(one, other)
    assert [found.get_sample_value("size", {"of": "x", "worker": number}) for number in ("0", "1")] == [3, 2]
    assert found.get_sample_value("size", {"of": "x"}) is None


def test_facts_are_said_once() -> None:
    one, other = two()
    for registry in (one, other):
        Info("build", "Build.", registry=registry).info({"version": "1"})
        Gauge("dependency_up", "Up.", ["dependency"], registry=registry).labels("store").set(registry is one)
    found = merged(one, other)
    assert found.get_sample_value("build_info", {"version": "1"}) == 1
    assert found.get_sample_value("dependency_up", {"dependency": "store"}) == 0


def test_the_latest_exemplar_is_kept() -> None:
    one, other = two()
    for registry, trace in ((one, "first"), (other, "second")):
        Histogram("seconds", "Seconds.", buckets=(1,), registry=registry).observe(0.5, {"trace_id": trace})
    (family,) = merged(other, one).collect()
    (bucket,) = (each for each in family.samples if each.labels == {"le": "1.0"})
    assert bucket.exemplar
    assert bucket.exemplar.labels == {"trace_id": "second"}
