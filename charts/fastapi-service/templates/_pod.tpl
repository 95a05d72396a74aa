{{/* What the pods of every component have before their containers. Takes (list $ "service account" mountsToken). */}}
{{- define "fastapi-service.podIdentity" -}}
{{- $values := (first .).Values -}}
{{- with $values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
serviceAccountName: {{ index . 1 | quote }}
automountServiceAccountToken: {{ last . }}
enableServiceLinks: false
{{- with $values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* How they run, and resolve names. */}}
{{- define "fastapi-service.podSettings" -}}
{{- with .Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.dnsPolicy }}
dnsPolicy: {{ . | quote }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.runtimeClassName }}
runtimeClassName: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* On which nodes they run, whoever else is there. */}}
{{- define "fastapi-service.podNodes" -}}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Affinity of pods that serve nobody: the rest of the given one is about those that do. */}}
{{- define "fastapi-service.nodeAffinity" -}}
{{- with dig "nodeAffinity" dict (.Values.affinity | default dict) }}
affinity:
  nodeAffinity:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- end -}}

{{/*
Spread of a component's pods, each revision by itself; a constraint with a selector of its own is the app's alone. Takes
(list $ "component").
*/}}
{{- define "fastapi-service.podSpread" -}}
{{- $constraints := list -}}
{{- range (first .).Values.topologySpreadConstraints -}}
{{- if or (eq (last $) "app") (not (hasKey . "labelSelector")) }}{{ $constraints = append $constraints . }}{{ end -}}
{{- end -}}
{{- with $constraints }}
topologySpreadConstraints:
  {{- $selector := dict "matchLabels" (include "fastapi-service.selectorLabels" $ | fromYaml) }}
  {{- $defaults := dict "labelSelector" $selector "matchLabelKeys" (list "pod-template-hash") }}
  {{- range . }}
  - {{ merge (deepCopy .) (hasKey . "labelSelector" | ternary dict (deepCopy $defaults)) | toYaml | nindent 4 | trim }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* What a container runs in place of the image's own. Takes a dict with command and args. */}}
{{- define "fastapi-service.commandLine" -}}
{{- with .command }}
command:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .args }}
args:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Bounds of a container, and where it writes. Takes (list $ resources). */}}
{{- define "fastapi-service.containerBounds" -}}
terminationMessagePolicy: FallbackToLogsOnError
{{- with last . }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with (first .).Values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  {{- include "fastapi-service.volumeMounts" (first .) | nindent 2 }}
{{- end -}}

{{/*
Variables of a container that runs before the release's own objects exist, so without its ConfigMap. Its own win over the
app's. Takes (list $ env).
*/}}
{{- define "fastapi-service.inlineEnv" -}}
{{- $own := list }}
{{- range last . }}{{ $own = append $own .name }}{{ end }}
{{- /* Unlike a ConfigMap's, a value written here would have its $(NAME) expanded. */}}
{{- range $name, $value := include "fastapi-service.config" (first .) | fromYaml }}
{{- if not (has $name $own) }}
- name: {{ $name | quote }}
  value: {{ $value | replace "$(" "$$(" | quote }}
{{- end }}
{{- end }}
{{- range include "fastapi-service.env" (list (first .) "migrations") | fromYamlArray }}
{{- if not (has .name $own) }}
{{ list . | toYaml }}
{{- end }}
{{- end }}
{{- with last . }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Of a Job: which end of a pod is no attempt. */}}
{{- define "fastapi-service.podFailurePolicy" -}}
# A drained node is no failed attempt.
podFailurePolicy:
  rules:
    - action: Ignore
      onPodConditions:
        - type: DisruptionTarget
          status: "True"
{{- end -}}
