"""For each alert that is not an SLO's: series with which it fires, and series with which it only just does not.

Values are written as promtool reads them, one every 30 seconds: `0+3x10` begins at 0 and rises by 3 ten times.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.rules.unit import Firing, Series

POD = "links-7d4b9c-x2x5k"
WORKER = "links-worker-5f6d7c-b4b8z"


def service(metric: str, pod: str = POD, **labels: str) -> str:
    """A series of the service's own."""
    return _series(metric, namespace="links", job="links", pod=pod, instance=f"{pod}:9000", **labels)


def deployment(metric: str, **labels: str) -> str:
    return _series(
        f"kube_deployment_{metric}", job="kube-state-metrics", namespace="links", deployment="links", **labels
    )


def container(metric: str, pod: str = POD, **labels: str) -> str:
    return _series(metric, namespace="links", pod=pod, container="app", **labels)


def autoscaler(metric: str, **labels: str) -> str:
    names = {"job": "kube-state-metrics", "namespace": "links", "horizontalpodautoscaler": "links"}
    return _series(f"kube_horizontalpodautoscaler_{metric}", **names, **labels)


def tasks(metric: str, task: str = "mail", pod: str = WORKER, **labels: str) -> str:
    """A series of the queue, as a worker has it."""
    names = {"namespace": "links", "job": "links-worker", "pod": pod, "instance": f"{pod}:9000"}
    return _series(metric, **names, task=task, **labels)


def attempts(outcome: str = "done", pod: str = WORKER) -> str:
    return tasks("task_attempts_total", pod=pod, outcome=outcome)


def cron_job(metric: str, **labels: str) -> str:
    names = {"job": "kube-state-metrics", "namespace": "links", "cronjob": "links-clean-up"}
    return _series(f"kube_cronjob_{metric}", **names, **labels)


def job(metric: str, name: str = "links-clean-up-29756700", **labels: str) -> str:
    return _series(f"kube_job_{metric}", job="kube-state-metrics", namespace="links", job_name=name, **labels)


def of_worker(series: str, worker: str = "worker") -> str:
    """The series of a worker's pods in the place of the API's."""
    for name in ("job", "deployment", "horizontalpodautoscaler"):
        series = series.replace(f'{name}="links"', f'{name}="links-{worker}"')
    return series.replace('container="app"', f'container="{worker}"').replace('pod="links-', f'pod="links-{worker}-')


def migrations(metric: str, **labels: str) -> str:
    names = {"job": "kube-state-metrics", "namespace": "links", "job_name": "links-migrations"}
    return _series(f"kube_job_{metric}", **names, **labels)


def traefik(sans: str, serial: str = "1") -> str:
    return _series("traefik_tls_certs_not_after", job="traefik", pod="traefik-1", cn="", sans=sans, serial=serial)


def cert_manager(**labels: str) -> str:
    return _series("certmanager_certificate_expiration_timestamp_seconds", job="cert-manager", name="links", **labels)


def _series(metric: str, **labels: str) -> str:
    return metric + "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


@dataclass(frozen=True)
class Cause:
    """`series` make the alert fire `at` some time and not yet a while `before`; `quiet` are others that never do."""

    series: Series
    before: str
    at: str
    firing: Firing
    quiet: Mapping[str, Series] = field(default_factory=dict)


