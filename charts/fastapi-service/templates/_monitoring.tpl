{{/* How a ServiceMonitor or PodMonitor scrapes. Takes (list $ port values), the values its own. */}}
{{- define "fastapi-service.scrape" -}}
{{- /* The label that `jobLabel` names is the whole release's. */ -}}
{{- $job := (first .).Chart.IsRoot | ternary "" (include "fastapi-service.job" (first .)) -}}
{{- include "fastapi-service.scrapeAs" (append . $job) -}}
{{- end -}}

{{/* The same for a job that no label of the targets names. Takes (list $ port values job), the job empty for none. */}}
{{- define "fastapi-service.scrapeAs" -}}
{{- $names := include "fastapi-service.metricRelabelings" (first .) | fromYamlArray -}}
{{- $job := last . | empty | ternary list (list (dict "targetLabel" "job" "replacement" (last .))) -}}
{{- $port := index . 1 -}}
{{- with index . 2 -}}
port: {{ $port }}
path: {{ .path | quote }}
interval: {{ .interval | quote }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . | quote }}
{{- end }}
{{- with concat $job (.relabelings | default list) }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with concat $names (.metricRelabelings | default list) }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* What each profile calls what the rules, the dashboards and the autoscalers read; those of `own` are the normal form. */}}
{{- define "fastapi-service.metricNames" -}}
{{- $own := dict
  "histogram" "http_request_duration_seconds" "counter" "" "inFlight" "http_requests_in_flight"
  "status" "status" "route" "route" "method" "method" "unit" "seconds" -}}
{{- $profiles := dict
  "own" dict
  "instrumentator" (dict "counter" "http_requests_total" "inFlight" "http_requests_inprogress" "route" "handler")
  "otel" (dict
    "histogram" "http_server_request_duration_seconds" "inFlight" "http_server_active_requests"
    "status" "http_response_status_code" "route" "http_route" "method" "http_request_method")
  "starlette_exporter" (dict
    "histogram" "starlette_request_duration_seconds" "inFlight" "starlette_requests_in_progress"
    "status" "status_code" "route" "path")
  "custom" .Values.metrics.custom -}}
{{- mergeOverwrite $own (get $profiles .Values.metrics.profile) | toJson -}}
{{- end -}}

{{/*
Brings the metrics of a profile into the normal form as they are scraped: so that one form is all that anything reads, no
series is kept twice, and exemplars stay. As YAML, a list of relabelings.
*/}}
{{- define "fastapi-service.metricRelabelings" -}}
{{- $names := include "fastapi-service.metricNames" . | fromJson -}}
{{- $histogram := "http_request_duration_seconds" -}}
{{- $rules := list -}}
{{- if ne $names.histogram $histogram -}}
{{- $rules = append $rules (dict
  "sourceLabels" (list "__name__") "regex" (printf "%s(_bucket|_count|_sum)" $names.histogram)
  "targetLabel" "__name__" "replacement" (printf "%s$1" $histogram)) -}}
{{- end -}}
{{- /* A histogram without a status has a counter beside it that has one. */ -}}
{{- with $names.counter -}}
{{- $rules = append $rules (dict
  "sourceLabels" (list "__name__" $names.status) "regex" (printf "%s_count;" $histogram) "action" "drop") -}}
{{- $rules = append $rules (dict
  "sourceLabels" (list "__name__") "regex" . "targetLabel" "__name__" "replacement" (printf "%s_count" $histogram)) -}}
{{- end -}}
{{- range $label := list "status" "route" "method" -}}
{{- $name := get $names $label -}}
{{- /* Prometheus calls a label so that the target has as well. */ -}}
{{- if has $name (list "container" "endpoint" "instance" "job" "namespace" "pod" "service") -}}
{{- $name = printf "exported_%s" $name -}}
{{- end -}}
{{- if ne $name $label -}}
{{- $rules = append $rules (dict
  "sourceLabels" (list "__name__" $name) "regex" (printf "%s_.+;(.+)" $histogram)
  "targetLabel" $label "replacement" "$1") -}}
{{- end -}}
{{- end -}}
{{- if eq $names.unit "milliseconds" -}}
{{- range $bound := .Values.prometheusRule.slo.latency.buckets -}}
{{- $milliseconds := mulf $bound 1000 | toString | replace "." "[.]" -}}
{{- $rules = append $rules (dict
  "sourceLabels" (list "__name__" "le") "regex" (printf "%s_bucket;%s([.]0)?" $histogram $milliseconds)
  "targetLabel" "le" "replacement" (toString $bound)) -}}
{{- end -}}
{{- end -}}
{{- /* A library counts on all paths. What the cluster asks is no user's, but shows that requests are counted. */ -}}
{{- if ne .Values.metrics.profile "own" -}}
{{- $quoted := list -}}
{{- range include "fastapi-service.clusterPaths" . | fromJsonArray }}{{ $quoted = append $quoted (regexQuoteMeta .) }}{{ end -}}
{{- $any := printf "(%s)/?" (join "|" $quoted) -}}
{{- $rules = append $rules (dict
  "sourceLabels" (list "__name__" "route") "regex" (printf "%s_count;%s" $histogram $any)
  "targetLabel" "__name__" "replacement" "http_probes_total") -}}
{{- $rules = append $rules (dict
  "sourceLabels" (list "__name__" "route") "regex" (printf "%s_.+;%s" $histogram $any) "action" "drop") -}}
{{- end -}}
{{- if and $names.inFlight (ne $names.inFlight "http_requests_in_flight") -}}
{{- $rules = append $rules (dict
  "sourceLabels" (list "__name__") "regex" $names.inFlight
  "targetLabel" "__name__" "replacement" "http_requests_in_flight") -}}
{{- end -}}
{{- toYaml $rules -}}
{{- end -}}

