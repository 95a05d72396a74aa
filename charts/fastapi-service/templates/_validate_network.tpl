{{- define "fastapi-service.serviceMistakes" -}}
{{- $version := .Capabilities.KubeVersion.Version }}
{{- with .Values.service.trafficDistribution }}
{{- if and (hasPrefix "PreferSame" .) (semverCompare "<1.34.0-0" $version) }}
service.trafficDistribution {{ . }} needs Kubernetes 1.34, and this is {{ $version }}: write PreferClose
{{- end }}
{{- end }}
{{- end -}}

{{- define "fastapi-service.certificateMistakes" -}}
{{- $ways := list }}
{{- if and .Values.ingress.enabled .Values.ingress.tls }}{{ $ways = append $ways "ingress.tls" }}{{ end }}
{{- if .Values.ingress.selfSigned }}{{ $ways = append $ways "ingress.selfSigned" }}{{ end }}
{{- if .Values.certificate.enabled }}{{ $ways = append $ways "certificate.enabled" }}{{ end }}
{{- if gt (len $ways) 1 }}
{{ join " and " $ways }} are ways to one certificate: set one of them
{{- end }}
{{- if and .Values.ingress.selfSigned (not .Values.ingress.enabled) }}
ingress.selfSigned is for the Ingress, and there is none: set ingress.enabled to true, or ingress.selfSigned to false
{{- end }}
{{- with .Values.certificate }}
{{- if .enabled }}
{{- if not .issuerRef.name }}
certificate.issuerRef.name is empty: name the issuer, as `kubectl get clusterissuers` lists them
{{- end }}
{{- if not (include "fastapi-service.hosts" $ | fromJsonArray) }}
certificate.enabled is true, and there is no host to certify: enable ingress or httpRoute and name hosts, or set it to false
{{- end }}
{{- $sizes := get (dict "ECDSA" (list 256 384 521) "RSA" (list 2048 4096 8192) "Ed25519" list) .privateKey.algorithm }}
{{- if and .privateKey.size (not (has (int .privateKey.size) $sizes)) }}
certificate.privateKey.size {{ .privateKey.size }} is none of {{ .privateKey.algorithm }}: write {{ $sizes | empty | ternary "null" (join ", " $sizes) }}
{{- end }}
{{- if and .duration .renewBefore }}
{{- if ge (trimSuffix "h" .renewBefore | int) (trimSuffix "h" .duration | int) }}
certificate.renewBefore {{ .renewBefore }} is not below certificate.duration {{ .duration }}, so it would be renewed for ever: lower it
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "fastapi-service.routeMistakes" -}}
{{- with .Values.httpRoute }}
{{- if .enabled }}
{{- if not .parentRefs }}
httpRoute.parentRefs is empty: name a Gateway, such as [{name: public, namespace: gateways, sectionName: https}]
{{- end }}
{{- $seen := list }}
{{- range .hostnames }}
{{- if not (regexMatch "^([*][.])?[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" .) }}
httpRoute.hostnames has {{ . | quote }}, which is no host: write a name such as links.example.com or *.example.com
{{- else if has . $seen }}
httpRoute.hostnames has {{ . }} twice: write it once
{{- end }}
{{- $seen = append $seen . }}
{{- else }}
httpRoute.hostnames is empty: name a host, such as [links.example.com], or set httpRoute.enabled to false
{{- end }}
{{- if .redirect.parentRefs }}
{{- range $i, $parent := .parentRefs }}
{{- if not (or .sectionName .port) }}
httpRoute.parentRefs[{{ $i }}] has no sectionName, so plain HTTP would be served beside its redirect: name the listener with TLS
{{- end }}
{{- end }}
{{- end }}
{{- range $i, $parent := .redirect.parentRefs }}
{{- if not (or .sectionName .port) }}
httpRoute.redirect.parentRefs[{{ $i }}] has no sectionName, so HTTPS would be redirected to itself: name the listener without TLS
{{- else if has . $.Values.httpRoute.parentRefs }}
httpRoute.redirect.parentRefs[{{ $i }}] is among httpRoute.parentRefs, so it would be redirected to itself: name the listener without TLS
{{- end }}
{{- end }}
{{- if and .retry.attempts $.Values.traefik.retry.enabled }}
httpRoute.retry.attempts and traefik.retry.enabled both retry, and would multiply: set one of them
{{- end }}
{{- end }}
{{- end }}
{{- range $name := list "inFlight" "retry" }}
{{- if and (get $.Values.traefik $name).enabled (not (or $.Values.ingress.enabled $.Values.httpRoute.enabled)) }}
traefik.{{ $name }}.enabled has nothing to attach to: enable ingress or httpRoute, or set it to false
{{- end }}
{{- end }}
{{- end -}}

