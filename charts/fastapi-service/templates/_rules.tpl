{{/*
The groups of rules made from the files in rules/. Those are plain rules but for their `<<name>>`: Prometheus's own
braces would have to be escaped in a template.
*/}}
{{- define "fastapi-service.ruleGroups" -}}
{{- $values := .Values.prometheusRule -}}
{{- $words := include "fastapi-service.ruleWords" . | fromYaml -}}
- name: {{ include "fastapi-service.fullname" . }}-slo
  interval: {{ $values.interval | quote }}
  rules:
    {{- include "fastapi-service.rules" (list . "unjudged" $words) | nindent 4 }}
    {{- range $window := include "fastapi-service.sloWindows" . | fromJsonArray }}
    {{- $file := le (include "fastapi-service.seconds" $window | int) 300 | ternary "rates" "ratios" }}
    {{- include "fastapi-service.rules" (list $ $file (merge (dict "window" $window) $words)) | nindent 4 }}
    {{- end }}
    {{- include "fastapi-service.rules" (list . "summary" $words) | nindent 4 }}
    {{- range $window := $values.slo.windows }}
    {{- range $rule := include "fastapi-service.rules" (list $ "burn" (merge (deepCopy $window) $words)) | fromYamlArray }}
    {{- if get (get $values.alerts $rule.alert) "enabled" }}
    {{- include "fastapi-service.alert" (list $rule $window $words) | nindent 4 }}
    {{- end }}
    {{- end }}
    {{- end }}
- name: {{ include "fastapi-service.fullname" . }}-alerts
  interval: {{ $values.interval | quote }}
  rules:
    {{- range $each := include "fastapi-service.workersWords" (list . $words) | fromJsonArray | concat (list $words) }}
    {{- range $rule := include "fastapi-service.rules" (list $ "alerts" $each) | fromYamlArray }}
    {{- $own := get $values.alerts $rule.alert }}
    {{- $meant := has $each.pods ($rule.pods | default (list "app")) }}
    {{- if and $own.enabled $meant (or (not $rule.needs) (get $each $rule.needs)) }}
    {{- include "fastapi-service.alert" (list $rule $own $each) | nindent 4 }}
    {{- end }}
    {{- end }}
    {{- end }}
{{- end -}}

{{/* A file of rules, filled in, without its comments. Takes (list $ name words). */}}
{{- define "fastapi-service.rules" -}}
{{- $text := (first .).Files.Get (printf "rules/%s.yaml" (index . 1)) -}}
{{- include "fastapi-service.fillIn" (list (regexReplaceAll "(?m)^#.*\n" $text "" | trim) (last .)) -}}
{{- end -}}

{{/* An alert with what all alerts have. Takes (list rule own words), of which own holds its severity and `for`. */}}
{{- define "fastapi-service.alert" -}}
{{- $own := index . 1 -}}
{{- $words := last . -}}
{{- $rule := include "fastapi-service.fillIn" (list (omit (first .) "needs" "pods" "values" | toYaml) $own) | fromYaml -}}
{{- $labels := dict "namespace" $words.namespace "job" $words.release "severity" $own.severity -}}
{{- with $words.worker }}{{ $_ := set $labels "worker" . }}{{ end -}}
{{- $runbook := dict "runbook_url" (printf "%s/%s.md" $words.runbooks $rule.alert) -}}
{{- $_ := set $rule "for" (get $own "for") -}}
{{- $_ := set $rule "labels" (merge $labels (get $rule "labels" | default dict)) -}}
{{- $_ := set $rule "annotations" (merge $runbook $rule.annotations) -}}
{{- list $rule | toYaml -}}
{{- end -}}

{{/* A text with each `<<name>>` replaced by the word of that name. Takes (list text words). */}}
{{- define "fastapi-service.fillIn" -}}
{{- $text := first . -}}
{{- range $name, $word := last . -}}
{{- $text = replace (printf "<<%s>>" $name) (toString $word) $text -}}
{{- end -}}
{{- $text -}}
{{- end -}}

