{{/* Refuses values that cannot work, all at once. */}}
{{- define "fastapi-service.validate" -}}
{{- /* What is of another chart may be of another type, too: then nothing else can be read. */ -}}
{{- $mistakes := include "fastapi-service.foreignMistakes" . -}}
{{- if not $mistakes }}{{ $mistakes = include "fastapi-service.mistakes" . }}{{ end -}}
{{- with $mistakes | splitList "\n" | compact -}}
{{- fail (printf "these values cannot work:\n  - %s\n" (join "\n  - " .)) -}}
{{- end -}}
{{- end -}}

{{/* One line a mistake that no schema can see, or explain: the value, what is wrong, what to write instead. */}}
{{- define "fastapi-service.mistakes" -}}
{{- include "fastapi-service.nameMistakes" . }}
{{ include "fastapi-service.imageMistakes" . }}
{{ include "fastapi-service.environmentMistakes" . }}
{{ include "fastapi-service.accountMistakes" . }}
{{ include "fastapi-service.secretMistakes" . }}
{{ include "fastapi-service.scalingMistakes" . }}
{{ include "fastapi-service.budgetMistakes" . }}
{{ include "fastapi-service.podMistakes" . }}
{{ include "fastapi-service.lifecycleMistakes" . }}
{{ include "fastapi-service.podSpecMistakes" . }}
{{ include "fastapi-service.portMistakes" . }}
{{ include "fastapi-service.volumeMistakes" . }}
{{ include "fastapi-service.roleMistakes" . }}
{{ include "fastapi-service.probeMistakes" . }}
{{ include "fastapi-service.internalPathMistakes" . }}
{{ include "fastapi-service.serviceMistakes" . }}
{{ include "fastapi-service.moreServiceMistakes" . }}
{{ include "fastapi-service.extraObjectMistakes" . }}
{{ include "fastapi-service.ingressMistakes" . }}
{{ include "fastapi-service.certificateMistakes" . }}
{{ include "fastapi-service.routeMistakes" . }}
{{ include "fastapi-service.canaryMistakes" . }}
{{ include "fastapi-service.networkPolicyMistakes" . }}
{{ include "fastapi-service.monitoringMistakes" . }}
{{ include "fastapi-service.ruleMistakes" . }}
{{ include "fastapi-service.testMistakes" . }}
{{ include "fastapi-service.workloadMistakes" . }}
{{- end -}}

{{- define "fastapi-service.nameMistakes" -}}
{{- $name := include "fastapi-service.fullname" . }}
{{- if and .Chart.IsRoot (hasKey .Values "enabled") }}
enabled is for an umbrella chart, whose dependency has `condition: NAME.enabled`: this is a release of its own, so remove it
{{- else if and (hasKey .Values "enabled") (not .Values.enabled) }}
enabled is false, and nothing reads it: write `condition: {{ .Chart.Name }}.enabled` beside the dependency in the umbrella's Chart.yaml
{{- end }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) }}
the release's objects would be called {{ $name | quote }}, which a Service cannot be: choose a release name, or a fullnameOverride, of lower-case letters, digits and -, that begins with a letter
{{- end }}
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
{{- /* An image that has it serves a second port. */}}
{{- $_ := set $own "APP_MANAGEMENT_PORT" "" }}
{{- range $name, $value := .Values.config }}
{{- if not (regexMatch "^[A-Za-z_][A-Za-z0-9_]*$" $name) }}
config.{{ $name }} is no environment variable: write letters, digits and _ alone
{{- else if hasKey $own $name }}
config.{{ $name }} is set by the chart: set {{ get $owners $name }} instead
{{- else if kindIs "float64" $value }}
{{- if or (ge $value 9007199254740992.0) (le $value -9007199254740992.0) }}
config.{{ $name }} is a number that Helm does not keep exactly: write it in quotes
{{- end }}
{{- end }}
{{- end }}
{{- range .Values.env }}
{{- if hasKey $own .name }}
env has {{ .name }}, which is set by the chart: set {{ get $owners .name }} instead
{{- else if hasKey $config .name }}
env has {{ .name }}, which the ConfigMap has already: set config.{{ .name }} instead
{{- end }}
{{- end }}
{{- range $value, $env := dict "env" .Values.env "migrations.env" .Values.migrations.env }}
{{- $seen := list }}
{{- range $env }}
{{- if has .name $seen }}
{{ $value }} has {{ .name }} twice: write it once
{{- end }}
{{- $seen = append $seen .name }}
{{- end }}
{{- end }}
{{- with .Values.migrations }}
{{- if and .enabled (not .command) (not .args) }}
migrations.args is empty, so the Job would start the server and never end: write the arguments that migrate, such as [migrate]
{{- end }}
{{- end }}
{{- end -}}