# What others expose: kube-state-metrics, the kubelet's cAdvisor, Traefik, cert-manager, and Prometheus itself.
OTHERS = {
    "certmanager_certificate_expiration_timestamp_seconds": {"name", "namespace", "exported_namespace"},
    "container_cpu_cfs_periods_total": {"namespace", "pod", "container"},
    "container_cpu_cfs_throttled_periods_total": {"namespace", "pod", "container"},
    "container_memory_working_set_bytes": {"namespace", "pod", "container"},
    "kube_cronjob_next_schedule_time": {"namespace", "cronjob"},
    "kube_cronjob_spec_suspend": {"namespace", "cronjob"},
    "kube_cronjob_status_active": {"namespace", "cronjob"},
    "kube_cronjob_status_last_schedule_time": {"namespace", "cronjob"},
    "kube_cronjob_status_last_successful_time": {"namespace", "cronjob"},
    "kube_deployment_spec_replicas": {"namespace", "deployment"},
    "kube_deployment_status_condition": {"namespace", "deployment", "condition", "status", "reason"},
    "kube_deployment_status_replicas_ready": {"namespace", "deployment"},
    "kube_deployment_status_replicas_updated": {"namespace", "deployment"},
    "kube_horizontalpodautoscaler_spec_max_replicas": {"namespace", "horizontalpodautoscaler"},
    "kube_horizontalpodautoscaler_spec_min_replicas": {"namespace", "horizontalpodautoscaler"},
    "kube_horizontalpodautoscaler_status_condition": {"namespace", "horizontalpodautoscaler", "condition", "status"},
    "kube_horizontalpodautoscaler_status_desired_replicas": {"namespace", "horizontalpodautoscaler"},
    "kube_job_failed": {"namespace", "job_name", "condition"},
    "kube_job_spec_active_deadline_seconds": {"namespace", "job_name"},
    "kube_job_status_active": {"namespace", "job_name"},
    "kube_job_status_start_time": {"namespace", "job_name"},
    "kube_pod_container_resource_limits": {"namespace", "pod", "container", "resource"},
    "kube_pod_container_status_restarts_total": {"namespace", "pod", "container"},
    "kube_pod_container_status_waiting_reason": {"namespace", "pod", "container", "reason"},
    "traefik_tls_certs_not_after": {"cn", "sans", "serial"},
    "http_probes_total": set(),  # of other libraries, as the chart's monitors call it
    "up": set(),
}

WANTED, READY, UPDATED = "spec_replicas", "status_replicas_ready", "status_replicas_updated"
RESTARTS = "kube_pod_container_status_restarts_total"
WAITING = "kube_pod_container_status_waiting_reason"
LIMIT = "kube_pod_container_resource_limits"
USED = "container_memory_working_set_bytes"
THROTTLED, PERIODS = "container_cpu_cfs_throttled_periods_total", "container_cpu_cfs_periods_total"
DEPLOYMENT = {"namespace": "links", "deployment": "links"}

OLDEST, RUNNING = "tasks_oldest_seconds", "tasks_running"
LAST, SUCCESS, NEXT = "status_last_schedule_time", "status_last_successful_time", "next_schedule_time"

COUNT = "http_request_duration_seconds_count"


def unjudged(reason: str) -> Firing:
    labels = {"namespace": "links", "job": "links", "reason": reason}
    only_slow = {'eq $labels.reason "no bucket"': "yes" if reason == "no bucket" else ""}
    return Firing({"$value": "1", "$labels.reason": reason, **only_slow}, labels)


def progressing(yes: bool) -> Series:
    return {
        deployment("status_condition", condition="Progressing", status="true"): f"{int(yes)}x40",
        deployment("status_condition", condition="Progressing", status="false"): f"{int(not yes)}x40",
    }


def scaled(least: int, most: int, wanted: int, limited: int) -> Series:
    return {
        autoscaler("spec_min_replicas"): f"{least}x60",
        autoscaler("spec_max_replicas"): f"{most}x60",
        autoscaler("status_desired_replicas"): f"{wanted}x60",
        autoscaler("status_condition", condition="ScalingLimited", status="true"): f"{limited}x60",
        autoscaler("status_condition", condition="ScalingLimited", status="false"): f"{1 - limited}x60",
    }


