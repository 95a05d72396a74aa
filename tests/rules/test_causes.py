"""Each alert that is not an SLO's fires when it must, and is silent when it only just must not."""

from pathlib import Path

import pytest

from tests.rules.causes import CAUSES, COUNT, RESTARTS, WAITING, container, cron_job, of_worker, service, unjudged
from tests.rules.rendered import BACKGROUND, EVERY_ALERT, Rule, alerts_of, groups, only
from tests.rules.unit import Firing, Series, check, expected

QUIET = [(alert, why) for alert, cause in CAUSES.items() for why in cause.quiet]


def rules(alert: str) -> list[Rule]:
    return only(groups(EVERY_ALERT), alert)


@pytest.mark.parametrize("alert", CAUSES)
def test_it_fires_after_its_time_and_not_before(alert: str, tmp_path: Path) -> None:
    cause = CAUSES[alert]
    alerts = [(cause.before, alert, []), (cause.at, alert, [cause.firing])]
    check(tmp_path, rules(alert), cause.series, alerts=alerts)


@pytest.mark.parametrize(("alert", "why"), QUIET)
def test_it_is_silent_when(alert: str, why: str, tmp_path: Path) -> None:
    series: Series = CAUSES[alert].quiet[why]
    times = [f"{minutes}m" for minutes in range(90 if alert == "ServiceCertificateExpiring" else 40)]
    check(tmp_path, rules(alert), series, alerts=[(at, alert, []) for at in times])


# Of the app's pods, and in the same words of each worker's.
OF_WORKERS = {rule["alert"] for rule in alerts_of(groups(EVERY_ALERT)) if "worker" in rule["labels"]}
BOTH = sorted(each for each in OF_WORKERS if not each.startswith("ServiceWorker"))


@pytest.mark.parametrize("alert", BOTH)
def test_it_is_told_of_a_worker_too(alert: str, tmp_path: Path) -> None:
    cause = CAUSES[alert]
    series = {of_worker(each): values for each, values in cause.series.items()}
    shown = {text: value.replace("links-", "links-worker-") for text, value in cause.firing.shown.items()}
    labels = {name: value.replace("links", "links-worker") for name, value in cause.firing.labels.items()}
    own = {**labels, **({"namespace": "links"} if labels else {})}
    alerts = [(cause.before, alert, []), (cause.at, alert, [Firing(shown, own, worker="worker")])]
    check(tmp_path, rules(alert), series, alerts=alerts)


def test_tasks_of_the_api_s_pods_are_tasks_too(tmp_path: Path) -> None:
    """As where there are no workers."""
    name = "ServiceTasksLate"
    cause = CAUSES[name]
    series = {each.replace("links-worker", "links"): values for each, values in cause.series.items()}
    for values in (BACKGROUND, {"workers": None}):
        found = only(groups(EVERY_ALERT, **values), name)
        check(tmp_path, found, series, alerts=[(cause.before, name, []), (cause.at, name, [cause.firing])])


def test_a_job_of_the_release_that_failed_is_told(tmp_path: Path) -> None:
    """Of a release without cron jobs, too."""
    name = "ServiceJobFailed"
    cause = CAUSES[name]
    own = "links-warm-up"
    series = {each.replace("links-clean-up-29756700", own): values for each, values in cause.series.items()}
    labels = {"namespace": "links", "job_name": own}
    firing = Firing({**cause.firing.shown, "$labels.job_name": own}, labels)
    for values in (BACKGROUND, {"cronJobs": None}):
        found = only(groups(EVERY_ALERT, **values), name)
        check(tmp_path, found, series, alerts=[(cause.before, name, []), (cause.at, name, [firing])])


@pytest.mark.parametrize("success", [None, "30x80"], ids=["never before", "the time before"])
def test_a_cron_job_whose_failed_jobs_are_not_kept_is_told(success: str | None, tmp_path: Path) -> None:
    name = "ServiceCronJobMissed"
    series = {
        cron_job("next_schedule_time"): "86400x80",
        cron_job("status_last_schedule_time"): "60x80",
        cron_job("status_active"): "0 0 1x10 0x68",
        **({cron_job("status_last_successful_time"): success} if success else {}),
    }
    alerts = [("17m", name, []), ("17m30s", name, [CAUSES[name].firing])]
    check(tmp_path, rules(name), series, alerts=alerts)