{{- define "fastapi-service.accountMistakes" -}}
{{- with .Values.migrations }}
{{- if include "fastapi-service.runsBefore" $ }}
{{- if and .serviceAccount.annotations (or .serviceAccount.name (not $.Values.serviceAccount.create)) }}
migrations.serviceAccount.annotations are for an account that the chart makes, and the migrations run as {{ include "fastapi-service.migrationsAccount" $ }}: annotate that one, or leave migrations.serviceAccount.name empty and set serviceAccount.create to true
{{- end }}
{{- if and $.Values.serviceAccount.create (eq (include "fastapi-service.migrationsAccount" $) (include "fastapi-service.serviceAccountName" $)) }}
the migrations would run as {{ include "fastapi-service.serviceAccountName" $ }}, which a first install makes only after them: give serviceAccount.name another name, or make that account yourself and set serviceAccount.create to false
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "fastapi-service.secretMistakes" -}}
{{- $config := include "fastapi-service.config" . | fromYaml }}
{{- range $name, $_ := .Values.secrets.env }}
{{- if not (regexMatch "^[A-Za-z_][A-Za-z0-9_]*$" $name) }}
secrets.env.{{ $name }} is no environment variable: write letters, digits and _ alone
{{- else if hasKey $config $name }}
secrets.env.{{ $name }} is in the ConfigMap too: remove it here or there
{{- end }}
{{- range $.Values.env }}
{{- if eq .name $name }}
secrets.env.{{ $name }} is in env too: remove it here or there
{{- end }}
{{- end }}
{{- end }}
{{- if and .Values.secrets.env (not (include "fastapi-service.secretName" (list . "app"))) }}
secrets.env has no Secret to read: set secrets.existingSecret, or externalSecret.enabled to true
{{- end }}
{{- with .Values.externalSecret }}
{{- if .enabled }}
{{- if $.Values.secrets.existingSecret }}
secrets.existingSecret and externalSecret.enabled are both set: keep the one for a Secret that exists, the other for one to be made
{{- end }}
{{- if not .storeRef.name }}
externalSecret.storeRef.name is empty: name the {{ .storeRef.kind }} to read
{{- end }}
{{- if not (or .data .dataFrom) }}
externalSecret takes nothing from the store: list externalSecret.data or externalSecret.dataFrom
{{- end }}
{{- if not (regexMatch "^([0-9]+(s|m|h))+$" .refreshInterval) }}
externalSecret.refreshInterval {{ .refreshInterval | quote }} is no duration: write a number and s, m or h, such as 1h
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "fastapi-service.scalingMistakes" -}}
{{- $requests := dig "requests" dict (.Values.resources | default dict) }}
{{- with .Values.autoscaling }}
{{- if .enabled }}
{{- if gt (int .minReplicas) (int .maxReplicas) }}
autoscaling.minReplicas {{ .minReplicas }} is above autoscaling.maxReplicas {{ .maxReplicas }}: lower the one or raise the other
{{- end }}
{{- if not (or .targetCPUUtilizationPercentage .targetMemoryUtilizationPercentage .targetRequestsInFlight .targetRequestsPerSecond .metrics) }}
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
{{- with .Values.keda }}
{{- if .enabled }}
{{- if $.Values.autoscaling.enabled }}
autoscaling.enabled and keda.enabled are both true, and would pull at the number of pods from two sides: set one to false
{{- end }}
{{- if gt (int .minReplicas) (int .maxReplicas) }}
keda.minReplicas {{ .minReplicas }} is above keda.maxReplicas {{ .maxReplicas }}: lower the one or raise the other
{{- end }}
{{- if gt (int .fallback.replicas) (int .maxReplicas) }}
keda.fallback.replicas {{ .fallback.replicas }} is above keda.maxReplicas {{ .maxReplicas }}: lower the one or raise the other
{{- end }}
{{- if not (or .prometheus.serverAddress .triggers) }}
keda has no trigger to follow: set keda.prometheus.serverAddress, or list keda.triggers
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.rollingUpdate }}
{{- if and (regexMatch "^0+%?$" (toString .maxUnavailable)) (regexMatch "^0+%?$" (toString .maxSurge)) }}
rollingUpdate.maxUnavailable and rollingUpdate.maxSurge are both zero, so no rollout could begin: set rollingUpdate.maxSurge to at least 1
{{- end }}
{{- end }}
{{- end -}}