{{- define "fastapi-service.canaryMistakes" -}}
{{- with .Values.canary }}
{{- if .enabled }}
{{- if not (and $.Values.httpRoute.enabled $.Values.service.enabled) }}
canary.enabled needs the weights of an HTTPRoute, and the public Service beside its own: set httpRoute.enabled and service.enabled to true, or canary.enabled to false
{{- end }}
{{- if regexMatch "@|:[^/]*$" .image.repository }}
canary.image.repository {{ .image.repository | quote }} holds a tag or digest: write it as canary.image.tag or canary.image.digest
{{- else if not (or .image.tag .image.digest) }}
canary.image has no version: set canary.image.tag or canary.image.digest
{{- end }}
{{- if and .image.digest (not (regexMatch "^sha256:[0-9a-f]{64}$" .image.digest)) }}
canary.image.digest {{ .image.digest | quote }} is no digest: write sha256: and its 64 hexadecimal digits
{{- end }}
{{- if and $.Values.persistence.enabled (hasPrefix "ReadWriteOnce" $.Values.persistence.accessMode) }}
canary.enabled would run a second version on a volume that is for one pod (persistence.accessMode {{ $.Values.persistence.accessMode }}): set canary.enabled to false
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "fastapi-service.networkPolicyMistakes" -}}
{{- with .Values.networkPolicy }}
{{- if .enabled }}
{{- if not (or .ingress.http .extraIngress) }}
networkPolicy.ingress.http is empty, so nobody could use the service: name the ingress controller's pods, such as [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ingress}}}]
{{- end }}
{{- if and (or $.Values.serviceMonitor.enabled $.Values.podMonitor.enabled) (not (or .ingress.management .extraIngress)) }}
networkPolicy.ingress.management is empty, so no metrics could be scraped: name Prometheus's pods, such as [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]
{{- end }}
{{- $lists := dict "ingress.http" .ingress.http "ingress.management" .ingress.management "ingress.healthChecks" .ingress.healthChecks }}
{{- range $name, $destination := .egress }}
{{- $_ := set $lists (printf "egress.%s.to" $name) $destination.to }}
{{- end }}
{{- range $name, $peers := $lists }}
{{- range $i, $peer := $peers }}
{{- if and (hasKey . "ipBlock") (gt (len .) 1) }}
networkPolicy.{{ $name }}[{{ $i }}] has an ipBlock beside a selector: write two peers
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "fastapi-service.monitoringMistakes" -}}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled }}
serviceMonitor.enabled and podMonitor.enabled are both true, so each pod would be scraped twice: set one of them
{{- end }}
{{- with .Values.metrics }}
{{- if and (eq .profile "custom") (not .custom.histogram) }}
metrics.profile is custom, and metrics.custom.histogram is empty: name the image's histogram of durations, such as api_latency_seconds
{{- else if and (ne .profile "custom") .custom.histogram }}
metrics.custom is given, and metrics.profile {{ .profile }} has names of its own: set metrics.profile to custom
{{- end }}
{{- if regexMatch "_(bucket|count|sum)$" .custom.histogram }}
metrics.custom.histogram {{ .custom.histogram }} is one of its series: write it without {{ regexFind "_[a-z]+$" .custom.histogram }}
{{- end }}
{{- end }}
{{- range $name := list "serviceMonitor" "podMonitor" }}
{{- with index $.Values $name }}
{{- $wrong := list }}
{{- range $key := list "interval" "scrapeTimeout" }}
{{- $time := get (index $.Values $name) $key }}
{{- if not (regexMatch (eq $key "interval" | ternary "^[1-9][0-9]*(ms|s|m)$" "^([1-9][0-9]*(ms|s|m))?$") $time) }}
{{- $wrong = append $wrong $key }}
{{ $name }}.{{ $key }} {{ $time | quote }} is no duration: write a number and ms, s or m, such as {{ eq $key "interval" | ternary "15s" "10s" }}
{{- end }}
{{- end }}
{{- if and .scrapeTimeout (not $wrong) }}
{{- if gt (include "fastapi-service.milliseconds" .scrapeTimeout | int) (include "fastapi-service.milliseconds" .interval | int) }}
{{ $name }}.scrapeTimeout {{ .scrapeTimeout }} is above {{ $name }}.interval {{ .interval }}: lower the one or raise the other
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- $shipped := list }}
{{- range $path, $_ := .Files.Glob "dashboards/*.json" }}{{ $shipped = append $shipped (base $path | trimSuffix ".json") }}{{ end }}
{{- range .Values.dashboards.builtIn }}
{{- if not (has . $shipped) }}
dashboards.builtIn has {{ . | quote }}, which does not come with the chart: choose of {{ $shipped | sortAlpha | join ", " }}, and give your own as dashboards.extra
{{- end }}
{{- end }}
{{- range $name, $text := .Values.dashboards.extra }}
{{- if has $name $shipped }}
dashboards.extra.{{ $name }} has the name of one that comes with the chart: choose another
{{- else if or (not $text) (hasKey (fromJson $text) "Error") (not (get (fromJson $text) "title")) }}
dashboards.extra.{{ $name }} is no dashboard: give its JSON as text, an object with a title
{{- end }}
{{- end }}
{{- if and .Values.dashboards.operator.enabled (not .Values.dashboards.enabled) }}
dashboards.operator.enabled needs the ConfigMaps of dashboards.enabled: set both
{{- end }}
{{- end -}}

{{- define "fastapi-service.milliseconds" -}}
{{- $number := regexFind "^[0-9]+" . | int -}}
{{- mul $number (get (dict "ms" 1 "s" 1000 "m" 60000) (regexFind "[a-z]+$" .)) -}}
{{- end -}}

{{- define "fastapi-service.testMistakes" -}}
{{- with .Values.tests }}
{{- if .enabled }}
{{- $seen := list "metrics" "tls" }}
{{- range .requests }}
{{- if has .name $seen }}
tests.requests has {{ .name }}, and there is a test of that name already: give it another
{{- end }}
{{- $seen = append $seen .name }}
{{- end }}
{{- $secure := or $.Values.httpRoute.enabled (and $.Values.ingress.enabled (include "fastapi-service.ingressTLS" $ | fromJsonArray)) }}
{{- if and .tls.address (not $secure) }}
tests.tls.address is set, and no host has a certificate: set ingress.tls, certificate.enabled or httpRoute.enabled, or leave it empty
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
