{{- define "fastapi-service.probeMistakes" -}}
{{- range $name, $probe := .Values.probes }}
{{- $ways := list }}
{{- range $way := list "exec" "grpc" "httpGet" "tcpSocket" }}
{{- if kindIs "map" (get $probe $way) }}{{ $ways = append $ways (printf "probes.%s.%s" $name $way) }}{{ end }}
{{- end }}
{{- if gt (len $ways) 1 }}
{{ join " and " $ways }} are ways for one probe to ask: set one of them, and the others to null
{{- else if not (or $probe.path $ways) }}
probes.{{ $name }}.path is empty: write a path that the image answers with 200, or set probes.{{ $name }}.exec, probes.{{ $name }}.grpc or probes.{{ $name }}.tcpSocket
{{- else if and (has (printf "probes.%s.httpGet" $name) $ways) (not (or $probe.path (dig "path" "" ($probe.httpGet | default dict)))) }}
probes.{{ $name }}.httpGet has no path: set probes.{{ $name }}.path
{{- end }}
{{- end }}
{{- end -}}

{{/* Values that would let an internal path be reached all the same. */}}
{{- define "fastapi-service.internalPathMistakes" -}}
{{- $internal := include "fastapi-service.internalPaths" . | fromJsonArray }}
{{- if has "/" .Values.internalPaths }}
internalPaths has /, which is everything: disable ingress and httpRoute instead
{{- end }}
{{- $routed := list }}
{{- if .Values.ingress.enabled }}
{{- range .Values.ingress.hosts }}
{{- range .paths }}{{ $routed = append $routed (list "ingress.hosts" .path) }}{{ end }}
{{- end }}
{{- end }}
{{- if .Values.httpRoute.enabled }}
{{- range .Values.httpRoute.paths }}{{ $routed = append $routed (list "httpRoute.paths" .path) }}{{ end }}
{{- end }}
{{- range $routed | uniq }}
{{- $value := first . }}
{{- $path := last . }}
{{- range $internal }}
{{- if hasPrefix (printf "%s/" .) (printf "%s/" (trimSuffix "/" $path)) }}
{{ $value }} routes {{ $path }}, which is internal: leave it out, or list in internalPaths what is to be refused
{{- end }}
{{- end }}
{{- end }}
{{- if $internal }}
{{- $priority := "traefik.ingress.kubernetes.io/router.priority" }}
{{- if and .Values.ingress.enabled (hasKey (.Values.ingress.annotations | default dict) $priority) }}
ingress.annotations has {{ $priority }}, by which {{ join ", " $internal }} would not win against the other paths: leave it out, or set internalPaths to []
{{- end }}
{{- if and (eq .Values.service.type "LoadBalancer") (kindIs "invalid" .Values.internalPaths) }}
service.type LoadBalancer would make {{ join ", " $internal }} public, as a Service refuses no path: write ClusterIP and enable ingress or httpRoute, use two ports, or set internalPaths to [] if they may be public
{{- end }}
{{- end }}
{{- end -}}
