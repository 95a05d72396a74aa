{{- define "fastapi-service.ruleMistakes" -}}
{{- with .Values.prometheusRule }}
{{- if .enabled }}
{{- if gt (include "fastapi-service.seconds" .interval | int) 120 }}
prometheusRule.interval {{ .interval }} is too long, and graphs would have gaps: write at most 2m
{{- end }}
{{- $bounds := list }}
{{- range .slo.latency.buckets }}{{ $bounds = append $bounds (toString .) }}{{ end }}
{{- if not (has (toString .slo.latency.threshold) $bounds) }}
prometheusRule.slo.latency.threshold {{ .slo.latency.threshold }} is no bucket, so what is slower could not be counted: write one of {{ join ", " $bounds }}, or list those of your image in prometheusRule.slo.latency.buckets
{{- end }}
{{ include "fastapi-service.groupMistakes" $ }}
{{- range $i, $window := .slo.windows }}
{{- if ge (include "fastapi-service.seconds" .short | int) (include "fastapi-service.seconds" .long | int) }}
prometheusRule.slo.windows[{{ $i }}].short {{ .short }} is not below its long {{ .long }}: shorten it, such as to a twelfth
{{- end }}
{{- range $slo := list "availability" "latency" }}
{{- $objective := get (get $.Values.prometheusRule.slo $slo) "objective" }}
{{- if ge (mulf $window.burnRate (subf 100 $objective)) 100.0 }}
prometheusRule.slo.windows[{{ $i }}].burnRate {{ $window.burnRate }} could never be reached with {{ $slo }}.objective {{ $objective }}, even if all requests failed: lower the one or raise the other
{{- end }}
{{- end }}
{{- end }}
{{- with $.Values.certificate }}
{{- $duration := trimSuffix "h" .duration | default "0" | int }}
{{- $before := trimSuffix "h" .renewBefore | default (div $duration 3 | toString) | int }}
{{- $expiring := $.Values.prometheusRule.alerts.ServiceCertificateExpiring }}
{{- if and .enabled $expiring.enabled $before (ge (mulf $expiring.days 24) (float64 $before)) }}
prometheusRule.alerts.ServiceCertificateExpiring.days {{ $expiring.days }} is not below the time at which the certificate is renewed, {{ $before }}h before its end, so the alert would fire each time: lower it
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
