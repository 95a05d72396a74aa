{{/* How a ServiceMonitor or PodMonitor scrapes. Takes its values. */}}
{{- define "fastapi-service.scrape" -}}
port: management
path: {{ .path | quote }}
interval: {{ .interval | quote }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . | quote }}
{{- end }}
{{- with .relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Name of a dashboard's objects. Takes (list $ path). */}}
{{- define "fastapi-service.dashboardName" -}}
{{- $file := last . | base | trimSuffix ".json" | lower | replace "_" "-" -}}
{{- include "fastapi-service.suffixedName" (list (first .) (printf "dashboard-%s" $file)) -}}
{{- end -}}