{{/* Names of the dashboards, as a JSON list: the chosen ones of the chart, and the release's own. */}}
{{- define "fastapi-service.dashboardNames" -}}
{{- $names := .Values.dashboards.enabled | ternary .Values.dashboards.builtIn list | default list -}}
{{- $own := .Values.dashboards.enabled | ternary .Values.dashboards.extra dict | default dict -}}
{{- concat $names (keys $own | sortAlpha) | uniq | toJson -}}
{{- end -}}

{{/* Name of a dashboard's objects. Takes (list $ name). */}}
{{- define "fastapi-service.dashboardName" -}}
{{- include "fastapi-service.suffixedName" (list (first .) (printf "dashboard-%s" (last .))) -}}
{{- end -}}

{{/* What the UIDs of the dashboards begin with: in an umbrella's release, each chart has some of its own. */}}
{{- define "fastapi-service.dashboardPrefix" -}}
{{- $name := include "fastapi-service.fullname" . -}}
{{- /* A UID has 40 characters at most. */ -}}
{{- $short := gt (len $name) 24 | ternary (printf "%s-%s" ($name | trunc 17) (sha256sum $name | trunc 6)) $name -}}
{{- .Values.dashboards.uidPrefix | default (.Chart.IsRoot | ternary "fastapi" $short) -}}
{{- end -}}

{{/* What the UIDs of those begin with to which the alerts lead: this release's, or another's where it brings none. */}}
{{- define "fastapi-service.alertsDashboardPrefix" -}}
{{- $own := or .Values.dashboards.uidPrefix (and .Values.dashboards.enabled .Values.dashboards.builtIn) -}}
{{- $own | empty | ternary "fastapi" (include "fastapi-service.dashboardPrefix" .) -}}
{{- end -}}

{{/* A dashboard's text. Takes (list $ name). */}}
{{- define "fastapi-service.dashboard" -}}
{{- $root := first . -}}
{{- $name := last . -}}
{{- $prefix := include "fastapi-service.dashboardPrefix" $root -}}
{{- $runbooks := $root.Values.prometheusRule.runbookUrl | trimSuffix "/" | toJson -}}
{{- $text := get ($root.Values.dashboards.extra | default dict) $name | default ($root.Files.Get (printf "dashboards/%s.json" $name)) -}}
{{- $text = $text | trim | replace "\"docs/runbooks\"" $runbooks -}}
{{- if eq $prefix "fastapi" -}}
{{- $text -}}
{{- else -}}
{{- $dashboard := fromJson $text -}}
{{- $uid := $dashboard.uid | default $name | trimPrefix "fastapi-" -}}
{{- $_ := set $dashboard "uid" (printf "%s-%s" $prefix $uid | trunc 40 | trimSuffix "-") -}}
{{- /* Grafana takes no two of one title in one folder. */ -}}
{{- $_ := set $dashboard "title" (printf "%s: %s" (include "fastapi-service.job" $root) $dashboard.title) -}}
{{- toPrettyJson $dashboard -}}
{{- end -}}
{{- end -}}
