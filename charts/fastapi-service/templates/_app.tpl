{{/*
What runs of the newest version: of the canary where there is one, else of the app. Puts the root, with its image and
config in place of the app's, into a dict. Takes (list $ dict).
*/}}
{{- define "fastapi-service.newest" -}}
{{- $values := (first .).Values -}}
{{- if $values.canary.enabled -}}
{{- $canary := $values.canary -}}
{{- $own := dict
  "repository" ($canary.image.repository | default $values.image.repository)
  "tag" $canary.image.tag "digest" $canary.image.digest -}}
{{- $image := merge $own (omit $values.image "repository" "tag" "digest") -}}
{{- $values = omit $values "image" "config" -}}
{{- $_ := set $values "image" $image -}}
{{- $_ = set $values "config" (kindIs "map" $canary.config | ternary $canary.config (first .).Values.config) -}}
{{- end -}}
{{- range $key, $part := first . }}{{ $_ := set (last $) $key $part }}{{ end -}}
{{- $_ := set (last .) "Values" $values -}}
{{- end -}}

{{/* What the objects of one of the versions are called. Takes (list $ "component"), which is app or canary. */}}
{{- define "fastapi-service.versionName" -}}
{{- if eq (last .) "app" -}}
{{- include "fastapi-service.fullname" (first .) -}}
{{- else -}}
{{- include "fastapi-service.suffixedName" . -}}
{{- end -}}
{{- end -}}

{{/* The pods that serve users, of one of the versions. Takes (list $ "component"), which is app or canary. */}}
{{- define "fastapi-service.appTemplate" -}}
{{- $root := first . -}}
{{- $component := last . -}}
{{- with $root -}}
metadata:
  labels:
    {{- include "fastapi-service.podLabels" (list . $component .Values.podLabels) | nindent 4 }}
  annotations:
    checksum/config: {{ include "fastapi-service.config" . | sha256sum }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- include "fastapi-service.podIdentity" (list . (include "fastapi-service.serviceAccountName" .) .Values.serviceAccount.automountToken) | trim | nindent 2 }}
  terminationGracePeriodSeconds: {{ add .Values.drain.endpointDelaySeconds .Values.drain.timeoutSeconds 5 }}
  {{- with include "fastapi-service.podSettings" . | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with .Values.initContainers }}
  initContainers:
    {{- include "fastapi-service.containers" (list $root .) | nindent 4 }}
  {{- end }}
  containers:
    - name: app
      image: {{ include "fastapi-service.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy | quote }}
      {{- with include "fastapi-service.commandLine" .Values | trim }}
      {{- . | nindent 6 }}
      {{- end }}
      ports:
        - name: http
          containerPort: {{ .Values.ports.http }}
        {{- if eq (include "fastapi-service.managementPortName" .) "management" }}
        - name: management
          containerPort: {{ .Values.ports.management }}
        {{- end }}
        {{- range .Values.extraPorts }}
        - name: {{ .name | quote }}
          containerPort: {{ .containerPort }}
          protocol: {{ .protocol | default "TCP" }}
        {{- end }}
      envFrom:
        - configMapRef:
            name: {{ include "fastapi-service.versionName" $ | quote }}
        {{- with .Values.envFrom }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with include "fastapi-service.env" (list . "app") }}
      env:
        {{- . | nindent 8 }}
      {{- end }}
      {{- range $probe := list "startup" "readiness" "liveness" }}
      {{- with index $root.Values.probes $probe }}
      {{ $probe }}Probe:
        {{- include "fastapi-service.probeHandler" (list $root $probe) | nindent 8 }}
        periodSeconds: {{ .periodSeconds }}
        timeoutSeconds: {{ .timeoutSeconds }}
        failureThreshold: {{ .failureThreshold }}
      {{- end }}
      {{- end }}
      {{- with include "fastapi-service.lifecycle" . | fromYaml }}
      lifecycle:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- include "fastapi-service.containerBounds" (list . .Values.resources) | nindent 6 }}
        {{- with .Values.persistence }}
        {{- if .enabled }}
        - name: data
          mountPath: {{ .mountPath | quote }}
          {{- with .subPath }}
          subPath: {{ . | quote }}
          {{- end }}
        {{- end }}
        {{- end }}
      {{- with include "fastapi-service.containerSpec" . | fromYaml }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    {{- with .Values.extraContainers }}
    {{- include "fastapi-service.containers" (list $root .) | nindent 4 }}
    {{- end }}
  volumes:
    {{- include "fastapi-service.volumes" (list . "app") | nindent 4 }}
    {{- if .Values.persistence.enabled }}
    - name: data
      persistentVolumeClaim:
        claimName: {{ .Values.persistence.existingClaim | default (include "fastapi-service.fullname" .) | quote }}
        {{- if eq .Values.persistence.accessMode "ReadOnlyMany" }}
        readOnly: true
        {{- end }}
    {{- end }}
  {{- range $part := list (include "fastapi-service.podSpread" (list . $component)) (include "fastapi-service.podNodes" .) }}
  {{- with trim $part }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- end }}
  {{- with include "fastapi-service.affinity" (list . $component) }}
  affinity:
    {{- . | nindent 4 }}
  {{- end }}
  {{- with omit (.Values.podSpec | default dict) "containers" }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
{{- end -}}