CAUSES: dict[str, Cause] = {
    "ServiceDown": Cause(
        series={deployment(WANTED): "3x20", deployment(READY): "3 3 0x18"},
        before="2m30s",
        at="3m",
        firing=Firing({"$value": "3"}, DEPLOYMENT),
        quiet={
            "one pod is ready": {deployment(WANTED): "3x20", deployment(READY): "1x20"},
            "none is wanted": {deployment(WANTED): "0x20", deployment(READY): "0x20"},
            "a pod was ready in between": {deployment(WANTED): "3x20", deployment(READY): "0 0 0 0 1 0 0 0 0 1"},
            "it is another release's": {
                deployment(WANTED).replace('ment="links"', 'ment="links-2"'): "3x20",
                deployment(READY).replace('ment="links"', 'ment="links-2"'): "0x20",
            },
        },
    ),
    "ServiceTargetsMissing": Cause(
        series={service("up"): "1 1 0x30", service("up", pod="links-7d4b9c-zzzzz"): "1 1 0x30"},
        before="5m30s",
        at="6m",
        firing=Firing({"$value": "2"}),
        quiet={
            "one answers": {service("up"): "0x90", service("up", pod="links-7d4b9c-zzzzz"): "1x90"},
            "no pod is wanted": {deployment(WANTED): "0x90"},
        },
    ),
    "ServiceWorkerDown": Cause(
        series={of_worker(deployment(WANTED)): "3x40", of_worker(deployment(READY)): "3 3 0x38"},
        before="5m30s",
        at="6m",
        firing=Firing({"$value": "3"}, {**DEPLOYMENT, "deployment": "links-worker"}, worker="worker"),
        quiet={
            "one pod is ready": {of_worker(deployment(WANTED)): "3x40", of_worker(deployment(READY)): "1x40"},
            "none is wanted": {of_worker(deployment(WANTED)): "0x40", of_worker(deployment(READY)): "0x40"},
            "it is the API": {deployment(WANTED): "3x40", deployment(READY): "0x40"},
            "it is another release's": {
                of_worker(deployment(WANTED), "2-worker"): "3x40",
                of_worker(deployment(READY), "2-worker"): "0x40",
            },
        },
    ),
    "ServiceTaskQueueStalled": Cause(
        series={
            tasks(OLDEST): "0x4 0+30x60",
            attempts(): "7x80",
            attempts("retried"): "0+1x80",
            # Another name, of which none is due.
            tasks(OLDEST, "report"): "0x80",
        },
        before="13m30s",
        at="14m30s",
        firing=Firing({"$value | humanizeDuration": "12m 0s"}, {"namespace": "links"}),
        quiet={
            "tasks wait long, and are done": {tasks(OLDEST): "3600x80", attempts(): "0+1x80"},
            "by another pod": {
                tasks(OLDEST): "3600x80",
                attempts(): "7x80",
                attempts(pod="links-worker-5f6d7c-zzzzz"): "0+1x80",
            },
            "nothing is due": {tasks(OLDEST): "0x80", attempts(): "7x80"},
            "nothing has been due for long": {tasks(OLDEST): "60x80", attempts(): "7x80"},
            "a task is done now and then": {
                tasks(OLDEST): "3600x80",
                attempts(): "0x19 1x19 2x19 3x19",
            },
            "only tasks of another version wait": {tasks(OLDEST, "other"): "3600x80", attempts(): "7x80"},
            "it is another release's": {
                tasks(OLDEST).replace("links-worker", "links-2-worker"): "3600x80",
                attempts().replace("links-worker", "links-2-worker"): "7x80",
            },
        },
    ),
    "ServiceCertificateExpired": Cause(
        # The clock of promtool begins at 0.
        series={traefik("links.example.com"): "600x60"},
        before="10m30s",
        at="11m",
        firing=Firing({"$value | humanizeDuration": "1m 0s"}),
        quiet={
            "it is valid": {traefik("links.example.com"): "6000x60"},
            "it has not been issued yet": {cert_manager(namespace="links"): "0x60"},
            "it was renewed": {traefik("links.example.com"): "60x60", traefik("links.example.com", "2"): "6000x60"},
            "it is somebody else's": {traefik("links-example.com,other.example.org"): "60x60"},
        },
    ),
    "ServiceCertificateExpiring": Cause(
        series={traefik("*.example.com,example.com"): "604800x180"},  # in seven days
        before="1h",
        at="1h0m30s",
        firing=Firing({"$value | humanizeDuration": "6d 22h 59m 30s"}),
        quiet={
            "there is time": {traefik("links.example.com"): "612000x180"},
            "cert-manager's for another release": {cert_manager(namespace="other"): "60x180"},
        },
    ),
    "ServiceTargetDown": Cause(
        series={service("up"): "1 1 0x30", service("up", pod="links-7d4b9c-zzzzz"): "1x30"},
        before="5m30s",
        at="6m",
        firing=Firing({"$value": "1", "$labels.pod": POD}, {"namespace": "links", "job": "links", "pod": POD}),
        quiet={
            "it answers again": {service("up"): "1 0 0 0 0 0 0 0 0 1x30"},
            "one pod after the other leaves": {
                service("up", pod=f"links-7d4b9c-{number}"): " ".join(["1"] * 3 * number + ["0 0 0 0 stale"])
                for number in range(8)
            },
            "it belongs to another release": {service("up").replace('job="links"', 'job="links-2"'): "0x30"},
        },
    ),
    "ServiceWorkerTargetsMissing": Cause(
        series={of_worker(deployment(READY)): "2x40", of_worker(service("up")): "1 1 0x38"},
        before="5m30s",
        at="6m",
        firing=Firing({"$value": "2"}, {**DEPLOYMENT, "deployment": "links-worker"}, worker="worker"),
        quiet={
            "one answers": {
                of_worker(deployment(READY)): "2x40",
                of_worker(service("up")): "0x40",
                of_worker(service("up", pod="links-7d4b9c-zzzzz")): "1x40",
            },
            "none is ready": {of_worker(deployment(READY)): "0x40"},
            "its metrics are not read": {of_worker(deployment(READY), "queue"): "2x40"},
        },
    ),
    "ServiceRequestsUnjudged": Cause(
        series={service("up"): "1x40", service(COUNT, method="GET", handler="/{slug}"): "_ 0+30x40"},
        before="10m",
        at="10m30s",
        firing=unjudged("no status"),
        quiet={
            "all have a status": {
                service("up"): "1x90",
                service(COUNT, status="200"): "0+30x90",
                service("http_request_duration_seconds_bucket", status="200", le="0.5"): "0+30x90",
                service(COUNT, status="5xx"): "0+30x90",
            },
            "nobody has asked it anything": {service("up"): "1x90", service("http_requests_in_flight"): "0x90"},
            "it is asked within minutes": {
                service("up"): "1x90",
                service(COUNT, status="200"): "_x18 0+30x90",
                service("http_request_duration_seconds_bucket", status="200", le="0.5"): "_x18 0+30x90",
            },
            "it does not answer Prometheus": {service("up"): "0x90"},
            "it is another release's": {service(COUNT).replace('job="links"', 'job="links-2"'): "0+30x90"},
        },
    ),
    "ServiceCrashLoop": Cause(
        series={container(RESTARTS): "0x5 1x5 2x5 3x30"},
        before="9m30s",
        at="10m30s",
        firing=Firing({"$value": "3", "$labels.pod": POD}, {"namespace": "links", "pod": POD}),
        quiet={
            "twice": {container(RESTARTS): "0x5 1x5 2x40"},
            "slowly": {container(RESTARTS): "0 1x20 2x20 3x20 4x20"},
            "it had been restarted often": {container(RESTARTS): "57x40"},
            "it had been, and is once more": {container(RESTARTS): "57x20 58x20"},
            "it waits for its image": {
                container(RESTARTS): "57x20 58x20",
                container(WAITING, reason="ImagePullBackOff"): "1x40",
            },
            "the pod is gone": {container(RESTARTS): "0 1 2 3 stale"},
            "it is the migrations'": {
                container(RESTARTS, pod="links-migrations-x2x5k").replace("app", "migrations"): "0+1x40"
            },
            "it is another release's": {container(RESTARTS, pod="links-2-7d4b9c-x2x5k"): "0+1x40"},
        },
    ),
    "ServiceReplicasShort": Cause(
        series={deployment(WANTED): "5x40", deployment(READY): "5 5 4x38"},
        before="10m30s",
        at="11m",
        firing=Firing({"$value": "1"}, DEPLOYMENT),
        quiet={
            "a rollout has one more": {deployment(WANTED): "3x40", deployment(READY): "4x40"},
            "a scale-out takes nine minutes": {deployment(WANTED): "3 9x39", deployment(READY): "3x18 9x21"},
        },
    ),
    "ServiceRolloutStuck": Cause(
        series={deployment(WANTED): "3x40", deployment(UPDATED): "1x40", **progressing(False)},
        before="30s",
        at="1m",
        firing=Firing({"$value": "2"}, DEPLOYMENT),
        quiet={
            "it goes on": {deployment(WANTED): "3x40", deployment(UPDATED): "1x40", **progressing(True)},
        },
    ),
    "ServiceAutoscalerAtLimit": Cause(
        series=scaled(3, 10, 10, 1),
        before="14m30s",
        at="15m",
        firing=Firing({"$value": "10"}, {"namespace": "links", "horizontalpodautoscaler": "links"}),
        quiet={
            "it has the most, and wants no more": scaled(3, 10, 10, 0),
            "it is idle, and wants fewer": scaled(3, 10, 3, 1),
            "it may not scale at all": scaled(3, 3, 3, 1),
        },
    ),
    "ServiceMigrationFailed": Cause(
        series={migrations("status_start_time"): "0x40", migrations("failed", condition="true"): "_ 1x30"},
        before="1m",
        at="1m30s",
        firing=Firing(
            {"$value | humanizeDuration": "1m 30s", "$labels.job_name": "links-migrations"},
            {"namespace": "links", "job_name": "links-migrations"},
        ),
        quiet={
            "an attempt failed, and the Job goes on": {
                migrations("status_start_time"): "0x40",
                migrations("status_failed"): "1x40",
            },
            "it was deleted": {
                migrations("status_start_time"): "0 stale",
                migrations("failed", condition="true"): "1 stale",
            },
        },
    ),
    "ServiceDatabaseUnavailable": Cause(
        series={
            service("dependency_up", dependency="database"): "1 0x20",
            service("dependency_up", pod="links-7d4b9c-zzzzz", dependency="database"): "1x20",
        },
        before="1m",
        at="1m30s",
        firing=Firing({"$value": "1"}, {"namespace": "links", "job": "links"}),
        quiet={
            "it was checked for the first time": {service("dependency_up", dependency="database"): "0 0 1x20"},
            "it is the other dependency": {service("dependency_up", dependency="valkey"): "0x20"},
        },
    ),
    "ServiceDatabasePoolExhausted": Cause(
        series={service("database_unavailable_total", reason="pool_timeout"): "0x10 0+1x20"},
        before="7m30s",
        at="9m30s",
        firing=Firing({'$value | printf "%.0f"': "8"}, {"namespace": "links", "job": "links"}),
        quiet={
            "a few": {service("database_unavailable_total", reason="pool_timeout"): "0x10 4x30"},
            "for another reason": {service("database_unavailable_total", reason="unreachable"): "0+9x40"},
            "a restart is no failure": {service("database_unavailable_total", reason="pool_timeout"): "900x10 0x30"},
        },
    ),
    "ServiceCacheDown": Cause(
        series={
            service("valkey_breaker_open"): "0 1x20",
            service("valkey_breaker_open", pod="links-7d4b9c-zzzzz"): "0 1x20",
        },
        before="2m",
        at="2m30s",
        firing=Firing({"$value": "2"}, {"namespace": "links", "job": "links"}),
        quiet={"Valkey was restarted": {service("valkey_breaker_open"): "0 1 1 1 0x20"}},
    ),
    "ServiceTokenKeysStale": Cause(
        series={
            service("jwks_fetches_total", outcome="unreachable"): "0+3x60",
            service("jwks_fetches_total", outcome="ok"): "1x60",
            service("up"): "1x60",
        },
        before="5m",
        at="6m",
        firing=Firing({"$value": "1"}, {"namespace": "links", "job": "links"}),
        quiet={
            "one read failed": {
                service("jwks_fetches_total", outcome="unreachable"): "0 0 1x60",
                service("jwks_fetches_total", outcome="ok"): "1x60",
                service("up"): "1x60",
            },
            "another succeeded": {
                service("jwks_fetches_total", outcome="unreachable"): "0+1x60",
                service("jwks_fetches_total", outcome="ok"): "0x10 1x10 2x10 3x10 4x10 5x20",
                service("up"): "1x60",
            },
            "the pod is gone": {
                service("jwks_fetches_total", outcome="unreachable"): "0+3x5 stale",
                service("up"): "1x5 stale",
            },
        },
    ),
    "ServiceEventLoopBlocked": Cause(
        series={service("event_loop_lag_max_seconds"): "0.01 0.75x20"},
        before="5m",
        at="5m30s",
        firing=Firing(
            {"$value | humanizeDuration": "750ms", "$labels.pod": POD},
            {"namespace": "links", "job": "links", "pod": POD},
        ),
        quiet={
            "just as long as allowed": {service("event_loop_lag_max_seconds"): "0.5x30"},
            "once, for a minute": {service("event_loop_lag_max_seconds"): "0.01 3 3 0.01x30"},
        },
    ),
    "ServiceConnectionsNearLimit": Cause(
        series={service("http_connections"): "100 1820x40", service("http_connections_limit"): "2000x40"},
        before="5m",
        at="6m30s",
        firing=Firing(
            {"$value | humanizePercentage": "91%", "$labels.pod": POD},
            {"namespace": "links", "job": "links", "pod": POD},
        ),
        quiet={
            "just as many as allowed": {
                service("http_connections"): "1800x40",
                service("http_connections_limit"): "2000x40",
            },
            "for a minute": {
                service("http_connections"): "100 2000 2000 100x40",
                service("http_connections_limit"): "2000x40",
            },
        },
    ),
    "ServiceMemoryNearLimit": Cause(
        series={container(USED): "100 91x40", container(LIMIT, resource="memory"): "100x40"},
        before="9m30s",
        at="10m",
        firing=Firing({"$value | humanizePercentage": "91%", "$labels.pod": POD}, {"namespace": "links", "pod": POD}),
        quiet={
            "just as much as allowed": {container(USED): "90x40", container(LIMIT, resource="memory"): "100x40"},
            "there is no limit": {container(USED): "99x40", container(LIMIT, resource="cpu"): "100x40"},
        },
    ),
    "ServiceCPUThrottled": Cause(
        series={container(THROTTLED): "0+90x60", container(PERIODS): "0+300x60"},
        before="15m",
        at="15m30s",
        firing=Firing({"$value | humanizePercentage": "30%", "$labels.pod": POD}, {"namespace": "links", "pod": POD}),
        quiet={
            "just as much as allowed": {container(THROTTLED): "0+75x60", container(PERIODS): "0+300x60"},
            "it does nothing": {container(THROTTLED): "7x60", container(PERIODS): "7x60"},
        },
    ),
    "ServiceNoTraffic": Cause(
        series={service("up"): "1x90", service("http_requests_in_flight"): "0x90"},
        before="29m30s",
        at="30m",
        firing=Firing({"$value": "0"}, {"namespace": "links", "job": "links"}),
        quiet={
            "there is a request now and then": {
                service("up"): "1x90",
                service("http_request_duration_seconds_count", status="200"): "0x7 1x7 2x7 3x7 4x7 5x7 6x7 7x7 8x7 9x7",
            },
        },
    ),
    "ServiceTasksLate": Cause(
        # Both pods see the same queue, one of them a moment later.
        series={
            tasks(OLDEST): "0+30x60",
            tasks(OLDEST, pod="links-worker-5f6d7c-zzzzz"): "0 0+30x59",
            attempts(): "0+9x60",
        },
        before="10m",
        at="10m30s",
        firing=Firing(
            {"$value | humanizeDuration": "10m 30s", "$labels.task": "mail"}, {"namespace": "links", "task": "mail"}
        ),
        quiet={
            "just as late as allowed": {tasks(OLDEST): "300x60"},
            "it is caught up with": {tasks(OLDEST): "0+60x8 0x50"},
            "it is of another version": {tasks(OLDEST, "other"): "3600x60"},
        },
    ),
    "ServiceTasksFailed": Cause(
        series={
            tasks("tasks_failed"): "0 2x20",
            tasks("tasks_failed", "report"): "0x20",
            tasks("tasks_failed", pod="links-worker-5f6d7c-zzzzz"): "0 2x20",
        },
        before="1m",
        at="1m30s",
        firing=Firing({"$value": "2", "$labels.task": "mail"}, {"namespace": "links", "task": "mail"}),
        quiet={
            "attempts fail, and are made again": {tasks("tasks_failed"): "0x40", attempts("retried"): "0+1x40"},
            "they are tried again at once": {tasks("tasks_failed"): "0 2 2 0x40"},
        },
    ),
    "ServiceTasksUnknown": Cause(
        series={
            tasks(OLDEST, "other"): "0+30x60",
            tasks(OLDEST, "other", pod="links-worker-5f6d7c-zzzzz"): "0+30x60",
        },
        before="10m",
        at="10m30s",
        firing=Firing({"$value | humanizeDuration": "10m 30s"}, {"namespace": "links"}),
        quiet={
            "one pod knows them": {
                tasks(OLDEST, "other"): "0+30x60",
                tasks(OLDEST, "other", pod="links-worker-5f6d7c-zzzzz"): "0x60",
            },
            "a rollout brings what knows them": {
                tasks(OLDEST, "other"): "0+30x16 stale",
                tasks(OLDEST, "other", pod="links-worker-5f6d7c-zzzzz"): "_x15 0x40",
            },
        },
    ),
    "ServiceWorkerIdle": Cause(
        series={
            tasks(OLDEST): "600x60",
            tasks(RUNNING): "0x60",
            attempts(): "0+1x10 10x50",
            tasks(OLDEST, pod="links-worker-5f6d7c-zzzzz"): "600x60",
            tasks(RUNNING, pod="links-worker-5f6d7c-zzzzz"): "1x60",
            attempts(pod="links-worker-5f6d7c-zzzzz"): "0+1x60",
        },
        before="14m",
        at="15m30s",
        firing=Firing(
            {"$value | humanizeDuration": "10m 0s", "$labels.pod": WORKER}, {"namespace": "links", "pod": WORKER}
        ),
        quiet={
            "it runs one for long": {tasks(OLDEST): "600x60", tasks(RUNNING): "1x60", attempts(): "10x60"},
            "its attempts fail": {
                tasks(OLDEST): "600x60",
                tasks(RUNNING): "0x60",
                attempts("retried"): "0+1x60",
                attempts(): "10x60",
            },
            "there is nothing to do": {tasks(OLDEST): "0x60", tasks(RUNNING): "0x60", attempts(): "10x60"},
            "it does not know those that wait": {
                tasks(OLDEST, "other"): "600x60",
                tasks(OLDEST): "0x60",
                tasks(RUNNING): "0x60",
                attempts(): "10x60",
            },
        },
    ),
    "ServiceCronJobMissed": Cause(
        # It was to run after a minute, and the clock of promtool begins at 0.
        series={cron_job(NEXT): "60x60", cron_job("status_active"): "0x60", cron_job("spec_suspend"): "0x60"},
        before="17m",
        at="17m30s",
        firing=Firing(
            {"$value | humanizeDuration": "16m 30s", "$labels.cronjob": "links-clean-up"},
            {"namespace": "links", "cronjob": "links-clean-up"},
        ),
        quiet={
            "it runs each ten minutes": {
                cron_job(NEXT): "600x20 1200x20 1800x20 2400x20 3000x20",
                cron_job(LAST): "0x20 600x20 1200x20 1800x20 2400x20",
                cron_job(SUCCESS): "30x20 630x20 1230x20 1830x20 2430x20",
            },
            "it has been done": {cron_job(NEXT): "86400x80", cron_job(LAST): "60x80", cron_job(SUCCESS): "0 0 0 95x77"},
            "it still runs": {cron_job(NEXT): "86400x80", cron_job(LAST): "60x80", cron_job("status_active"): "1x80"},
            "it is paused": {
                cron_job(LAST): "60x80",
                cron_job("status_active"): "0x80",
                cron_job("spec_suspend"): "1x80",
            },
            "it is another release's": {cron_job(NEXT).replace("links-clean-up", "links-2-clean-up"): "60x80"},
        },
    ),
    "ServiceJobFailed": Cause(
        series={
            job("status_start_time"): "60x60",
            job("failed", condition="true"): "_x20 1x40",
            # The one of the day before was done.
            cron_job(SUCCESS): "30x60",
        },
        before="10m30s",
        at="11m30s",
        firing=Firing(
            {"$value | humanizeDuration": "10m 30s", "$labels.job_name": "links-clean-up-29756700"},
            {"namespace": "links", "job_name": "links-clean-up-29756700"},
        ),
        quiet={
            "a later one was done": {
                job("status_start_time"): "60x60",
                job("failed", condition="true"): "1x60",
                cron_job(SUCCESS): "90x60",
            },
            "an attempt failed, and it goes on": {job("status_start_time"): "60x60", job("status_failed"): "1x60"},
            "it is the migrations'": {
                migrations("status_start_time"): "60x60",
                migrations("failed", condition="true"): "1x60",
            },
            "it is another release's": {
                job("status_start_time", "links-clean-up-2-29756700"): "60x60",
                job("failed", "links-clean-up-2-29756700", condition="true"): "1x60",
            },
        },
    ),
    "ServiceJobNearDeadline": Cause(
        series={
            job("status_start_time"): "0x140",
            job("spec_active_deadline_seconds"): "3600x140",
            job("status_active"): "1x140",
        },
        before="49m",
        at="49m30s",
        firing=Firing(
            {"$value | humanizePercentage": "82.5%", "$labels.job_name": "links-clean-up-29756700"},
            {"namespace": "links", "job_name": "links-clean-up-29756700"},
        ),
        quiet={
            "it has ended": {
                job("status_start_time"): "0x140",
                job("spec_active_deadline_seconds"): "60x140",
                job("status_active"): "0x140",
            },
            "there is none": {job("status_start_time"): "0x140", job("status_active"): "1x140"},
        },
    ),
}