def test_cert_managers_own_metric_is_read_too(tmp_path: Path) -> None:
    firing = CAUSES["ServiceCertificateExpired"].firing
    for namespace in ("namespace", "exported_namespace"):
        series = {f'certmanager_certificate_expiration_timestamp_seconds{{name="links",{namespace}="links"}}': "600x60"}
        check(
            tmp_path,
            rules("ServiceCertificateExpired"),
            series,
            alerts=[("11m", "ServiceCertificateExpired", [firing])],
        )


def test_a_server_without_connections_is_no_other_alert_than_a_pool_without(tmp_path: Path) -> None:
    name = "ServiceDatabasePoolExhausted"
    cause = CAUSES[name]
    series = {each.replace("pool_timeout", "exhausted"): values for each, values in cause.series.items()}
    assert series != cause.series
    check(tmp_path, rules(name), series, alerts=[(cause.before, name, []), (cause.at, name, [cause.firing])])


@pytest.mark.parametrize(
    ("reason", "series"),
    [
        # Those of the pod that says it do not stand for those of the one that does not.
        (
            "no status",
            {
                service(COUNT, pod="links-7d4b9c-zzzzz", status="200"): "0+30x40",
                service(COUNT): "0+30x40",
                service("http_request_duration_seconds_bucket", status="200", le="0.5"): "0+30x40",
            },
        ),
        ("no status", {service(COUNT, status="ok"): "0+30x40"}),
        ("other names", {service("http_server_request_duration_seconds_count", http_route="/"): "0+30x40"}),
        ("other names", {service("starlette_request_duration_seconds_count", status_code="200"): "0+30x40"}),
        ("no histogram", {service("process_cpu_seconds_total"): "0+1x40"}),
        (
            "no bucket",
            {
                service(COUNT, status="200"): "0+30x40",
                service("http_request_duration_seconds_bucket", status="200", le="0.3"): "0+30x40",
            },
        ),
    ],
)
def test_why_requests_cannot_be_judged(reason: str, series: Series, tmp_path: Path) -> None:
    name = "ServiceRequestsUnjudged"
    alerts = [("9m30s", name, []), ("10m", name, [unjudged(reason)])]
    check(tmp_path, rules(name), {service("up"): "1x40", **series}, alerts=alerts)
    blind = "Whether they succeed is not known, and no alert of an SLO sees them."
    slow = "no alert of the latency SLO can fire; those of availability can."
    told = expected(rules(name), name, unjudged(reason))["exp_annotations"]["description"]
    assert told.endswith(slow if reason == "no bucket" else blind)


@pytest.mark.parametrize("minutes", [6, 8])
def test_a_crash_loop_is_one_until_it_ends(minutes: int, tmp_path: Path) -> None:
    """By then Kubernetes waits for five minutes before a restart: often fewer than three happen in 15 minutes."""
    every = 2 * minutes
    series = {
        container(RESTARTS): " ".join(f"{10 + number}x{every - 1}" for number in range(8)) + " 17x60",
        container(WAITING, reason="CrashLoopBackOff"): " ".join([f"1x9 _x{every - 10}"] * 8),
    }
    name = "ServiceCrashLoop"
    firing = f'count(ALERTS{{alertname="{name}",alertstate="firing"}})'
    end = 8 * minutes
    during: list[tuple[str, str, dict[str, float]]] = [(f"{at}m", firing, {"{}": 1}) for at in range(10, end)]
    check(tmp_path, rules(name), series, alerts=[(f"{end + 12}m", name, [])], queries=during)


def test_without_any_series_nothing_fires_but_that_there_is_none(tmp_path: Path) -> None:
    """As with an image, or a cluster, that has none of these metrics."""
    names = {rule["alert"] for rule in alerts_of(groups(EVERY_ALERT))} - {"ServiceTargetsMissing"}
    alerts: list[tuple[str, str, list[Firing]]] = [(at, alert, []) for at in ("5m", "20m") for alert in sorted(names)]
    check(tmp_path, groups(EVERY_ALERT), {"other": "1x50"}, alerts=alerts)