{{/* The words that all rules share. Series are chosen so that no two releases share one. */}}
{{- define "fastapi-service.ruleWords" -}}
{{- $values := .Values.prometheusRule -}}
{{- $name := include "fastapi-service.fullname" . -}}
{{- $job := include "fastapi-service.job" . -}}
{{- $namespace := printf "namespace=%q" .Release.Namespace -}}
{{- $hosts := list -}}
{{- range include "fastapi-service.hosts" . | fromJsonArray -}}
{{- $wildcard := regexReplaceAll "^[^.]+" . "*" -}}
{{- $hosts = append $hosts . | concat (contains "." . | ternary (list $wildcard) list) -}}
{{- end -}}
{{- $anyHost := $hosts | uniq | sortAlpha | join "|" | replace "." "[.]" | replace "*" "[*]" -}}
{{- $threshold := toString $values.slo.latency.threshold -}}
{{- /* What OpenTelemetry, of today and before, starlette_exporter and many others call what they count. */ -}}
{{- $others := "http_server_(request_)?duration_(milli)?seconds_count|starlette_request_duration_seconds_count|http_requests_total" -}}
{{- $measured := list $job -}}
{{- $cronJobs := list -}}
{{- $jobs := list -}}
{{- range include "fastapi-service.workloads" . | fromJsonArray -}}
{{- if and (eq .of "workers") .metrics }}{{ $measured = append $measured (include "fastapi-service.workloadJob" (list $ .)) }}{{ end -}}
{{- if eq .of "cronJobs" }}{{ $cronJobs = append $cronJobs .object }}{{ $jobs = append $jobs (printf "%s-[0-9]+" .object) }}{{ end -}}
{{- if eq .of "jobs" }}{{ $jobs = append $jobs .object }}{{ end -}}
{{- end -}}
{{- $words := dict
  "pods" "app"
  "namespace" .Release.Namespace
  "release" $job
  "job" $job
  "service" (printf "%s,job=%q" $namespace $job)
  "deployment" (printf "%s,deployment=%q" $namespace $name)
  "containers" (include "fastapi-service.containersOf" (list . "app" $name))
  "measured" "true"
  "hasTasks" (or (eq .Values.metrics.profile "own") (gt (len $measured) 1) | ternary "true" "")
  "queue" (printf "%s,job=~%q" $namespace (join "|" $measured))
  "hasCronJobs" ($cronJobs | empty | ternary "" "true")
  "cronJobs" (printf "%s,cronjob=~%q" $namespace (join "|" $cronJobs))
  "hasJobs" ($jobs | empty | ternary "" "true")
  "jobs" (printf "%s,job_name=~%q" $namespace (join "|" $jobs))
  "autoscaler" (printf "%s,horizontalpodautoscaler=%q" $namespace (include "fastapi-service.autoscalerName" .))
  "migrations" (printf "%s,job_name=%q" $namespace (include "fastapi-service.suffixedName" (list . "migrations")))
  "certificate" $name
  "hosts" ($hosts | empty | ternary "" (printf "(.*,)?(%s)(,.*)?" $anyHost))
  "names" (include "fastapi-service.hosts" . | fromJsonArray | join ", ")
  "availability" $values.slo.availability.objective
  "availabilityRatio" (divf $values.slo.availability.objective 100)
  "availabilityBudget" (subf 1 (divf $values.slo.availability.objective 100))
  "latency" $values.slo.latency.objective
  "latencyRatio" (divf $values.slo.latency.objective 100)
  "latencyBudget" (subf 1 (divf $values.slo.latency.objective 100))
  "threshold" $threshold
  "bucket" (contains "." $threshold | ternary (replace "." "[.]" $threshold) (printf "%s([.]0)?" $threshold))
  "others" $others
  "period" $values.slo.period
  "minimumErrors" $values.slo.minimumErrors
  "intervalSeconds" (include "fastapi-service.seconds" $values.interval)
  "runbooks" (trimSuffix "/" $values.runbookUrl)
  "dashboards" (printf "%s/d/%s" (trimSuffix "/" $values.dashboardUrl) (include "fastapi-service.alertsDashboardPrefix" .))
  "overview" "overview"
  "runtime" "runtime"
  "query" (printf "?var-namespace=%s&var-job=%s" .Release.Namespace $job) -}}
{{- toJson $words -}}
{{- end -}}

{{/*
The words of each worker, as a JSON list: those of the service, with its own pods in the place of the API's. Takes
(list $ words).
*/}}
{{- define "fastapi-service.workersWords" -}}
{{- $root := first . -}}
{{- $words := last . -}}
{{- $namespace := printf "namespace=%q" $root.Release.Namespace -}}
{{- $all := list -}}
{{- range include "fastapi-service.workloadsOf" (list $root "workers") | fromJsonArray -}}
{{- $job := include "fastapi-service.workloadJob" (list $root .) -}}
{{- $autoscaler := .keda | empty | ternary .object (include "fastapi-service.suffixedName" (list $root (printf "%s-keda" .name))) -}}
{{- $own := dict
  "pods" "workers"
  "worker" .name
  "job" $job
  "service" (printf "%s,job=%q" $namespace $job)
  "deployment" (printf "%s,deployment=%q" $namespace .object)
  "containers" (include "fastapi-service.containersOf" (list $root .name .object))
  "measured" (.metrics | ternary "true" "")
  "autoscaler" (or .autoscaling .keda | empty | ternary "" (printf "%s,horizontalpodautoscaler=%q" $namespace $autoscaler))
  "overview" "tasks"
  "runtime" "tasks" -}}
{{- $all = append $all (mergeOverwrite (deepCopy $words) $own) -}}
{{- end -}}
{{- toJson $all -}}
{{- end -}}

{{/* Series of the container of a Deployment's pods. Takes (list $ container deployment). */}}
{{- define "fastapi-service.containersOf" -}}
{{- $name := last . -}}
{{- /* Kubernetes cuts the names of pods, and with them the hash of the ReplicaSet. */ -}}
{{- $pods := gt (len $name) 46 | ternary (printf "%s.*" (trunc 46 $name)) (printf "%s-[^-]+-[^-]+" $name) -}}
{{- printf "namespace=%q,container=%q,pod=~%q" (first .).Release.Namespace (index . 1) $pods -}}
{{- end -}}

{{/* The windows over which the errors are recorded, as JSON: those of the dashboards, and of the alerts. */}}
{{- define "fastapi-service.sloWindows" -}}
{{- $windows := list "5m" "1h" "6h" -}}
{{- range .Values.prometheusRule.slo.windows }}{{ $windows = concat $windows (list .short .long) }}{{ end -}}
{{- $windows | uniq | toJson -}}
{{- end -}}

{{/* Seconds of a duration with one unit, such as 30s or 3d. */}}
{{- define "fastapi-service.seconds" -}}
{{- $units := dict "s" 1 "m" 60 "h" 3600 "d" 86400 "w" 604800 -}}
{{- mul (regexFind "^[0-9]+" . | int) (get $units (regexFind "[a-z]$" .)) -}}
{{- end -}}
