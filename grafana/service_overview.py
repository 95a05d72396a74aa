"""Is it healthy? If not: since when, for whom, and what changed."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from grafana import promql as q
from grafana.frame import OVERVIEW, Section, frame
from grafana.panels import (
    BLUE,
    CLEAR,
    GREEN,
    NO_KUBERNETES,
    NO_RULES,
    NOT_JUDGED,
    NOT_MEASURED,
    ORANGE,
    RED,
    Column,
    Query,
    Text,
    graph,
    heat_map,
    logs,
    loki_logs,
    rows,
    stat,
)

COUNT, FAILED, TOLD = q.COUNT, q.FAILED, q.TOLD
FIRING = f'ALERTS{{alertstate="firing", {q.SERVICE}}}'
# Zero where there are rules that could fire: without them, that nothing fires is no good news.
NO_ALERT = f"max(job:slo_objective:ratio{{{q.SERVICE}}}) * 0"


def build() -> Dashboard:
    return frame(
        OVERVIEW,
        "Service overview",
        "Whether users are served well, and where to look if they are not.",
        [HEALTH, PROMISES, REQUESTS, SATURATION, FAILURES, LOKI],
        requests=True,
    )


HEALTH = Section("", [
    stat(
        Text("Alerts firing", "Alerts of this service that fire now, critical and warning.", "Any.",
             "Read the table below; each alert's name leads to its runbook."),
        f'count(ALERTS{{alertstate="firing", severity=~"critical|warning", {q.SERVICE}}}) or {NO_ALERT}',
        "none", [(1, RED)], width=3, decimals=0, absent=NO_RULES,
    ),
    stat(
        Text("Failing requests", "Share of requests that were answered with a 5xx status in the last minutes.",
             "More than the error budget allows: one in a thousand by default.",
             "See below which route fails with which status, then the logs; compare with the last rollout."),
        q.share(f"sum({q.rate(COUNT, f'{q.SERVICE}, {FAILED}')})",
                f"sum({q.rate(COUNT, f'{q.SERVICE}, {TOLD}')})", q.JUDGED_ZERO),
        "percentunit", [(0.001, ORANGE), (0.01, RED)], width=3, decimals=2, absent=NOT_JUDGED,
    ),
    stat(
        Text("Slowest 1 %", "99 of 100 requests are answered within this time; 0 when there are none.",
             "Half a second and more: users notice.",
             "See which route is slow, then the database and the event loop: those are the usual causes."),
        q.quantile(0.99, q.REQUESTS, zero=q.JUDGED_ZERO), "s", [(0.5, ORANGE), (1, RED)], width=3, decimals=0,
        absent=NOT_JUDGED,
    ),
    stat(
        Text("Error budget left", "What is left of the smaller error budget, of availability or latency.",
             "Less than a quarter; below nothing the objective has been missed.",
             "Stop risky changes until it recovers, and look for what spends it in the burn rate."),
        f"min(job:slo_error_budget_remaining:ratio{{{q.SERVICE}}})",
        "percentunit", [(0, ORANGE), (0.25, GREEN)], width=3, fine=RED, decimals=0,
        absent=f"{NOT_JUDGED}, or {NO_RULES}",
    ),
    stat(
        Text("Pods missing", "Pods that are wanted but not ready.", "More than none for longer than a rollout takes.",
             "Open the dashboard on runtime and rollout: it shows which pod waits for what."),
        f"clamp_min(max(kube_deployment_spec_replicas{{{q.DEPLOYMENT}}})"
        f" - max(kube_deployment_status_replicas_ready{{{q.DEPLOYMENT}}}), 0)"
        f" or count(up{{{q.SERVICE}}} == 0) or {q.ZERO}",
        "none", [(1, ORANGE), (2, RED)], width=3, decimals=0,
    ),
    stat(
        Text("Requests", "Requests answered per second.",
             "A sudden drop to nothing while users are awake: they do not get here.",
             "Ask the ingress, DNS and the certificate before the service."),
        q.per_second(COUNT, zero=q.JUDGED_ZERO), "reqps", width=3, fine=BLUE, absent=NOT_JUDGED,
    ),
    stat(
        Text("Requests are judged", "Whether the metrics tell which requests fail. If not, nothing here is good news.",
             "That they cannot be judged: no error is seen then, and no alert of an SLO sees them.",
             "The runbook of ServiceRequestsUnjudged says which line of the service's code to change."),
        f"count({COUNT}{{{q.SERVICE}, {q.UNTOLD}}}) * 0 + 2"
        f" or (sum({q.rate(COUNT, f'{q.SERVICE}, {TOLD}')}) > 0) * 0 + 1"
        f" or {q.JUDGED_ZERO} or {q.ZERO} + 3",
        "none", [(1, GREEN), (2, RED)], width=6, fine=BLUE,
        words={0: "no requests", 1: "yes", 2: "no: without status", 3: "no: not counted"},
    ),
])  # fmt: skip

PROMISES = Section("Alerts and objectives", [
    rows(
        Text("Firing alerts", "Alerts of this service that fire now, and since when.", "Any that is critical.",
             "Click on the name: the runbook says what users see and what to do first."),
        "alertname",
        [
            Column("Alert", label="alertname", link="${runbooks}/${__value.raw}.md",
                   texts=(("README", "No alert is firing", GREEN),)),
            Column("Severity", label="severity", texts=(("critical", "critical", RED), ("warning", "warning", ORANGE),
                                                        ("info", "info", BLUE))),
            Column("Since", "dateTimeFromNow", expression=q.or_none(
                f"1000 * max by (alertname, severity) (ALERTS_FOR_STATE{{{q.SERVICE}}}"
                f" and ignoring (alertstate) {FIRING})",
                "alertname", "README", f"1000 * (time() + {NO_ALERT})")),
        ],
        width=8, sort="Since", absent=NO_RULES,
    ),
    graph(
        Text("Error budgets left", "What is left of each error budget of the objective's period; below 0 it is missed.",
             "A steep fall: at that slope it will not last.",
             "Look at what changed when it began: marks show versions and rollouts."),
        [Query(f"max by (slo) (job:slo_error_budget_remaining:ratio{{{q.SERVICE}}})", "{{slo}}")],
        "percentunit", [(0, ORANGE), (0.25, CLEAR)], base=RED, zero=False, most=1, absent=NO_RULES,
    ),
    graph(
        Text("Burn rate", "How many times faster than allowed the error budget is spent, over an hour and over six.",
             "By default above 14.4 in an hour or 6 in six somebody is called; 1 just lasts for the period.",
             "Find the route that fails or is slow below, and undo what changed."),
        [
            Query(f"max by (slo) (job:slo_errors:ratio_rate{window}{{{q.SERVICE}}}"
                  f" / on (namespace, job, slo) ((1 - job:slo_objective:ratio{{{q.SERVICE}}}) > 0))",
                  f"{{{{slo}}}}, {words}")
            for window, words in (("1h", "1 hour"), ("6h", "6 hours"))
        ],
        "short", [(1, ORANGE), (14.4, RED)], absent=NO_RULES,
    ),
])  # fmt: skip

REQUESTS = Section("Requests", [
    graph(
        Text("Requests by route", "Requests per second of each route.",
             "A drop without a reason, or a rise that no one expects.",
             "A rise of one client is the rate limits' matter: see the dependencies."),
        [Query(q.per_second_by("route", COUNT, q.ROUTES), "{{route}}")], "reqps", stacked=True,
    ),
    graph(
        Text("Failing requests by route", "Share of each route's requests that were answered with a 5xx status.",
             "Anything that lasts. One route alone is its code; all of them are a dependency or the pods.",
             "Read the logs below for the route, then look at the dependencies."),
        [Query(q.or_none(
            f"sum by (route) ({q.rate(COUNT, f'{q.ROUTES}, {FAILED}')})"
            f" / (sum by (route) ({q.rate(COUNT, f'{q.ROUTES}, {TOLD}')}) > 0)"
            f" or sum by (route) ({q.rate(COUNT, f'{q.ROUTES}, {TOLD}')}) * 0",
            "route", value=q.JUDGED_ZERO), "{{route}}")],
        "percentunit", [(0.001, ORANGE), (0.01, RED)], absent=NOT_JUDGED,
    ),
    graph(
        Text("Slowest 1 % by route", "99 of 100 requests of a route are answered within this time.",
             "A route that became slower than it was at the same time yesterday.",
             "Open a slow request's trace from a dot in the heat map: it shows where the time goes."),
        [Query(q.quantile_by("route", 0.99, q.REQUESTS, q.ROUTES), "{{route}}")], "s",
    ),
    heat_map(
        Text("Answer times", "How many requests took how long; the brighter, the more. Dots are requests with a trace.",
             "A second band that moves up, or dots far above the rest.",
             "Click on a dot and open its trace."),
        q.REQUESTS, q.ROUTES,
    ),
    graph(
        Text("Answer times in numbers", "Within this time half, 95 and 99 of 100 requests are answered.",
             "When the median rises too, it is not a few slow requests: everything waits.",
             "Look at saturation below, then at the database."),
        [Query(q.quantile(share, q.REQUESTS, q.ROUTES), words)
         for share, words in ((0.5, "half"), (0.95, "95 %"), (0.99, "99 %"))],
        "s", width=6, colors={"^half$": GREEN, "^95 %$": ORANGE, "^99 %$": RED},
    ),
    graph(
        Text("Answers by status", "Answers per second by status code.",
             "5xx are ours. Many 401, 404 or 429 are clients' mistakes, or an attack.",
             "For 5xx read the logs; for 429 see the rate limits."),
        [Query(q.per_second_by("status", COUNT, q.ROUTES), "{{status}}")], "reqps", width=6, stacked=True,
        colors={"^2..$": GREEN, "^3..$": BLUE, "^4..$": ORANGE, "^5..$": RED},
    ),
])  # fmt: skip

SATURATION = Section("Saturation", [
    graph(
        Text("Pods", "Pods that are ready, that are wanted, and the most that autoscaling may make.",
             "Ready below wanted for long, or wanted at the limit: there is no room left.",
             "At the limit raise the autoscaler's maximum, if the database has connections for it."),
        [
            Query(f"max(kube_deployment_status_replicas_ready{{{q.DEPLOYMENT}}}) or count(up{{{q.SERVICE}}} == 1)",
                  "ready"),
            Query(f"max(kube_horizontalpodautoscaler_status_desired_replicas{{{q.AUTOSCALER}}})"
                  f" or max(kube_deployment_spec_replicas{{{q.DEPLOYMENT}}}) or count(up{{{q.SERVICE}}})", "wanted"),
            Query(f"max(kube_horizontalpodautoscaler_spec_max_replicas{{{q.AUTOSCALER}}})"
                  f" or max(kube_deployment_spec_replicas{{{q.DEPLOYMENT}}}) or count(up{{{q.SERVICE}}})", "limit"),
        ],
        "none", width=6, absent=NO_KUBERNETES, colors={"^ready$": GREEN, "^wanted$": BLUE, "^limit$": RED},
    ),
    graph(
        Text("CPU by pod", "Cores that each pod uses, and what one has requested.",
             "All pods above the request: autoscaling lags, or is at its limit. One alone: uneven load.",
             "See the number of pods; a profile of a busy pod says what it does."),
        [
            Query(f"sum by (pod) ({q.rate('container_cpu_usage_seconds_total', q.CONTAINERS)})"
                  f" or sum by (pod) ({q.rate('process_cpu_seconds_total')})", "{{pod}}"),
            Query(f'max(kube_pod_container_resource_requests{{{q.CONTAINERS}, resource="cpu"}})', "requested"),
        ],
        "none", width=6, absent=NOT_MEASURED, colors={"^requested$": ORANGE},
    ),
    graph(
        Text("CPU throttling", "Share of time slices in which pods had to wait for CPU although they had work; "
             "0 without a CPU limit.",
             "More than a few per cent: every answer waits.", "Raise the CPU limit or take it away."),
        [Query(q.share(f"sum({q.rate('container_cpu_cfs_throttled_periods_total', q.CONTAINERS)})",
                       f"sum({q.rate('container_cpu_cfs_periods_total', q.CONTAINERS)})"), "throttled")],
        "percentunit", [(0.05, ORANGE), (0.25, RED)], width=6,
    ),
    graph(
        Text("Memory by pod", "Memory that each pod uses, and the limit at which it is killed.",
             "A line that only rises, or one close to the limit.",
             "Compare with the last rollout; a restart buys time, a higher limit more of it."),
        [
            Query(f"max by (pod) (container_memory_working_set_bytes{{{q.CONTAINERS}}})"
                  f" or max by (pod) (process_resident_memory_bytes{{{q.SERVICE}}})", "{{pod}}"),
            Query(f'max(kube_pod_container_resource_limits{{{q.CONTAINERS}, resource="memory"}})', "limit"),
        ],
        "bytes", width=6, absent=NOT_MEASURED, colors={"^limit$": RED},
    ),
    graph(
        Text("Event loop delay", "The longest that each pod's event loop was blocked in the last minute.",
             "More than a tenth of a second: one request makes all others of the pod wait.",
             "Look for a slow call that is not awaited; a trace of that time names the route."),
        [Query(f"max by (pod) (event_loop_lag_max_seconds{{{q.SERVICE}}})", "{{pod}}")],
        "s", [(0.1, ORANGE), (0.5, RED)], width=6, absent=NOT_MEASURED,
    ),
    graph(
        Text("Requests in flight", "Requests that each pod is answering now.",
             "A line that only rises: requests wait for something that does not answer.",
             "Look at the database's connections and the time of its statements."),
        [Query(q.or_zero_for_every_pod(f"sum by (pod) (http_requests_in_flight{{{q.SERVICE}}})"), "{{pod}}")],
        "none", width=6,
    ),
    graph(
        Text("Refused connections", "Connections per second that were closed before there was a request to answer.",
             "A steady rate: a broken or hostile client; time-outs of many: a broken network.",
             "The logs of the ingress say who it is."),
        [Query(q.per_second_by("reason", "http_connections_refused_total"), "{{reason}}")], "ops", width=6,
    ),
    graph(
        Text("Open files", "Share of the files and connections that each pod may have open.",
             "Above three quarters: soon it can accept no connection.",
             "Look for a leak of connections; restart the pod to win time."),
        [Query(f"max by (pod) (process_open_fds{{{q.SERVICE}}} / (process_max_fds{{{q.SERVICE}}} > 0))", "{{pod}}")],
        "percentunit", [(0.75, ORANGE), (0.9, RED)], width=6, absent=NOT_MEASURED,
    ),
])  # fmt: skip

FAILURES = Section("What fails", [
    rows(
        Text("Top errors", "Answers with a 5xx status in the time shown, by route.", "Any that comes again.",
             "Search the logs beside for the route."),
        "route",
        [
            Column("Route", label="route", texts=(("none", "No request has failed", GREEN),)),
            Column("Method", label="method"),
            Column("Status", label="status"),
            Column("Answers", "short", steps=[(1, ORANGE), (100, RED)], expression=q.or_none(
                f"topk(10, round(sum by (route, method, status)"
                f" (increase({COUNT}{{{q.ROUTES}, {FAILED}}}[$__range])))) > 0",
                "route", value=q.JUDGED_ZERO)),
        ],
        width=8, height=12, sort="Answers", descending=True, absent=NOT_JUDGED,
    ),
    logs(
        Text("Logs", "Lines of the service's pods; with an id above, those of one request or trace.",
             "Lines of level error.",
             "Open a line: its fields tell the route, the request and the trace, which opens from there."),
        f'{{kubernetes.pod_namespace="$namespace", kubernetes.pod_name=~"{q.LOGGED_PODS}"}} *:*"$request_id"*'
        ' | format if (log.level:*) "<log.level> <_msg> <error.message>"',
        width=16, height=12,
    ),
])  # fmt: skip

LOKI = Section("Logs kept in Loki", [
    loki_logs(
        Text("Logs in Loki", "The same lines where Loki keeps the logs, with the labels namespace and pod.",
             "Lines of level error.",
             "Open a line: its fields tell the route, the request and the trace, which opens from there."),
        f'{{namespace="$namespace", pod=~"{q.LOGGED_PODS}"}} |= "$request_id" | json'
        ' | line_format "{{if .message}}{{.log_level}} {{.message}} {{.error_message}}{{else}}{{__line__}}{{end}}"',
        height=12,
    ),
], collapsed=True)  # fmt: skip
