"""What is recorded about the SLOs, and when their alerts fire: by real promtool, over hours of series.

Values are one every 30 seconds; the service has one route, and 300 requests in that time unless a test says otherwise.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.chart import umbrella
from tests.rules.rendered import SHRUNK, Rule, groups
from tests.rules.unit import Firing, Series, check

LABELS = {"namespace": "links", "job": "links"}
UP = 'up{namespace="links",job="links",pod="a"}'
IN_FLIGHT = 'http_requests_in_flight{namespace="links",job="links",pod="a"}'
AVAILABILITY, LATENCY = "ServiceAvailabilityBurn", "ServiceLatencyBurn"


def slo(rules: dict[str, Any] | None = None) -> list[Rule]:
    return groups(rules)[:1]


def requests(status: str, pod: str = "a") -> str:
    return _series("count", status=status, pod=pod)


def within(seconds: str, status: str = "200") -> str:
    return _series("bucket", status=status, pod="a", le=seconds)


def _series(part: str, **labels: str) -> str:
    named = {**LABELS, "method": "GET", "route": "/{slug}", **labels}
    inside = ",".join(f'{name}="{value}"' for name, value in named.items())
    return f"http_request_duration_seconds_{part}{{{inside}}}"


def failing(errors: int, of: int = 300, times: int = 480) -> Series:
    """Every request within the threshold, and some of them failed."""
    good = f"0+{of - errors}x{times}"
    return {UP: f"1x{times}", requests("200"): good, within("0.5"): good, requests("503"): f"0+{errors}x{times}"}


def slow(number: int, of: int = 300, times: int = 480) -> Series:
    return {UP: f"1x{times}", requests("200"): f"0+{of}x{times}", within("0.5"): f"0+{of - number}x{times}"}


def burning(share: str, *windows: str) -> list[Firing]:
    return [Firing({"$value | humanizePercentage": share}, LABELS, window) for window in windows]


@pytest.mark.parametrize(
    ("series", "alert", "share", "windows"),
    [
        (failing(5), AVAILABILITY, "1.667%", ["1h", "6h", "1d", "3d"]),  # 16 times what is allowed
        (failing(4), AVAILABILITY, "1.333%", ["6h", "1d", "3d"]),  # 13
        (failing(10, of=2000), AVAILABILITY, "0.5%", ["1d", "3d"]),  # 5
        (failing(4, of=2000), AVAILABILITY, "0.2%", ["3d"]),  # 2
        (failing(3, of=3600), AVAILABILITY, "", []),  # 0.8
        (failing(0), AVAILABILITY, "", []),
        (slow(45), LATENCY, "15%", ["1h", "6h", "1d", "3d"]),
        (slow(42), LATENCY, "14%", ["6h", "1d", "3d"]),
        (slow(15), LATENCY, "5%", ["1d", "3d"]),
        (slow(6), LATENCY, "2%", ["3d"]),
        (slow(3), LATENCY, "", []),
        # A failed request is none of the latency's.
        (failing(100), LATENCY, "", []),
    ],
)
def test_what_fires_at_which_rate(
    series: Series, alert: str, share: str, windows: Sequence[str], tmp_path: Path
) -> None:
    check(tmp_path, slo(), series, alerts=[("3h", alert, burning(share, *windows))])


def test_it_fires_within_minutes_and_ends_soon_after_the_errors(tmp_path: Path) -> None:
    good, bad = "0+270x30 8100+300x120", "0x20 30+30x9 300x120"  # a tenth fails from 10m30s to 15m
    series = {UP: "1x160", requests("200"): good, within("0.5"): good, requests("503"): bad}
    alerts: list[tuple[str, str, Sequence[Firing]]] = [
        ("10m30s", AVAILABILITY, []),
        ("16m", AVAILABILITY, burning("2.835%", "1h")),
        ("30m", AVAILABILITY, burning("1.81%", "6h")),
        ("1h", AVAILABILITY, []),
    ]
    check(tmp_path, [{**group, "rules": pages(group)} for group in slo()], series, alerts=alerts)


def pages(group: Rule) -> list[Rule]:
    rules: list[Rule] = group["rules"]
    return [rule for rule in rules if rule.get("labels", {}).get("severity") != "warning"]


@pytest.mark.parametrize(("errors", "windows"), [(9, []), (40, ["1h", "6h"])])
def test_a_handful_of_failed_requests_wakes_nobody(errors: int, windows: Sequence[str], tmp_path: Path) -> None:
    """All requests of a night fail, and they are but a few."""
    series = {UP: "1x60", requests("503"): f"0x20 0+1x{errors} {errors}x40"}
    rules = [{**group, "rules": pages(group)} for group in slo()]
    times = ["12m", "14m", "16m", "18m", "20m"] if not windows else ["25m"]
    check(tmp_path, rules, series, alerts=[(at, AVAILABILITY, burning("100%", *windows)) for at in times])


@pytest.mark.parametrize("rules", [None, SHRUNK], ids=["default", "shrunk"])
def test_an_idle_service_has_zeros_and_its_whole_budget(rules: dict[str, Any] | None, tmp_path: Path) -> None:
    windows = ["5m", "1h", "6h", *(["30s", "2m", "10m"] if rules else ["30m", "2h", "1d", "3d"])]
    expected = [(f"job:slo_errors:ratio_rate{window}", 0.0) for window in windows]
    expected += [("job:slo_error_budget_remaining:ratio", 1.0)]
    queries = [("20m", name, by_slo(name, value, value)) for name, value in expected]
    queries += [("20m", "job:http_requests:rate5m", {'job:http_requests:rate5m{namespace="links",job="links"}': 0})]
    for series in (
        {UP: "1x60", IN_FLIGHT: "0x60"},  # a service without a request
        {UP: "1x60", requests("200"): "70x60", requests("503"): "7x60", within("0.5"): "50x60"},
    ):
        check(tmp_path, slo(rules), series, queries=queries)


UNLABELLED = _series("count", pod="a")


@pytest.mark.parametrize(
    "series",
    [
        {},
        {UNLABELLED: "0+300x60"},
        {UNLABELLED: "0x60"},
        {'http_server_request_duration_seconds_count{namespace="links",job="links"}': "0+300x60"},
        {UP: "1x10 0x20 1x30", UNLABELLED: "0+300x10 stale _x19 0+300x30"},
    ],
    ids=["no histogram", "no status", "no status and no request", "other names", "no status, and away for a while"],
)
def test_what_cannot_be_judged_has_neither_errors_nor_a_budget(series: Series, tmp_path: Path) -> None:
    names = ["job:slo_requests:rate5m", "job:slo_errors:rate5m", "job:slo_errors:ratio_rate5m"]
    names += ["job:slo_errors:ratio_rate1h", "job:slo_error_budget_remaining:ratio", "job:http_requests:rate5m"]
    queries: list[tuple[str, str, dict[str, float]]] = [(at, name, {}) for at in ("1m", "10m", "20m") for name in names]
    check(tmp_path, slo(), {UP: "1x60", **series}, queries=queries)


def test_a_budget_ends_with_what_it_is_judged_by(tmp_path: Path) -> None:
    """A release loses the label: what had been left says nothing of it."""
    judged = "0+300x40 stale"
    series = {UP: "1x80", requests("200"): judged, within("0.5"): judged, UNLABELLED: "_x40 0+300x40"}
    name = "job:slo_error_budget_remaining:ratio"
    check(tmp_path, slo(), series, queries=[("19m", name, by_slo(name, 1, 1)), ("25m", name, {})])


def test_those_that_can_be_judged_are(tmp_path: Path) -> None:
    """One pod of two says no status: the other's errors are those that are known."""
    series = {**failing(150), UNLABELLED.replace('pod="a"', 'pod="b"'): "0+300x480"}
    windows = burning("50%", "1h", "6h", "1d", "3d")
    check(tmp_path, slo(), series, alerts=[("3h", AVAILABILITY, windows)])


