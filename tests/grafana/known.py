"""Metrics that are not the service's own, by who has them."""

ALERTS = {"ALERTS", "ALERTS_FOR_STATE", "up"}  # Prometheus itself

# https://github.com/kubernetes/kube-state-metrics/tree/main/docs/metrics/workload
KUBE_STATE_METRICS = {
    *("kube_cronjob_next_schedule_time", "kube_cronjob_spec_suspend", "kube_cronjob_status_active"),
    *("kube_cronjob_status_last_schedule_time", "kube_cronjob_status_last_successful_time"),
    *("kube_job_failed", "kube_job_status_active", "kube_job_status_completion_time", "kube_job_status_start_time"),
    *("kube_deployment_spec_replicas", "kube_deployment_status_replicas_ready"),
    "kube_deployment_status_replicas_updated",
    *("kube_horizontalpodautoscaler_spec_max_replicas", "kube_horizontalpodautoscaler_status_desired_replicas"),
    *("kube_replicaset_created", "kube_replicaset_status_ready_replicas"),
    *("kube_pod_container_resource_limits", "kube_pod_container_resource_requests"),
    *("kube_pod_container_status_last_terminated_reason", "kube_pod_container_status_restarts_total"),
    *("kube_pod_container_status_waiting_reason", "kube_pod_deletion_timestamp"),
    *("kube_pod_start_time", "kube_pod_status_ready_time"),
}

# cAdvisor, and the kubelet's own. https://kubernetes.io/docs/reference/instrumentation/metrics/
KUBELET = {
    *("container_cpu_cfs_periods_total", "container_cpu_cfs_throttled_periods_total"),
    *("container_cpu_usage_seconds_total", "container_memory_working_set_bytes", "prober_probe_total"),
}

# Of a service that counts by another library, as the chart's monitors call it.
RELABELLED = {"http_probes_total"}

# Of the service, but only with a Valkey, or with an address of the issuer's keys.
OPTIONAL = {
    *("valkey_breaker_open", "valkey_calls_total", "valkey_call_duration_seconds_bucket", "jwks_age_seconds"),
}
