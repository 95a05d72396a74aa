{{/* A pod that makes one request. Takes (list $ name arguments caSecret). */}}
{{- define "fastapi-service.testPod" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $arguments := index . 2 -}}
{{- $ca := index . 3 -}}
{{- with $root.Values -}}
apiVersion: v1
kind: Pod
metadata:
  name: {{ include "fastapi-service.suffixedName" (list $root (printf "test-%s" $name)) | quote }}
  labels:
    {{- $labels := include "fastapi-service.labels" (list $root "test") | fromYaml }}
    {{- merge $labels (.tests.podLabels | default dict) | toYaml | nindent 4 }}
  annotations:
    helm.sh/hook: test
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
    {{- with .tests.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  restartPolicy: Never
  {{- with .image.pullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with .podSecurityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ $name | quote }}
      image: {{ .tests.image | default (include "fastapi-service.image" $root) | quote }}
      imagePullPolicy: {{ .image.pullPolicy | quote }}
      command:
        {{- toYaml .tests.command | nindent 8 }}
      args:
        - /checks/check.py
        {{- range $arguments }}
        - {{ . | quote }}
        {{- end }}
      terminationMessagePolicy: FallbackToLogsOnError
      {{- with .tests.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .securityContext }}
      securityContext:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        - name: checks
          mountPath: /checks
          readOnly: true
        {{- if $ca }}
        - name: ca
          mountPath: /run/secrets/ca
          readOnly: true
        {{- end }}
  volumes:
    - name: checks
      configMap:
        name: {{ include "fastapi-service.suffixedName" (list $root "test") | quote }}
    {{- if $ca }}
    - name: ca
      secret:
        secretName: {{ $ca | quote }}
        defaultMode: 0444
        # Never the key beside it.
        items:
          - key: ca.crt
            path: ca.crt
    {{- end }}
  {{- with .nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
{{- end -}}