{{/* Pods that a number or percentage stands for, rounded up as Kubernetes does. Takes (list budget pods). */}}
{{- define "fastapi-service.budgetPods" -}}
{{- $budget := toString (first .) -}}
{{- if hasSuffix "%" $budget -}}
{{- divf (mulf (trimSuffix "%" $budget) (last .)) 100 | ceil | int -}}
{{- else -}}
{{- $budget -}}
{{- end -}}
{{- end -}}

{{- define "fastapi-service.budgetMistakes" -}}
{{- $pods := include "fastapi-service.pods" . | fromJson }}
{{- $fewest := int $pods.fewest }}
{{- with .Values.podDisruptionBudget }}
{{- $most := kindIs "invalid" .maxUnavailable | ternary "" (toString .maxUnavailable) }}
{{- $least := kindIs "invalid" .minAvailable | ternary "" (toString .minAvailable) }}
{{- if not .enabled }}
{{- else if and $most $least }}
podDisruptionBudget.maxUnavailable and podDisruptionBudget.minAvailable are both set, and Kubernetes takes one: set the other to null
{{- else if $most }}
{{- /* The fewest pods of which a drain could take more than one. */}}
{{- $several := max 2 $fewest }}
{{- if regexMatch "^0+%?$" $most }}
podDisruptionBudget.maxUnavailable {{ $most }} stops every node drain: write at least 1
{{- else if and (gt (int $pods.most) 1) (ge (include "fastapi-service.budgetPods" (list $most $several) | int) (int $several)) }}
podDisruptionBudget.maxUnavailable {{ $most }} lets a node drain take all {{ $several }} pods at once: write at most {{ sub $several 1 }}
{{- end }}
{{- else if $least }}
{{- if regexMatch "^0+%?$" $least }}
podDisruptionBudget.minAvailable {{ $least }} lets a node drain take all pods at once: write at least 1
{{- else if eq $fewest 1 }}
podDisruptionBudget.minAvailable {{ $least }} stops every node drain while there is a single pod: set it to null and podDisruptionBudget.maxUnavailable to 1
{{- else if and $fewest (ge (include "fastapi-service.budgetPods" (list $least $fewest) | int) $fewest) }}
podDisruptionBudget.minAvailable {{ $least }} stops every node drain while there are {{ $fewest }} pods: write at most {{ sub $fewest 1 }}
{{- end }}
{{- else }}
podDisruptionBudget sets no limit: set podDisruptionBudget.maxUnavailable to 1, or podDisruptionBudget.enabled to false
{{- end }}
{{- end }}
{{- end -}}

{{- define "fastapi-service.podMistakes" -}}
{{- $taken := list "app" }}
{{- range $value, $containers := dict "initContainers" .Values.initContainers "extraContainers" .Values.extraContainers }}
{{- range $containers }}
{{- if has .name $taken }}
{{ $value }} has a container {{ .name }}, of which the pod has one already: use another name
{{- end }}
{{- $taken = append $taken .name }}
{{- end }}
{{- end }}
{{- range .Values.migrations.initContainers }}
{{- if eq .name "migrations" }}
migrations.initContainers has a container migrations, of which the pod has one already: use another name
{{- end }}
{{- end }}
{{- range .Values.extraVolumes }}
{{- if has .name (list "tmp" "secrets") }}
extraVolumes has a volume {{ .name }}, of which the pod has one already: use another name
{{- end }}
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
  "tests.podLabels" .Values.tests.podLabels
  "serviceMonitor.labels" .Values.serviceMonitor.labels
  "podMonitor.labels" .Values.podMonitor.labels
  "prometheusRule.labels" .Values.prometheusRule.labels }}
{{- range $value, $labels := $given }}
{{- range $label, $_ := $labels }}
{{- if has $label $own }}
{{ $value }} has {{ $label }}, by which the chart finds its objects: use a label of your own
{{- end }}
{{- end }}
{{- end }}
{{- $given = dict
  "serviceAccount.annotations" .Values.serviceAccount.annotations
  "migrations.annotations" .Values.migrations.annotations
  "migrations.serviceAccount.annotations" .Values.migrations.serviceAccount.annotations
  "tests.podAnnotations" .Values.tests.podAnnotations }}
{{- range $value, $annotations := $given }}
{{- range $annotation, $_ := $annotations }}
{{- if hasPrefix "helm.sh/hook" $annotation }}
{{ $value }} has {{ $annotation }}, by which the chart says when Helm makes and deletes the object: leave it out
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
