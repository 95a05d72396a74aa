{{/*
Workers, cron jobs and jobs that are on, as JSON: the value that each is of (`of`), where it stands (`where`), what its
objects are called (`object`), and what it sets or leaves to its defaults.
*/}}
{{- define "fastapi-service.workloads" -}}
{{- $all := dict
  "command" list "args" list "env" list "initContainers" list "podAnnotations" dict "podLabels" dict
  "image" .Values.image "resources" .Values.resources "drainSeconds" .Values.drain.timeoutSeconds -}}
{{- $attempts := dict "backoffLimit" 2 "activeDeadlineSeconds" 3600 -}}
{{- $defaults := dict
  "workers" (dict "replicas" 1 "probes" dict "metrics" false "strategy" "RollingUpdate" "disruption" (dict "maxUnavailable" 1))
  "cronJobs" (merge (dict
    "timeZone" "Etc/UTC" "concurrencyPolicy" "Forbid" "startingDeadlineSeconds" 600 "suspend" false
    "successfulJobsHistoryLimit" 3 "failedJobsHistoryLimit" 3) $attempts)
  "jobs" (merge (dict "when" "after" "weight" 1 "activeDeadlineSeconds" 240 "ttlSecondsAfterFinished" 86400) $attempts) -}}
{{- $workloads := list -}}
{{- range $of := keys $defaults | sortAlpha -}}
{{- range $name, $given := get $.Values $of | default dict -}}
{{- /* null takes away what another file has set. */ -}}
{{- if and (kindIs "map" $given) (dig "enabled" true ($given | default dict)) -}}
{{- $workload := merge (dict "of" $of "name" $name "where" (printf "%s.%s" $of $name)) (get $defaults $of) -}}
{{- /* Not `merge`, for which 0 and false are no values. */ -}}
{{- range $key, $value := $all }}{{ $_ := set $workload $key $value }}{{ end -}}
{{- range $key, $value := $given }}{{ $_ := set $workload $key $value }}{{ end -}}
{{- $_ := set $workload "object" (include "fastapi-service.workloadName" (list $ $of $name)) -}}
{{- $workloads = append $workloads $workload -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $workloads -}}
{{- end -}}

