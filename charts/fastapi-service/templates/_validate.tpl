{{/* Refuses values that cannot work, all at once. */}}
{{- define "fastapi-service.validate" -}}
{{- with include "fastapi-service.mistakes" . | splitList "\n" | compact -}}
{{- fail (printf "these values cannot work:\n  - %s\n" (join "\n  - " .)) -}}
{{- end -}}
{{- end -}}

{{/* One line a mistake that no schema can see, or explain: the value, what is wrong, what to write instead. */}}
{{- define "fastapi-service.mistakes" -}}
{{- include "fastapi-service.imageMistakes" . }}
{{ include "fastapi-service.environmentMistakes" . }}
{{ include "fastapi-service.scalingMistakes" . }}
{{ include "fastapi-service.podMistakes" . }}
{{ include "fastapi-service.ingressMistakes" . }}
{{- end -}}

{{- define "fastapi-service.imageMistakes" -}}
{{- with .Values.image }}
{{- if not .repository }}
image.repository is empty: name the image to run, such as registry.example.com/team/app
{{- else if regexMatch "@|:[^/]*$" .repository }}
image.repository {{ .repository | quote }} holds a tag or digest: write it as image.tag or image.digest
{{- end }}
{{- if and .digest (not (regexMatch "^sha256:[0-9a-f]{64}$" .digest)) }}
image.digest {{ .digest | quote }} is no digest: write sha256: and its 64 hexadecimal digits
{{- end }}
{{- end }}
{{- end -}}

{{- define "fastapi-service.environmentMistakes" -}}
{{- $own := include "fastapi-service.ownConfig" . | fromYaml }}
{{- $config := include "fastapi-service.config" . | fromYaml }}
{{- $owners := dict
  "APP_PORT" "ports.http"
  "APP_MANAGEMENT_PORT" "ports.management"
  "APP_DRAIN_DELAY_SECONDS" "drain.endpointDelaySeconds"
  "APP_DRAIN_TIMEOUT_SECONDS" "drain.timeoutSeconds"
  "APP_SECRETS_DIR" "secrets.mountPath" }}
{{- range $name, $_ := .Values.config }}
{{- if not (regexMatch "^[A-Za-z_][A-Za-z0-9_]*$" $name) }}
config.{{ $name }} is no environment variable: write letters, digits and _ alone
{{- else if hasKey $own $name }}
config.{{ $name }} is set by the chart: set {{ get $owners $name }} instead
{{- end }}
{{- end }}
{{- range .Values.env }}
{{- if hasKey $own .name }}
env has {{ .name }}, which is set by the chart: set {{ get $owners .name }} instead
{{- else if hasKey $config .name }}
env has {{ .name }}, which the ConfigMap has already: set config.{{ .name }} instead
{{- end }}
{{- end }}
{{- with .Values.migrations }}
{{- if and .enabled (not .command) (not .args) }}
migrations.args is empty, so the Job would start the server and never end: write the arguments that migrate, such as [migrate]
{{- end }}
{{- end }}
{{- end -}}

