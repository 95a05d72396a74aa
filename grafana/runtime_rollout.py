"""The pods: how each one is, how they come and go, and what the processes in them do."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from grafana import promql as q
from grafana.frame import RUNTIME, Section, frame
from grafana.panels import (
    BLUE,
    GREEN,
    NO_KUBERNETES,
    NOT_MEASURED,
    ORANGE,
    PURPLE,
    RED,
    Column,
    Query,
    Text,
    graph,
    rows,
    stat,
)

COUNT = q.COUNT
FAILED = f"{q.SERVICE}, {q.FAILED}"
FAILED_PROBE = f'{q.CONTAINERS}, result!="successful"'
WANTED = f"max(kube_deployment_spec_replicas{{{q.DEPLOYMENT}}})"


def build() -> Dashboard:
    return frame(
        RUNTIME,
        "Runtime and rollout",
        "How each pod is, how pods come and go, and what their processes do.",
        [HEALTH, PODS, ROLLOUT, RUNTIME_OF_PODS],
    )


def of_pods(metric: str, labels: str = q.CONTAINERS) -> str:
    return f"max by (pod) ({metric}{{{labels}}})"


HEALTH = Section("", [
    stat(
        Text("Pods ready", "Share of the wanted pods that are ready.", "Less than all for longer than a rollout takes.",
             "Find the pod in the table; `kubectl describe pod` tells what it waits for."),
        f"clamp_max(max(kube_deployment_status_replicas_ready{{{q.DEPLOYMENT}}}) / ({WANTED} > 0), 1)"
        f" or count(up{{{q.SERVICE}}} == 1) / count(up{{{q.SERVICE}}})",
        "percentunit", [(0.5, ORANGE), (1, GREEN)], fine=RED, decimals=0,
    ),
    stat(
        Text("Pods of the newest version", "Share of the wanted pods that have the newest template.",
             "Less than all for long: the rollout is stuck.",
             "`kubectl rollout status` tells why; `helm rollback` undoes it."),
        f"clamp_max(max(kube_deployment_status_replicas_updated{{{q.DEPLOYMENT}}}) / ({WANTED} > 0), 1)"
        f" or max(up{{{q.SERVICE}}} == 1)",
        "percentunit", [(0.5, ORANGE), (1, GREEN)], fine=RED, decimals=0,
    ),
    stat(
        Text("Versions running", "Versions that answer at the same time.",
             "More than one when no rollout is under way.", "See which pods are of the old one."),
        f"count(count by (version) (app_build_info{{{q.SERVICE}}})) or max(up{{{q.SERVICE}}} == 1)",
        "none", [(2, ORANGE)], decimals=0,
    ),
    stat(
        Text("Restarts", "Restarts of containers in the time shown.", "Any that nobody asked for.",
             "The table tells which pod and why; `kubectl logs --previous` shows its last words."),
        f"round({q.increase('kube_pod_container_status_restarts_total', q.CONTAINERS)})",
        "none", [(1, ORANGE), (3, RED)], decimals=0,
    ),
    stat(
        Text("Failed probes", "Probes of liveness and readiness that the kubelet saw fail in the time shown.",
             "Liveness: the pod is restarted. Readiness, but for draining pods: a dependency is away.",
             "See which probe it is below, then the pod's log."),
        "round(" + q.increase("prober_probe_total", f'{FAILED_PROBE}, probe_type!="Startup"') + ")",
        "none", [(10, ORANGE), (100, RED)], decimals=0,
    ),
    stat(
        Text("Pods draining", "Pods that have been told to end and are still there.",
             "Some for longer than the drain takes.", "See the time that they have left below."),
        q.or_zero(f"count({of_pods('kube_pod_deletion_timestamp', q.PODS)})"), "none", [(3, ORANGE)],
        decimals=0,
    ),
])  # fmt: skip

PODS = Section("Pods", [
    rows(
        Text("Pods", "Every pod that Prometheus knows of, and how it is now.",
             "A pod that differs from the others: restarts, a late event loop, much memory, no requests.",
             "Delete a pod that is ill; the others take over, and a new one comes."),
        "pod",
        [
            Column("Pod", label="pod"),
            Column("Answers", expression=f"max by (pod) (up{{{q.SERVICE}}})",
                   texts=(("1", "yes", GREEN), ("0", "no", RED))),
            Column("Age", "s", expression=f"time() - max by (pod) (process_start_time_seconds{{{q.SERVICE}}})"),
            Column("Restarts", "none", steps=[(1, ORANGE), (5, RED)], expression=q.or_zero_for_every_pod(
                of_pods("kube_pod_container_status_restarts_total"))),
            Column("Requests", "reqps", expression=q.or_zero_for_every_pod(f"sum by (pod) ({q.rate(COUNT)})")),
            Column("Failing", "reqps", steps=[(0.01, RED)], expression=q.or_zero_for_every_judged_pod(
                f"sum by (pod) ({q.rate(COUNT, FAILED)})")),
            Column("In flight", "none", expression=q.or_zero_for_every_pod(
                f"sum by (pod) (http_requests_in_flight{{{q.SERVICE}}})")),
            Column("Slowest 1 %", "s", steps=[(0.5, ORANGE), (1, RED)], expression=q.or_zero_for_every_pod(
                f"histogram_quantile(0.99, sum by (le, pod) ({q.rate(q.REQUESTS + '_bucket')})) >= 0")),
            Column("Event loop", "s", steps=[(0.1, ORANGE), (0.5, RED)], expression=q.or_zero_for_every_pod(
                f"max by (pod) (event_loop_lag_max_seconds{{{q.SERVICE}}})")),
            Column("CPU", "none", expression=q.or_zero_for_every_pod(
                f"sum by (pod) ({q.rate('process_cpu_seconds_total')})")),
            Column("Memory", "bytes", expression=q.or_zero_for_every_pod(
                f"max by (pod) (process_resident_memory_bytes{{{q.SERVICE}}})")),
        ],
        sort="Pod", absent="?",
    ),
])  # fmt: skip

ROLLOUT = Section("Rollout", [
    graph(
        Text("Replicas by version", "Pods that answer, by the version that they say they are.",
             "Two versions for long: a rollout is stuck.", "`kubectl rollout status` tells why."),
        [Query(q.or_none(f"count by (version) (app_build_info{{{q.SERVICE}}})", "version", "unknown",
                         f"count(up{{{q.SERVICE}}} == 1)"), "{{version}}")],
        "none", stacked=True,
    ),
    graph(
        Text("Replicas by rollout", "Ready pods of each ReplicaSet: every change of the pods' template makes one.",
             "The new one does not grow.", "Its pods' events and logs tell why; `helm rollback` undoes it."),
        [Query(q.or_none(f"max by (replicaset) (kube_replicaset_status_ready_replicas{{{q.REPLICASETS}}}) > 0",
                         "replicaset", "all", f"count(up{{{q.SERVICE}}} == 1)"), "{{replicaset}}")],
        "none", stacked=True, absent=NO_KUBERNETES,
    ),
    graph(
        Text("Pods that wait", "Containers that do not run, by reason.",
             "CrashLoopBackOff, ImagePullBackOff, CreateContainerConfigError: they will not run by themselves.",
             "`kubectl describe pod` names the image or the setting; `kubectl logs --previous` the mistake."),
        [Query(q.or_none(
            f"sum by (reason) (kube_pod_container_status_waiting_reason{{{q.CONTAINERS}}}) > 0", "reason"),
            "{{reason}}")],
        "none", stacked=True,
    ),
    graph(
        Text("Start-up", "From the start of a pod to its being ready, and until its process began; of one that was "
             "restarted, or not ready for a while, until it was again.",
             "Longer than before: a larger image, slow migrations, a database that answers late.",
             "What comes before the process is the node's; what comes after it the service's."),
        [
            Query(q.or_zero(f"max({of_pods('kube_pod_status_ready_time', q.PODS)}"
                            f" - {of_pods('kube_pod_start_time', q.PODS)})"), "slowest until ready"),
            Query(q.or_zero(f"max(max by (pod) (process_start_time_seconds{{{q.SERVICE}}})"
                            f" - {of_pods('kube_pod_start_time', q.PODS)})"), "slowest until its process began"),
        ],
        "s",
    ),
    graph(
        Text("Drain: time left", "Seconds that each ending pod has left before it is killed. Where a line ends, "
             "the pod had ended by itself: what was left is the margin.",
             "A pod's line that reaches 0: requests were cut off. The line `none is ending` is no pod's.",
             "Raise the drain's time-out, or find the requests that take so long."),
        [Query(q.or_none(f"{of_pods('kube_pod_deletion_timestamp', q.PODS)} - time()", "pod", "none is ending"),
               "{{pod}}")],
        "s", zero=False,
    ),
    graph(
        Text("Failed probes by kind", "Probes per second that the kubelet saw fail, by kind.",
             "Liveness at all; readiness of a pod that neither starts nor drains.",
             "The pod's log says which check fails; its readiness address tells the same."),
        [Query(q.per_second_by("probe_type", "prober_probe_total", FAILED_PROBE),
               "{{probe_type}}")],
        "ops", colors={"^Liveness$": RED, "^Readiness$": ORANGE, "^Startup$": BLUE},
    ),
    graph(
        Text("Restarts by pod", "Restarts of each pod's container.", "A staircase: it crashes again and again.",
             "`kubectl logs --previous` shows its last words; the reason is beside."),
        [Query(q.or_zero_for_every_pod(of_pods("kube_pod_container_status_restarts_total")), "{{pod}}")],
        "none", width=12,
    ),
    graph(
        Text("How containers ended last", "Containers by how they ended before they were started again.",
             "OOMKilled: the memory limit. Error: a crash.", "Raise the limit, or read the log of the last run."),
        [Query(q.or_none(f"sum by (reason) (kube_pod_container_status_last_terminated_reason{{{q.CONTAINERS}}})",
                         "reason"), "{{reason}}")],
        "none", width=12, colors={"^OOMKilled$": RED, "^Error$": ORANGE, "^Completed$": GREEN},
    ),
])  # fmt: skip

RUNTIME_OF_PODS = Section("Processes", [
    graph(
        Text("CPU", "Cores that each process uses; Python uses one at most.", "Close to 1: the event loop is full.",
             "More pods help; a profile tells what it does."),
        [Query(f"sum by (pod) ({q.rate('process_cpu_seconds_total')})", "{{pod}}")],
        "none", [(0.8, ORANGE), (1, RED)], width=6, absent=NOT_MEASURED,
    ),
    graph(
        Text("Memory", "Memory of each process.", "A line that only rises.", "Compare with the last rollout."),
        [Query(f"max by (pod) (process_resident_memory_bytes{{{q.SERVICE}}})", "{{pod}}")],
        "bytes", width=6, absent=NOT_MEASURED,
    ),
    graph(
        Text("Event loop delay", "99 of 100 timers run at most this late; and the worst of the last minute.",
             "More than a tenth of a second: something blocks.", "A trace of that time names the route."),
        [
            Query(q.quantile(0.99, "event_loop_lag_seconds"), "99 %"),
            Query(f"max(event_loop_lag_max_seconds{{{q.SERVICE}}}) or {q.ZERO}", "worst"),
        ],
        "s", [(0.1, ORANGE), (0.5, RED)], width=6, colors={"^99 %$": PURPLE, "^worst$": RED},
    ),
    graph(
        Text("Garbage collections", "Collections per second by generation; the oldest is the one that takes long.",
             "Generation 2 more than once in a few seconds.", "Look for what makes so many objects that stay."),
        [Query(q.per_second_by("generation", "python_gc_collections_total"), "generation {{generation}}")],
        "ops", width=6,
    ),
    graph(
        Text("Objects freed", "Objects that the garbage collector freed per second, and those it could not.",
             "Any that it could not: they are never given back.", "Find the extension module that made them."),
        [
            Query(q.per_second("python_gc_objects_collected_total"), "freed"),
            Query(q.per_second("python_gc_objects_uncollectable_total"), "not to be freed"),
        ],
        "ops", width=12, colors={"^freed$": GREEN, "^not": RED},
    ),
    graph(
        Text("Open files", "Files and connections that each process has open.", "A line that only rises: a leak.",
             "Restart the pod to win time, and find what is not closed."),
        [Query(f"max by (pod) (process_open_fds{{{q.SERVICE}}})", "{{pod}}")], "none", width=12, absent=NOT_MEASURED,
    ),
])  # fmt: skip