{{/* Those of one value. Takes (list $ "workers"). */}}
{{- define "fastapi-service.workloadsOf" -}}
{{- $found := list -}}
{{- range include "fastapi-service.workloads" (first .) | fromJsonArray -}}
{{- if eq .of (last $) }}{{ $found = append $found . }}{{ end -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{/* What the objects of one are called: a CronJob's name has 52 characters at most. Takes (list $ "workers" "name"). */}}
{{- define "fastapi-service.workloadName" -}}
{{- $suffix := printf "-%s" (last .) -}}
{{- $longest := eq (index . 1) "cronJobs" | ternary 52 63 -}}
{{- include "fastapi-service.fullname" (first .) | trunc (sub $longest (len $suffix) | max 1 | int) | trimSuffix "-" -}}{{- $suffix -}}
{{- end -}}

{{/* "true" where something runs before the release's own objects exist, or empty. */}}
{{- define "fastapi-service.runsBefore" -}}
{{- $before := .Values.migrations.enabled -}}
{{- range include "fastapi-service.workloadsOf" (list . "jobs") | fromJsonArray -}}
{{- $before = or $before (eq .when "before") -}}
{{- end -}}
{{- if $before }}true{{ end -}}
{{- end -}}

{{/* Labels of one's objects. Takes (list $ workload). */}}
{{- define "fastapi-service.workloadLabels" -}}
{{- $labels := include "fastapi-service.labels" (list (first .) (last .).name) | fromYaml -}}
{{- $_ := set $labels "app.kubernetes.io/version" (include "fastapi-service.versionOf" (list (first .) (last .).image)) -}}
{{- toYaml $labels -}}
{{- end -}}

{{/* The job of its metrics: another than the service's, whose rules must not take its pods for those that serve. Takes (list $ workload). */}}
{{- define "fastapi-service.workloadJob" -}}
{{- printf "%s-%s" (include "fastapi-service.job" (first .)) (last .).name -}}
{{- end -}}

{{/* What a Job's hook is, of one that is of the release and not of a schedule. Takes a workload. */}}
{{- define "fastapi-service.hook" -}}
helm.sh/hook: {{ eq .when "before" | ternary "pre-install,pre-upgrade" "post-install,post-upgrade" }}
{{- end -}}

{{/* Variables that its container gets one by one, its own in place of the app's. Takes (list $ workload). */}}
{{- define "fastapi-service.workloadEnv" -}}
{{- $root := first . -}}
{{- $workload := last . -}}
{{- $env := $workload.env | default list -}}
{{- if ne (int $workload.drainSeconds) (int $root.Values.drain.timeoutSeconds) -}}
{{- $env = prepend $env (dict "name" "APP_DRAIN_TIMEOUT_SECONDS" "value" (toString $workload.drainSeconds)) -}}
{{- end -}}
{{- if eq (toString $workload.when) "before" -}}
{{- include "fastapi-service.inlineEnv" (list $root $env) | trim -}}
{{- else -}}
{{- $names := list -}}
{{- range $env }}{{ $names = append $names .name }}{{ end -}}
{{- $shared := list -}}
{{- range include "fastapi-service.env" (list $root "app") | fromYamlArray -}}
{{- if not (has .name $names) }}{{ $shared = append $shared . }}{{ end -}}
{{- end -}}
{{- with concat $shared $env }}{{ toYaml . }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* Its probes as Kubernetes writes them; what they do not say is as of the app's. Takes (list $ workload). */}}
{{- define "fastapi-service.workloadProbes" -}}
{{- $root := first . -}}
{{- $probes := dict -}}
{{- range $name, $given := (last .).probes | default dict -}}
{{- if kindIs "map" $given -}}
{{- $probe := pick (get $root.Values.probes $name) "path" "periodSeconds" "timeoutSeconds" "failureThreshold" -}}
{{- range $key, $value := $given }}{{ $_ := set $probe $key $value }}{{ end -}}
{{- $handler := include "fastapi-service.handlerOf" (list $root $probe "management") | fromYaml -}}
{{- $times := pick $probe "periodSeconds" "timeoutSeconds" "failureThreshold" -}}
{{- $_ := set $probes (printf "%sProbe" $name) (merge $handler $times) -}}
{{- end -}}
{{- end -}}
{{- with $probes }}{{ toYaml . }}{{ end -}}
{{- end -}}

{{/* Its pods. Takes (list $ workload). */}}
{{- define "fastapi-service.workloadTemplate" -}}
{{- $root := first . -}}
{{- $workload := last . -}}
{{- $worker := eq $workload.of "workers" -}}
{{- $before := eq (toString $workload.when) "before" -}}
{{- $probes := include "fastapi-service.workloadProbes" . -}}
{{- $labels := include "fastapi-service.podLabels" (list $root $workload.name $workload.podLabels) | fromYaml -}}
{{- $_ := set $labels "app.kubernetes.io/version" (include "fastapi-service.versionOf" (list $root $workload.image)) -}}
{{- $annotations := $workload.podAnnotations | default dict -}}
{{- if $worker -}}
{{- $annotations = merge (dict "checksum/config" (include "fastapi-service.config" $root | sha256sum)) $annotations -}}
{{- end -}}
metadata:
  labels:
    {{- toYaml $labels | nindent 4 }}
  {{- with $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- if not $worker }}
  restartPolicy: Never
  {{- end }}
  {{- $account := include (printf "fastapi-service.%s" ($before | ternary "migrationsAccount" "serviceAccountName")) $root }}
  {{- $token := and (not $before) $root.Values.serviceAccount.automountToken }}
  {{- include "fastapi-service.podIdentity" (list $root $account $token) | trim | nindent 2 }}
  terminationGracePeriodSeconds: {{ add $workload.drainSeconds 5 }}
  {{- with include "fastapi-service.podSettings" $root | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with $workload.initContainers }}
  initContainers:
    {{- include "fastapi-service.containers" (list $root .) | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ $workload.name | quote }}
      image: {{ include "fastapi-service.imageOf" (list $root $workload.image) | quote }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy | quote }}
      {{- with include "fastapi-service.commandLine" $workload | trim }}
      {{- . | nindent 6 }}
      {{- end }}
      {{- if or $workload.metrics (contains "port: management" $probes) (contains "grpc:" $probes) }}
      ports:
        - name: management
          containerPort: {{ include "fastapi-service.managementPort" $root }}
      {{- end }}
      {{- $from := $before | ternary list (list (dict "configMapRef" (dict "name" (include "fastapi-service.fullname" $root)))) }}
      {{- with concat $from ($root.Values.envFrom | default list) }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with include "fastapi-service.workloadEnv" . }}
      env:
        {{- . | nindent 8 }}
      {{- end }}
      {{- with $probes }}
      {{- . | nindent 6 }}
      {{- end }}
      {{- include "fastapi-service.containerBounds" (list $root $workload.resources) | nindent 6 }}
  volumes:
    {{- include "fastapi-service.volumes" (list $root ($before | ternary "migrations" "app")) | nindent 4 }}
  {{- $affinity := "" }}
  {{- if $worker }}
  {{- with include "fastapi-service.podSpread" (list $root $workload.name) | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with include "fastapi-service.affinity" (list $root $workload.name) }}
  {{- $affinity = printf "affinity:\n%s" (indent 2 .) }}
  {{- end }}
  {{- else }}
  {{- $affinity = include "fastapi-service.nodeAffinity" $root | trim }}
  {{- end }}
  {{- with include "fastapi-service.podNodes" $root | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with $affinity }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- /* Of the rest what is about pods that are asked for by name, or must be ready for users, is the app's alone. */}}
  {{- with omit ($root.Values.podSpec | default dict) "containers" "hostname" "subdomain" "setHostnameAsFQDN" "readinessGates" }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
