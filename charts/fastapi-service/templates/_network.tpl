{{/* Hosts of the Ingress and the HTTPRoute, each once, as JSON. */}}
{{- define "fastapi-service.hosts" -}}
{{- $hosts := list -}}
{{- if .Values.ingress.enabled -}}
{{- range .Values.ingress.hosts }}{{ $hosts = append $hosts .host }}{{ end -}}
{{- end -}}
{{- if .Values.httpRoute.enabled -}}
{{- $hosts = concat $hosts (.Values.httpRoute.hostnames | default list) -}}
{{- end -}}
{{- $hosts | uniq | toJson -}}
{{- end -}}

{{/* A host that the service answers to: a routed one, else that of APP_PUBLIC_URL, else localhost. */}}
{{- define "fastapi-service.host" -}}
{{- $routed := include "fastapi-service.hosts" . | fromJsonArray -}}
{{- $public := get (urlParse (get (.Values.config | default dict) "APP_PUBLIC_URL" | toString)) "hostname" -}}
{{- coalesce (first $routed) $public "localhost" | replace "*" "test" -}}
{{- end -}}

{{/* Secret of the certificate that the chart has made, by cert-manager or by itself. */}}
{{- define "fastapi-service.certificateSecret" -}}
{{- .Values.certificate.secretName | default (include "fastapi-service.suffixedName" (list . "tls")) -}}
{{- end -}}

{{/* What the Ingress has under tls, as JSON. */}}
{{- define "fastapi-service.ingressTLS" -}}
{{- $tls := .Values.ingress.tls | default list -}}
{{- if or .Values.certificate.enabled .Values.ingress.selfSigned -}}
{{- $hosts := list -}}
{{- range .Values.ingress.hosts }}{{ $hosts = append $hosts .host }}{{ end -}}
{{- $tls = list (dict "secretName" (include "fastapi-service.certificateSecret" .) "hosts" $hosts) -}}
{{- end -}}
{{- toJson $tls -}}
{{- end -}}

{{/* Names of Traefik's middlewares, as JSON, the outermost first: what is refused must not be tried again. */}}
{{- define "fastapi-service.middlewares" -}}
{{- $names := list -}}
{{- if .Values.traefik.inFlight.enabled -}}
{{- $names = append $names (include "fastapi-service.suffixedName" (list . "in-flight")) -}}
{{- end -}}
{{- if .Values.traefik.retry.enabled -}}
{{- $names = append $names (include "fastapi-service.suffixedName" (list . "retry")) -}}
{{- end -}}
{{- toJson $names -}}
{{- end -}}

{{/* Annotations of the Ingress, as JSON: the given ones, and the one that attaches Traefik's middlewares, innermost. */}}
{{- define "fastapi-service.ingressAnnotations" -}}
{{- $annotations := deepCopy (.Values.ingress.annotations | default dict) -}}
{{- with include "fastapi-service.middlewares" . | fromJsonArray -}}
{{- $key := "traefik.ingress.kubernetes.io/router.middlewares" -}}
{{- $attached := list (get $annotations $key) -}}
{{- range . -}}
{{- $attached = append $attached (printf "%s-%s@kubernetescrd" $.Release.Namespace .) -}}
{{- end -}}
{{- $_ := set $annotations $key ($attached | compact | join ",") -}}
{{- end -}}
{{- toJson $annotations -}}
{{- end -}}

{{/*
Internal paths that lie within what is routed, as JSON: what is not routed may be another release's. Takes (list $ paths).
*/}}
{{- define "fastapi-service.refusedPaths" -}}
{{- $routed := last . | default (list (dict "path" "/")) -}}
{{- $refused := list -}}
{{- range $path := include "fastapi-service.internalPaths" (first .) | fromJsonArray -}}
{{- range $routed -}}
{{- $below := hasPrefix (printf "%s/" (trimSuffix "/" .path)) $path -}}
{{- if or (eq (toString .pathType) "ImplementationSpecific") (and $below (ne (toString .pathType) "Exact")) }}{{ $refused = append $refused $path }}{{ end -}}
{{- end -}}
{{- end -}}
{{- $refused | uniq | toJson -}}
{{- end -}}

{{/* Whether the chart has a Service that refuses the Ingress's internal paths: "true", or empty. */}}
{{- define "fastapi-service.refusedByService" -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.internalBackend) -}}
{{- $refused := list -}}
{{- range .Values.ingress.hosts -}}
{{- $refused = concat $refused (include "fastapi-service.refusedPaths" (list $ .paths) | fromJsonArray) -}}
{{- end -}}
{{- if $refused }}true{{ end -}}
{{- end -}}
{{- end -}}

{{/* A rule of the HTTPRoute, for all its paths. Takes (list $ methods), with nil for any method. */}}
{{- define "fastapi-service.httpRouteRule" -}}
{{- $root := first . -}}
{{- $methods := last . -}}
matches:
  {{- range $path := $root.Values.httpRoute.paths | default (list (dict "path" "/")) }}
  {{- range $methods }}
  - path:
      type: {{ eq ($path.pathType | default "Prefix") "Exact" | ternary "Exact" "PathPrefix" | quote }}
      value: {{ $path.path | quote }}
    {{- with . }}
    method: {{ . | quote }}
    {{- end }}
  {{- end }}
  {{- end }}
{{- $filters := $root.Values.httpRoute.filters | default list -}}
{{- range include "fastapi-service.middlewares" $root | fromJsonArray -}}
{{- $middleware := dict "group" "traefik.io" "kind" "Middleware" "name" . -}}
{{- $filters = append $filters (dict "type" "ExtensionRef" "extensionRef" $middleware) -}}
{{- end }}
{{- with $filters }}
filters:
  {{- toYaml . | nindent 2 }}
{{- end }}
backendRefs:
  - name: {{ include "fastapi-service.fullname" $root | quote }}
    port: {{ $root.Values.service.port }}
{{- with $root.Values.canary }}
{{- if .enabled }}
    weight: {{ sub 100 .weight }}
  - name: {{ include "fastapi-service.suffixedName" (list $root "canary") | quote }}
    port: {{ $root.Values.service.port }}
    weight: {{ .weight }}
{{- end }}
{{- end }}
{{- $timeouts := pick $root.Values.httpRoute.timeouts "request" "backendRequest" -}}
{{- range $name, $time := $timeouts }}{{ if not $time }}{{ $timeouts = omit $timeouts $name }}{{ end }}{{ end }}
{{- with $timeouts }}
timeouts:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Where the service's pods may connect to: rules of a network policy. */}}
{{- define "fastapi-service.egress" -}}
{{- $to := .Values.networkPolicy.egress -}}
{{- include "fastapi-service.dnsEgress" . }}
{{- range $each := list $to.database $to.cache $to.issuer $to.telemetry }}
{{- include "fastapi-service.egressTo" (list $each "TCP") }}
{{- end }}
{{- with .Values.networkPolicy.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "fastapi-service.dnsEgress" -}}
{{- include "fastapi-service.egressTo" (list .Values.networkPolicy.egress.dns "UDP" "TCP") }}
{{- end -}}

{{/* One such rule; none without peers. Takes (list destination protocol...). */}}
{{- define "fastapi-service.egressTo" -}}
{{- $protocols := rest . -}}
{{- with first . -}}
{{- if .to }}
- to:
    {{- toYaml .to | nindent 4 }}
  ports:
    {{- range $port := .ports }}
    {{- range $protocols }}
    - port: {{ $port }}
      protocol: {{ . | quote }}
    {{- end }}
    {{- end }}
{{- end }}
{{- end }}
{{- end -}}