def test_without_the_bucket_of_the_threshold_only_availability_is_judged(tmp_path: Path) -> None:
    series = {UP: "1x60", requests("200"): "0+300x60", within("0.3"): "0+100x60"}
    budget, errors = "job:slo_error_budget_remaining:ratio", "job:slo_errors:ratio_rate5m"
    queries = [("20m", name, {f'{name}{{namespace="links",job="links",slo="availability"}}': value})
               for name, value in ((budget, 1), (errors, 0))]  # fmt: skip
    check(tmp_path, slo(), series, queries=queries)


def by_slo(name: str, availability: float, latency: float) -> dict[str, float]:
    return {
        f'{name}{{namespace="links",job="links",slo="availability"}}': availability,
        f'{name}{{namespace="links",job="links",slo="latency"}}': latency,
    }


def test_what_is_recorded_under_load(tmp_path: Path) -> None:
    series = {
        UP: "1x80",
        requests("200"): "0+198x80",
        requests("404"): "0+99x80",
        requests("503"): "0+3x80",
        within("0.5"): "0+198x80",
        within("0.5", "404"): "0+66x80",
        within("+Inf", "404"): "0+99x80",
        within("0.5", "503"): "0+3x80",  # a quick failure is no quick answer
        within("+Inf", "503"): "0+3x80",
    }
    route = 'namespace="links",job="links",route="/{slug}"'
    recorded: dict[str, dict[str, float]] = {
        "job:slo_errors:ratio_rate5m": by_slo("job:slo_errors:ratio_rate5m", 0.01, 33 / 297),
        "job:slo_errors:ratio_rate1h": by_slo("job:slo_errors:ratio_rate1h", 0.01, 33 / 297),
        "job:slo_objective:ratio": by_slo("job:slo_objective:ratio", 0.999, 0.99),
        # Ten, and eleven, times the budget.
        "job:slo_error_budget_remaining:ratio": by_slo("job:slo_error_budget_remaining:ratio", -9, 1 - 100 * 33 / 297),
        "job:http_requests:rate5m": {'job:http_requests:rate5m{namespace="links",job="links"}': 10},
        "job_route:http_requests:rate5m": {f"job_route:http_requests:rate5m{{{route}}}": 10},
        "job_route:http_request_duration_seconds:p99_5m": {
            f"job_route:http_request_duration_seconds:p99_5m{{{route}}}": 0.495
        },
    }
    check(tmp_path, slo(), series, queries=[("30m", name, values) for name, values in recorded.items()])