{{- define "fastapi-service.scalingMistakes" -}}
{{- $requests := dig "requests" dict (.Values.resources | default dict) }}
{{- $fewest := .Values.autoscaling.enabled | ternary .Values.autoscaling.minReplicas .Values.replicas | int }}
{{- with .Values.autoscaling }}
{{- if .enabled }}
{{- if gt (int .minReplicas) (int .maxReplicas) }}
autoscaling.minReplicas {{ .minReplicas }} is above autoscaling.maxReplicas {{ .maxReplicas }}: lower the one or raise the other
{{- end }}
{{- if not (or .targetCPUUtilizationPercentage .targetMemoryUtilizationPercentage .metrics) }}
autoscaling has no metric to follow: set autoscaling.targetCPUUtilizationPercentage, or autoscaling.enabled to false
{{- end }}
{{- if and .targetCPUUtilizationPercentage (not (hasKey $requests "cpu")) }}
autoscaling.targetCPUUtilizationPercentage is a percentage of the CPU request, and there is none: set resources.requests.cpu
{{- end }}
{{- if and .targetMemoryUtilizationPercentage (not (hasKey $requests "memory")) }}
autoscaling.targetMemoryUtilizationPercentage is a percentage of the memory request, and there is none: set resources.requests.memory
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.podDisruptionBudget }}
{{- if .enabled }}
{{- $budget := toString .maxUnavailable }}
{{- $pods := int .maxUnavailable }}
{{- if hasSuffix "%" $budget }}
{{- /* Kubernetes rounds up too. */}}
{{- $pods = divf (mulf (trimSuffix "%" $budget) $fewest) 100 | ceil | int }}
{{- end }}
{{- if regexMatch "^0+%?$" $budget }}
podDisruptionBudget.maxUnavailable {{ $budget }} stops every node drain: write at least 1
{{- else if and (gt $fewest 1) (ge $pods $fewest) }}
podDisruptionBudget.maxUnavailable {{ $budget }} lets a node drain take all {{ $fewest }} pods at once: write at most {{ sub $fewest 1 }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.rollingUpdate }}
{{- if and (regexMatch "^0+%?$" (toString .maxUnavailable)) (regexMatch "^0+%?$" (toString .maxSurge)) }}
rollingUpdate.maxUnavailable and rollingUpdate.maxSurge are both zero, so no rollout could begin: set rollingUpdate.maxSurge to at least 1
{{- end }}
{{- end }}
{{- end -}}

{{- define "fastapi-service.podMistakes" -}}
{{- if eq (int .Values.ports.http) (int .Values.ports.management) }}
ports.http and ports.management are both {{ .Values.ports.http }}, which would make probes and metrics public: use two ports
{{- end }}
{{- if not (regexMatch "^[1-9][0-9]*(ms|s|m)$" .Values.serviceMonitor.interval) }}
serviceMonitor.interval {{ .Values.serviceMonitor.interval | quote }} is no duration: write a number and ms, s or m, such as 15s
{{- end }}
{{- $own := list
  "app.kubernetes.io/name"
  "app.kubernetes.io/instance"
  "app.kubernetes.io/component"
  "app.kubernetes.io/version"
  "app.kubernetes.io/managed-by"
  "helm.sh/chart" }}
{{- $given := dict
  "commonLabels" .Values.commonLabels
  "podLabels" .Values.podLabels
  "migrations.podLabels" .Values.migrations.podLabels
  "serviceMonitor.labels" .Values.serviceMonitor.labels }}
{{- range $value, $labels := $given }}
{{- range $label, $_ := $labels }}
{{- if has $label $own }}
{{ $value }} has {{ $label }}, by which the chart finds its objects: use a label of your own
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "fastapi-service.ingressMistakes" -}}
{{- with .Values.ingress }}
{{- if .enabled }}
{{- $hosts := list }}
{{- range .hosts }}
{{- if not (regexMatch "^([*][.])?[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" .host) }}
ingress.hosts has {{ .host | quote }}, which is no host: write a name such as links.example.com or *.example.com
{{- else if has .host $hosts }}
ingress.hosts has {{ .host }} twice: put its paths together
{{- end }}
{{- $hosts = append $hosts .host }}
{{- else }}
ingress.hosts is empty: name a host, such as [{host: links.example.com}], or set ingress.enabled to false
{{- end }}
{{- range $i, $tls := .tls }}
{{- if not .secretName }}
ingress.tls[{{ $i }}] has no secretName: name the Secret that holds the certificate
{{- end }}
{{- range .hosts }}
{{- if not (has . $hosts) }}
ingress.tls[{{ $i }}] is for {{ . }}, which is not among ingress.hosts: add it there or remove it here
{{- end }}
{{- else }}
ingress.tls[{{ $i }}] has no hosts: list the hosts that its certificate is for
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
