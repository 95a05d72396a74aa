{{/* Port of probes and metrics: that of users where the image has no other. */}}
{{- define "fastapi-service.managementPort" -}}
{{- .Values.ports.management | default .Values.ports.http | int -}}
{{- end -}}

{{/* What the container calls it. */}}
{{- define "fastapi-service.managementPortName" -}}
{{- eq (include "fastapi-service.managementPort" . | int) (int .Values.ports.http) | ternary "http" "management" -}}
{{- end -}}

{{/* Ports of the container, each once, as JSON. */}}
{{- define "fastapi-service.containerPorts" -}}
{{- list (int .Values.ports.http) (include "fastapi-service.managementPort" . | int) | uniq | toJson -}}
{{- end -}}

{{/* Whom a probe asks and how, as Kubernetes writes it. Takes (list $ "readiness"). */}}
{{- define "fastapi-service.probeHandler" -}}
{{- $root := first . -}}
{{- $name := include "fastapi-service.managementPortName" $root -}}
{{- include "fastapi-service.handlerOf" (list $root (get $root.Values.probes (last .)) $name) -}}
{{- end -}}

{{/* The same of any probe. Takes (list $ probe name), the name that of the container's port for probes and metrics. */}}
{{- define "fastapi-service.handlerOf" -}}
{{- $root := first . -}}
{{- $probe := index . 1 -}}
{{- $name := last . -}}
{{- $handler := dict -}}
{{- if kindIs "map" $probe.exec -}}
{{- $handler = dict "exec" $probe.exec -}}
{{- else if kindIs "map" $probe.grpc -}}
{{- $port := include "fastapi-service.managementPort" $root | int -}}
{{- $handler = dict "grpc" (merge (deepCopy $probe.grpc) (dict "port" $port)) -}}
{{- else if kindIs "map" $probe.tcpSocket -}}
{{- $handler = dict "tcpSocket" (merge (deepCopy $probe.tcpSocket) (dict "port" $name)) -}}
{{- else -}}
{{- $request := $probe.httpGet | default dict | deepCopy -}}
{{- $handler = dict "httpGet" (merge $request (dict "path" $probe.path "port" $name)) -}}
{{- end -}}
{{- /* The container has no port of that name where one port does for both. */ -}}
{{- range $kind, $request := $handler -}}
{{- if eq (toString $request.port) "management" }}{{ $_ := set $request "port" $name }}{{ end -}}
{{- end -}}
{{- toYaml $handler -}}
{{- end -}}

{{/* Path that a probe asks for, empty for one that asks for none. Takes (list $ "readiness"). */}}
{{- define "fastapi-service.probePath" -}}
{{- $handler := include "fastapi-service.probeHandler" . | fromYaml -}}
{{- regexReplaceAll "[?].*" (dig "httpGet" "path" "" $handler) "" -}}
{{- end -}}

{{/* What the cluster asks for: paths of the probes and of the metrics, as JSON. */}}
{{- define "fastapi-service.clusterPaths" -}}
{{- $paths := list .Values.serviceMonitor.path .Values.podMonitor.path -}}
{{- range $probe, $_ := .Values.probes -}}
{{- $paths = append $paths (include "fastapi-service.probePath" (list $ $probe)) -}}
{{- end -}}
{{- $trimmed := list -}}
{{- range compact $paths }}{{ $trimmed = append $trimmed (trimSuffix "/" . | default "/") }}{{ end -}}
{{- $trimmed | uniq | sortAlpha | toJson -}}
{{- end -}}

{{/*
Paths that Ingress and HTTPRoute refuse, with all below them, as JSON: those given, else what the cluster asks for on the
public port. `/` is never among them, as nothing would be left.
*/}}
{{- define "fastapi-service.internalPaths" -}}
{{- $paths := list -}}
{{- if kindIs "slice" .Values.internalPaths -}}
{{- $paths = .Values.internalPaths -}}
{{- else -}}
{{- if eq (include "fastapi-service.managementPortName" .) "http" -}}
{{- $paths = list .Values.serviceMonitor.path .Values.podMonitor.path -}}
{{- end -}}
{{- range $probe, $_ := .Values.probes -}}
{{- $port := dig "httpGet" "port" "" (include "fastapi-service.probeHandler" (list $ $probe) | fromYaml) | toString -}}
{{- if has $port (list "http" (toString $.Values.ports.http)) -}}
{{- $paths = append $paths (include "fastapi-service.probePath" (list $ $probe)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $trimmed := list -}}
{{- range $paths }}{{ $trimmed = append $trimmed (trimSuffix "/" .) }}{{ end -}}
{{- $trimmed | compact | uniq | sortAlpha | toJson -}}
{{- end -}}
