{{/* Value of app.kubernetes.io/name. */}}
{{- define "fastapi-service.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Name of the release's main objects: the release's name, and the chart's where the former lacks it. */}}
{{- define "fastapi-service.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- .Values.fullnameOverride | default $full | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Full name with a suffix, still within 63 characters. Takes (list $ "suffix"). */}}
{{- define "fastapi-service.suffixedName" -}}
{{- $suffix := printf "-%s" (last .) -}}
{{- include "fastapi-service.fullname" (first .) | trunc (sub 63 (len $suffix) | int) | trimSuffix "-" -}}{{- $suffix -}}
{{- end -}}

{{/*
The job of its metrics: the release's name, or the full name of one of several charts in an umbrella's release. By it the
rules of one select nothing of another.
*/}}
{{- define "fastapi-service.job" -}}
{{- .Chart.IsRoot | ternary .Release.Name (include "fastapi-service.fullname" .) -}}
{{- end -}}

{{/* Name of the HorizontalPodAutoscaler, the chart's own or KEDA's, as rules and dashboards look for it. */}}
{{- define "fastapi-service.autoscalerName" -}}
{{- if .Values.keda.enabled -}}
{{- include "fastapi-service.suffixedName" (list . "keda") -}}
{{- else -}}
{{- include "fastapi-service.fullname" . -}}
{{- end -}}
{{- end -}}

{{- define "fastapi-service.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "fastapi-service.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* ServiceAccount of the migrations, and of jobs before them: a given one, the app's where that exists already, else one of their own. */}}
{{- define "fastapi-service.migrationsAccount" -}}
{{- if .Values.migrations.serviceAccount.name -}}
{{- .Values.migrations.serviceAccount.name -}}
{{- else if .Values.serviceAccount.create -}}
{{- include "fastapi-service.suffixedName" (list . "migrations") -}}
{{- else -}}
{{- include "fastapi-service.serviceAccountName" . -}}
{{- end -}}
{{- end -}}

{{/* Labels by which a component's pods are selected; they never change. Takes (list $ "component"). */}}
{{- define "fastapi-service.selectorLabels" -}}
app.kubernetes.io/name: {{ include "fastapi-service.name" (first .) | quote }}
app.kubernetes.io/instance: {{ (first .).Release.Name | quote }}
app.kubernetes.io/component: {{ last . | quote }}
{{- end -}}

{{/* What runs: the tag, the start of a digest without tag, or the chart's appVersion. */}}
{{- define "fastapi-service.version" -}}
{{- include "fastapi-service.versionOf" (list . .Values.image) -}}
{{- end -}}

{{/* The same of any image. Takes (list $ image). */}}
{{- define "fastapi-service.versionOf" -}}
{{- $image := last . -}}
{{- $digest := $image.digest | default "" | replace ":" "-" | trunc 19 -}}
{{- coalesce $image.tag $digest (first .).Chart.AppVersion | trunc 63 | trimAll "-_." -}}
{{- end -}}

{{/* Labels of an object. Takes (list $ "component"). */}}
{{- define "fastapi-service.labels" -}}
{{- $root := first . -}}
{{- $own := include "fastapi-service.selectorLabels" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/version" (include "fastapi-service.version" $root) -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimAll "-_.") -}}
{{- toYaml (merge $own ($root.Values.commonLabels | default dict)) -}}
{{- end -}}

{{/* Labels of a component's pods. Takes (list $ "component" podLabels). The chart's version is left out, since a new one alone is no reason to replace pods. */}}
{{- define "fastapi-service.podLabels" -}}
{{- $root := first . -}}
{{- $own := include "fastapi-service.selectorLabels" (list $root (index . 1)) | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/version" (include "fastapi-service.version" $root) -}}
{{- toYaml (merge $own (last . | default dict) ($root.Values.commonLabels | default dict)) -}}
{{- end -}}

{{- define "fastapi-service.image" -}}
{{- include "fastapi-service.imageOf" (list . .Values.image) -}}
{{- end -}}

{{/* Any image as Kubernetes writes it. Takes (list $ image). */}}
{{- define "fastapi-service.imageOf" -}}
{{- $image := last . -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default (first .).Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* The variables that the chart owns, because other objects depend on the same values. */}}
{{- define "fastapi-service.ownConfig" -}}
APP_PORT: {{ .Values.ports.http | quote }}
{{- if eq (include "fastapi-service.managementPortName" .) "management" }}
APP_MANAGEMENT_PORT: {{ .Values.ports.management | quote }}
{{- end }}
# The preStop sleep has already waited for the endpoints. These seconds, part of the margin, are for connections that
# are kept alive: the answer to each one's next request tells the client to close it.
APP_DRAIN_DELAY_SECONDS: "2"
APP_DRAIN_TIMEOUT_SECONDS: {{ .Values.drain.timeoutSeconds | quote }}
{{- if include "fastapi-service.secretName" (list . "app") }}
APP_SECRETS_DIR: {{ .Values.secrets.mountPath | quote }}
{{- end }}
{{- end -}}

{{/* All variables of the ConfigMap. */}}
{{- define "fastapi-service.config" -}}
{{- $config := dict -}}
{{- range $name, $value := .Values.config -}}
{{- /* null takes away what another file has set. A number is a float here; only JSON writes it as it was given. */ -}}
{{- if not (kindIs "invalid" $value) -}}
{{- $_ := set $config $name (kindIs "string" $value | ternary $value (toJson $value)) -}}
{{- end -}}
{{- end -}}
{{- toYaml (merge (include "fastapi-service.ownConfig" . | fromYaml) $config) -}}
{{- end -}}

{{- define "fastapi-service.volumeMounts" -}}
- name: tmp
  mountPath: /tmp
{{- if include "fastapi-service.secretName" (list . "app") }}
- name: secrets
  mountPath: {{ .Values.secrets.mountPath | quote }}
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Volumes of a component's pods. Takes (list $ "component"). */}}
{{- define "fastapi-service.volumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: {{ (first .).Values.tmp.sizeLimit | quote }}
{{- with include "fastapi-service.secretName" . }}
- name: secrets
  secret:
    secretName: {{ . | quote }}
    defaultMode: 0440
{{- end }}
{{- with (first .).Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The objects of extraObjects with their templates rendered, as JSON: where each stands, and the object. */}}
{{- define "fastapi-service.extraObjects" -}}
{{- $objects := list -}}
{{- range $i, $given := .Values.extraObjects -}}
{{- $text := tpl (kindIs "string" $given | ternary $given (toYaml $given)) $ -}}
{{- range $document := regexSplit "(?m)^---.*$" $text -1 -}}
{{- with fromYaml $document -}}
{{- $objects = append $objects (dict "where" (printf "extraObjects[%d]" $i) "object" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $objects -}}
{{- end -}}
