"""Parts of queries. None of them divides by zero, and none is empty while an idle service is scraped."""

# Labels of the service's own series.
SERVICE = 'namespace="$namespace", job="$job"'
ROUTES = f'{SERVICE}, route=~"$route"'

# Labels of what others measure of it. A pod is called after its Deployment, the hash of the pod's template and its own,
# both of letters without vowels; so a migration's pod is none of them.
HASH = "[bcdfghjklmnpqrstvwxz2456789]+"
DEPLOYMENT = 'namespace="$namespace", deployment="$deployment"'
AUTOSCALER = 'namespace="$namespace", horizontalpodautoscaler=~"$deployment(-keda)?"'
REPLICASETS = f'namespace="$namespace", replicaset=~"$deployment-{HASH}"'
PODS = f'namespace="$namespace", pod=~"$deployment-{HASH}-{HASH}"'
CONTAINERS = f'{PODS}, container="app"'
# Whose lines are logs of it: its pods', and those of the Job that migrates its database.
LOGGED_PODS = f"$deployment-({HASH}|migrations)-{HASH}"

# What runs without a request is called after the service. So may be another release: hence the choice of $worker.
QUEUE = 'namespace="$namespace", job=~"$job(-($worker))?"'
WORKERS = 'namespace="$namespace", deployment=~"$deployment-($worker)"'
WORKERS_PODS = f'namespace="$namespace", pod=~"$deployment-($worker)-{HASH}-{HASH}", container!=""'
CRON_JOBS = 'namespace="$namespace", cronjob=~"$deployment-.+"'
JOBS = 'namespace="$namespace", job_name=~"$deployment-.+"'

REQUESTS = "http_request_duration_seconds"
COUNT = f"{REQUESTS}_count"
# Of requests whose end is known, and of those of which it is not.
TOLD, UNTOLD, FAILED = 'status=~"[1-5].."', 'status!~"[1-5].."', 'status=~"5.."'

# Zero while at least one pod answers Prometheus: what was never counted did not happen. Without any there is nothing.
ZERO = f"max(up{{{SERVICE}}} == 1) * 0"
# There is one where requests are counted, be there any or none: the gauge is there before the first of them, and what
# the cluster itself asks is counted apart where a library counts that, too.
COUNTING = f"({COUNT}{{{SERVICE}, {TOLD}}} or http_requests_in_flight{{{SERVICE}}} or http_probes_total{{{SERVICE}}})"
# Zero where requests can be judged, be there any or none.
JUDGED_ZERO = f"({ZERO} and on() count{COUNTING} unless on() count({COUNT}{{{SERVICE}, {UNTOLD}}}))"


def rate(metric: str, labels: str = SERVICE) -> str:
    """Per second."""
    return f"rate({metric}{{{labels}}}[$__rate_interval])"


def per_second(metric: str, labels: str = SERVICE, zero: str = ZERO) -> str:
    """Of all series together, 0 when there are none."""
    return f"sum({rate(metric, labels)}) or {zero}"


def increase(metric: str, labels: str = SERVICE) -> str:
    """Of all series together over the time shown, 0 when there are none."""
    return f"sum(increase({metric}{{{labels}}}[$__range])) or {ZERO}"


def per_second_by(label: str, metric: str, labels: str = SERVICE, also: str = "") -> str:
    """By a label, and by another."""
    by = f"{label}, {also}" if also else label
    return or_none(f"sum by ({by}) ({rate(metric, labels)})", label)


def or_zero(expression: str) -> str:
    """Of an expression without labels."""
    return f"({expression}) or {ZERO}"


def or_none(expression: str, label: str, none: str = "none", value: str = ZERO) -> str:
    """Where there is no series at all, one of this value, called so."""
    return f'({expression}) or on() label_replace({value}, "{label}", "{none}", "", "")'


def or_zero_for_every_pod(expression: str) -> str:
    """Of an expression with label pod."""
    return f"({expression}) or on (pod) max by (pod) (up{{{SERVICE}}}) * 0"


def or_zero_for_every_judged_pod(expression: str) -> str:
    """Of an expression with label pod, about how requests end."""
    known = f"count by (pod) {COUNTING}"
    unknown = f"count by (pod) ({COUNT}{{{SERVICE}, {UNTOLD}}})"
    return f"({expression}) or on (pod) ({known} * 0 unless on (pod) {unknown})"


def share(part: str, whole: str, zero: str = ZERO) -> str:
    """Part of a whole, both without labels; 0 where there is no whole."""
    return f"(({part}) or {ZERO}) / (({whole}) > 0) or {zero}"


def quantile(q: float, metric: str, labels: str = SERVICE, zero: str = ZERO) -> str:
    """Of a histogram; 0 where nothing was observed."""
    return f"(histogram_quantile({q}, sum by (le) ({rate(metric + '_bucket', labels)})) >= 0) or {zero}"


def quantile_by(label: str, q: float, metric: str, labels: str = SERVICE) -> str:
    """The same by a label."""
    return or_none(f"histogram_quantile({q}, sum by (le, {label}) ({rate(metric + '_bucket', labels)})) >= 0", label)
