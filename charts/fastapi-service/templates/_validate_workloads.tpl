{{/* Of workers, cron jobs and jobs, also of those that are not enabled: what an environment switches on must work there. */}}
{{- define "fastapi-service.workloadMistakes" -}}
{{- $parts := list "app" "canary" "dashboard" "extra" "in-flight" "keda" "management" "migrations" "redirect" "refused" "retry" "test" "tls" }}
{{- $own := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "app.kubernetes.io/version" }}
{{- $seen := dict }}
{{- range $of := list "workers" "cronJobs" "jobs" }}
{{- range $name, $given := get $.Values $of | default dict }}
{{- if kindIs "map" $given }}
{{- $where := printf "%s.%s" $of $name }}
{{- if or (not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name)) (gt (len $name) 30) }}
{{ $where }} names no object and no container: write at most 30 lower-case letters, digits and -, that begin with a letter
{{- else if or (has $name $parts) (hasPrefix "dashboard-" $name) (hasSuffix "-keda" $name) }}
{{ $where }} is called as a part of the chart is: use another name than {{ join ", " $parts }}, dashboard-… and …-keda
{{- else if hasKey $seen $name }}
{{ $where }} is called as {{ get $seen $name }} is, and objects of both would have one name: use another name
{{- end }}
{{- $_ := set $seen $name $where }}
{{- with .image }}
{{- if not .repository }}
{{ $where }}.image.repository is empty: name the image to run, or leave out {{ $where }}.image for that of the app
{{- else if regexMatch "@|:[^/]*$" .repository }}
{{ $where }}.image.repository {{ .repository | quote }} holds a tag or digest: write it as {{ $where }}.image.tag or {{ $where }}.image.digest
{{- else if not (or .tag .digest) }}
{{ $where }}.image has no version: set {{ $where }}.image.tag or {{ $where }}.image.digest
{{- end }}
{{- if and .digest (not (regexMatch "^sha256:[0-9a-f]{64}$" .digest)) }}
{{ $where }}.image.digest {{ .digest | quote }} is no digest: write sha256: and its 64 hexadecimal digits
{{- end }}
{{- else }}
{{- if not (or .command .args) }}
{{ $where }}.args is empty, so it would start the server{{ if ne $of "workers" }} and never end{{ end }}: write what the image is to do, such as [{{ eq $of "workers" | ternary "work" "clean-up" }}]
{{- end }}
{{- end }}
{{- range .initContainers }}
{{- if eq .name $name }}
{{ $where }}.initContainers has a container {{ $name }}, of which the pod has one already: use another name
{{- end }}
{{- end }}
{{- range $label, $_ := .podLabels }}
{{- if has $label $own }}
{{ $where }}.podLabels has {{ $label }}, by which the chart finds its objects: use a label of your own
{{- end }}
{{- end }}
{{ include "fastapi-service.workloadEnvMistakes" (list $ $where .env) }}
{{- if eq $of "workers" }}
{{ include "fastapi-service.workerMistakes" (list $ $where .) }}
{{- else if eq $of "cronJobs" }}
{{ include "fastapi-service.scheduleMistakes" (list $where (toString .schedule)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "fastapi-service.workloadEnvMistakes" -}}
{{- $where := index . 1 }}
{{- $owners := dict
  "APP_PORT" "ports.http"
  "APP_MANAGEMENT_PORT" "ports.management"
  "APP_DRAIN_TIMEOUT_SECONDS" (printf "%s.drainSeconds" $where)
  "APP_SECRETS_DIR" "secrets.mountPath" }}
{{- $seen := list }}
{{- range last . }}
{{- if hasKey $owners .name }}
{{ $where }}.env has {{ .name }}, which is set by the chart: set {{ get $owners .name }} instead
{{- else if has .name $seen }}
{{ $where }}.env has {{ .name }} twice: write it once
{{- end }}
{{- $seen = append $seen .name }}
{{- end }}
{{- end -}}

{{- define "fastapi-service.workerMistakes" -}}
{{- $root := first . }}
{{- $where := index . 1 }}
{{- $worker := last . }}
{{- with $worker }}
{{- if and .autoscaling .keda }}
{{ $where }}.autoscaling and {{ $where }}.keda would pull at the number of pods from two sides: keep one, and set the other to null
{{- end }}
{{- range $scaler := list "autoscaling" "keda" }}
{{- with get $worker $scaler }}
{{- if gt (int .minReplicas) (int .maxReplicas) }}
{{ $where }}.{{ $scaler }}.minReplicas {{ .minReplicas }} is above its maxReplicas {{ .maxReplicas }}: lower the one or raise the other
{{- end }}
{{- end }}
{{- end }}
{{- if .autoscaling }}
{{- $resources := hasKey . "resources" | ternary .resources $root.Values.resources | default dict }}
{{- if not (hasKey ($resources.requests | default dict) "cpu") }}
{{ $where }}.autoscaling follows a percentage of the CPU request, and there is none: set {{ $where }}.resources.requests.cpu
{{- end }}
{{- end }}
{{- with .keda }}
{{- $remote := false }}
{{- range .triggers }}{{ $remote = or $remote (not (has .type (list "cpu" "memory"))) }}{{ end }}
{{- if not (or $remote .minReplicas) }}
{{ $where }}.keda has triggers that ask the pods alone, and without pods nothing would start one: set {{ $where }}.keda.minReplicas to at least 1
{{- end }}
{{- end }}
{{- with dig "maxUnavailable" "" (.disruption | default dict) | toString }}
{{- if regexMatch "^0+%?$" . }}
{{ $where }}.disruption.maxUnavailable {{ . }} stops every node drain: write at least 1
{{- end }}
{{- end }}
{{- if and .metrics $root.Values.networkPolicy.enabled (not $root.Values.networkPolicy.ingress.management) }}
{{ $where }}.metrics could not be read, as networkPolicy.ingress.management is empty: name Prometheus's pods, such as [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]
{{- end }}
{{- range $name, $probe := .probes }}
{{- if kindIs "map" $probe }}
{{- $at := printf "%s.probes.%s" $where $name }}
{{- $ways := list }}
{{- range $way := list "exec" "grpc" "httpGet" "tcpSocket" }}
{{- if kindIs "map" (get $probe $way) }}{{ $ways = append $ways (printf "%s.%s" $at $way) }}{{ end }}
{{- end }}
{{- $path := hasKey $probe "path" | ternary $probe.path (get $root.Values.probes $name).path }}
{{- if gt (len $ways) 1 }}
{{ join " and " $ways }} are ways for one probe to ask: set one of them, and the others to null
{{- else if not (or $path (dig "path" "" ($probe.httpGet | default dict)) (and $ways (not (kindIs "map" $probe.httpGet)))) }}
{{ $at }} asks for no path: set {{ $at }}.path, {{ $at }}.exec, {{ $at }}.grpc or {{ $at }}.tcpSocket
{{- end }}
{{- range $way, $request := pick $probe "httpGet" "tcpSocket" }}
{{- if eq (dig "port" "" ($request | default dict) | toString) "http" }}
{{ $at }}.{{ $way }}.port http is where users are served, and a worker serves none: write management or a number
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Takes (list "cronJobs.name" schedule). */}}
{{- define "fastapi-service.scheduleMistakes" -}}
{{- $where := first . }}
{{- $schedule := last . }}
{{- $fields := regexSplit " +" (trim $schedule) -1 }}
{{- if contains "TZ=" $schedule }}
{{ $where }}.schedule {{ $schedule | quote }} has a time zone in it: set {{ $where }}.timeZone
{{- else if not (regexMatch "^(@(yearly|annually|monthly|weekly|daily|midnight|hourly)|[^ @]+( +[^ ]+){4})$" (trim $schedule)) }}
{{ $where }}.schedule {{ $schedule | quote }} is no schedule: write minute, hour, day, month and day of the week, such as "0 3 * * *"
{{- else if eq (len $fields) 5 }}
{{- $days := index $fields 2 }}
{{- $months := include "fastapi-service.monthNumbers" (index $fields 3) }}
{{- $numbers := "^([0-9]{1,2}(-[0-9]{1,2})?(/[0-9]{1,2})?(,|$))+$" }}
{{- if and (regexMatch $numbers $days) (regexMatch $numbers $months) (has (index $fields 4) (list "*" "?")) }}
{{- $first := 99 }}
{{- range splitList "," $days }}
{{- $first = min $first (atoi (regexFind "^[0-9]+" .)) }}
{{- end }}
{{- $longest := 0 }}
{{- range splitList "," $months }}
{{- $longest = max $longest (include "fastapi-service.longestMonth" .) }}
{{- end }}
{{- if gt $first $longest }}
{{ $where }}.schedule {{ $schedule | quote }} is for a day that never comes: those months have {{ $longest }} days at most
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Takes the field of months of a schedule; JAN becomes 1. */}}
{{- define "fastapi-service.monthNumbers" -}}
{{- $field := lower . }}
{{- range $index, $name := list "jan" "feb" "mar" "apr" "may" "jun" "jul" "aug" "sep" "oct" "nov" "dec" }}
{{- $field = replace $name (add1 $index | toString) $field }}
{{- end }}
{{- $field }}
{{- end -}}

{{/* Takes one item of that field: a month, a range such as 1-6, or either with a step, such as 1-6/2. Its longest month's days. */}}
{{- define "fastapi-service.longestMonth" -}}
{{- $range := splitList "-" (regexReplaceAll "/.*" . "") }}
{{- $step := regexFind "[0-9]+$" (regexFind "/.*" .) | default "1" }}
{{- $last := atoi (last $range) }}
{{- if and (contains "/" .) (eq (len $range) 1) }}
{{- $last = 12 }}
{{- end }}
{{- $longest := 0 }}
{{- range untilStep (atoi (first $range)) (int (add1 $last)) (atoi $step) }}
{{- $longest = max $longest (get (dict "2" 29 "4" 30 "6" 30 "9" 30 "11" 30) (toString .) | default 31) }}
{{- end }}
{{- $longest }}
{{- end -}}