def test_the_quantile_of_an_idle_route_is_a_number(tmp_path: Path) -> None:
    series = {UP: "1x40", requests("200"): "5x40", within("0.5"): "5x40", within("+Inf"): "5x40"}
    name = "job_route:http_request_duration_seconds:p99_5m"
    check(
        tmp_path,
        slo(),
        series,
        queries=[("10m", name, {f'{name}{{namespace="links",job="links",route="/{{slug}}"}}': 0})],
    )


def test_pods_that_end_and_begin_are_no_errors(tmp_path: Path) -> None:
    """A rolling upgrade: counters of old pods end, those of new ones begin, and one restarts in place."""
    errors = {
        requests("503", pod): values
        for pod, values in {"a": "900x20 stale", "b": "_x20 0x60", "c": "800x30 0x50"}.items()
    }
    series = {
        UP: "1x80",
        requests("200", "a"): "0+300x20 stale",
        requests("200", "b"): "_x20 0+300x60",
        requests("200", "c"): "0+300x30 0+300x50",
        **errors,
    }
    name = "job:slo_errors:ratio_rate5m"
    alerts: list[tuple[str, str, list[Firing]]] = [(f"{minutes}m", AVAILABILITY, []) for minutes in range(1, 40)]
    query = f'{name}{{slo="availability"}} > 0'
    queries: list[tuple[str, str, dict[str, float]]] = [(f"{minutes}m", query, {}) for minutes in range(1, 40)]
    check(tmp_path, slo(), series, alerts=alerts, queries=queries)


def test_another_releases_errors_are_not_ours(tmp_path: Path) -> None:
    series = {name.replace('job="links"', 'job="links-2"'): values for name, values in failing(100).items()}
    check(tmp_path, slo(), {UP: "1x480", **series}, alerts=[("3h", AVAILABILITY, []), ("3h", LATENCY, [])])


def test_a_bucket_that_the_image_has_not_makes_no_request_slow(tmp_path: Path) -> None:
    series = {UP: "1x480", requests("200"): "0+300x480", within("0.3"): "0+100x480"}
    check(tmp_path, slo(), series, alerts=[("3h", LATENCY, [])])


@pytest.mark.parametrize("le", ["1", "1.0"])
def test_a_bound_without_decimals_is_found_however_it_is_written(le: str, tmp_path: Path) -> None:
    series = {UP: "1x480", requests("200"): "0+300x480", within(le): "0+300x480", within("0.5"): "0x480"}
    name = "job:slo_errors:ratio_rate5m"
    rules = slo({"slo": {"latency": {"threshold": 1}}})
    check(
        tmp_path,
        rules,
        series,
        alerts=[("1h", LATENCY, [])],
        queries=[("1h", f'{name}{{slo="latency"}}', {f'{name}{{namespace="links",job="links",slo="latency"}}': 0})],
    )


def test_shrunk_windows_fire_and_end_within_minutes(tmp_path: Path) -> None:
    """Values are one every 5 seconds here."""
    good, bad = "0+40x24 960+50x200", "0+10x24 240x200"  # a fifth fails for two minutes
    series = {UP: "1x230", requests("200"): good, within("0.5"): good, requests("503"): bad}
    alerts: list[tuple[str, str, Sequence[Firing]]] = [
        ("60s", AVAILABILITY, burning("20%", "2m", "10m")),
        ("4m", AVAILABILITY, []),
    ]
    check(tmp_path, slo(SHRUNK), series, alerts=alerts, interval="5s")


def test_two_aliases_in_one_release_have_budgets_of_their_own(tmp_path: Path) -> None:
    """One fails, and neither the other's records nor its alerts have any of it. No record is written by both."""
    rendered = umbrella.render(umbrella.build(tmp_path)).all("PrometheusRule")
    both = [group for each in rendered for group in each["spec"]["groups"]]
    series = {
        name.replace('"links"', '"default"', 1).replace('"links"', f'"shop-{alias}"', 1): values
        for alias, errors in (("api", 30), ("admin", 0))
        for name, values in failing(errors).items()
    }
    firing = 'count by (job) (ALERTS{alertname="ServiceAvailabilityBurn",alertstate="firing"})'
    api, admin = '{job="shop-api"}', '{job="shop-admin"}'
    queries: list[tuple[str, str, dict[str, float]]] = [
        ("3h", 'sum by (job) (job:slo_errors:ratio_rate5m{slo="availability"})', {api: 0.1, admin: 0}),
        ("3h", "count by (job) (job:http_requests:rate5m)", {api: 1, admin: 1}),
        ("3h", "sum by (job) (job:http_requests:rate5m)", {api: 10, admin: 10}),
        ("3h", firing, {api: 4}),
    ]
    check(tmp_path, both, series, queries=queries)
