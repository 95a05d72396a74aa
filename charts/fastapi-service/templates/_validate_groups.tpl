{{/*
What Prometheus would refuse of the groups that are given: it would then take no new rules at all, and not start again. An
expression is read as far as brackets and quotes; all of it only promtool can.
*/}}
{{- define "fastapi-service.groupMistakes" -}}
{{- $name := include "fastapi-service.fullname" . }}
{{- $names := list (printf "%s-slo" $name) (printf "%s-alerts" $name) }}
{{- range $i, $group := .Values.prometheusRule.groups }}
{{- $where := printf "prometheusRule.groups[%d]" $i }}
{{- if has .name $names }}
{{ $where }}.name {{ .name | quote }} is another group's already: give it another
{{- end }}
{{- $names = append $names .name }}
{{ include "fastapi-service.durationMistakes" (list $where . "interval" "query_offset") }}
{{ include "fastapi-service.labelMistakes" (list $where "labels" .labels) }}
{{- $seen := dict }}
{{- range $j, $rule := .rules }}
{{- $where := printf "prometheusRule.groups[%d].rules[%d]" $i $j }}
{{- $same := list .alert .record .labels .expr | toJson }}
{{- if hasKey $seen $same }}
{{ $where }} is the same as {{ get $seen $same }}: leave one out
{{- else }}
{{- $_ := set $seen $same $where }}
{{- end }}
{{ include "fastapi-service.givenRuleMistakes" (list $where .) }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Takes (list path rule). */}}
{{- define "fastapi-service.givenRuleMistakes" -}}
{{- $where := first . }}
{{- $rule := last . }}
{{- with $rule }}
{{- if and .alert .record }}
{{ $where }} has both alert and record: write two rules
{{- else if not (or .alert .record) }}
{{ $where }} has neither alert nor record: name the one or the other
{{- end }}
{{- if .record }}
{{- if not (regexMatch "^[a-zA-Z_:][a-zA-Z0-9_:]*$" .record) }}
{{ $where }}.record {{ .record | quote }} is no name of a metric: write letters, digits, _ and : alone, and no digit first
{{- end }}
{{- range $key := list "for" "keep_firing_for" "annotations" }}
{{- if hasKey $rule $key }}
{{ $where }} has {{ $key }} beside record, and only an alert has that: leave it out
{{- end }}
{{- end }}
{{- end }}
{{ include "fastapi-service.durationMistakes" (list $where . "for" "keep_firing_for") }}
{{ include "fastapi-service.labelMistakes" (list $where "labels" .labels) }}
{{ include "fastapi-service.labelMistakes" (list $where "annotations" .annotations) }}
{{- if .alert }}
{{- range $key := list "labels" "annotations" }}
{{- range $name, $text := get $rule $key | default dict }}
{{- if regexMatch `\{\{([^}]|\}[^}])*\}?$` $text }}
{{ $where }}.{{ $key }}.{{ $name }} has a template that is not closed: write }} after each {{ "{{" }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{ include "fastapi-service.expressionMistakes" (list $where (toString (.expr | default ""))) }}
{{- end }}
{{- end -}}

{{/* Takes (list path object keys...). */}}
{{- define "fastapi-service.durationMistakes" -}}
{{- $where := first . }}
{{- $object := index . 1 }}
{{- range $key := slice . 2 }}
{{- if hasKey $object $key }}
{{- $time := get $object $key }}
{{- if not (and $time (regexMatch "^(0|([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$" $time)) }}
{{ $where }}.{{ $key }} {{ $time | quote }} is no duration: write numbers with y, w, d, h, m, s or ms in this order, such as 5m or 1h30m
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Of labels or annotations. Takes (list path key names). The names are those that every version of Prometheus takes. */}}
{{- define "fastapi-service.labelMistakes" -}}
{{- $where := printf "%s.%s" (index . 0) (index . 1) }}
{{- range $name, $_ := index . 2 }}
{{- if or (not (regexMatch "^[a-zA-Z_][a-zA-Z0-9_]*$" $name)) (eq $name "__name__") }}
{{ $where }} has {{ $name | quote }}, which is no name of a label: write letters, digits and _ alone, and no digit first
{{- end }}
{{- end }}
{{- end -}}

{{/* Takes (list path expression). */}}
{{- define "fastapi-service.expressionMistakes" -}}
{{- $where := first . }}
{{- $text := last . }}
{{- /* Strings and comments go first: what they hold is no syntax. The last but one is in backquotes. */}}
{{- $bare := regexReplaceAll `"(\\.|[^"\\\n])*"|'(\\.|[^'\\\n])*'|\x60[^\x60]*\x60|#[^\n]*` $text "" }}
{{- if regexMatch `^(\s|#[^\n]*(\n|$))*$` $text }}
{{ $where }}.expr is empty: write a query
{{- else if regexMatch "[\"'\x60]" $bare }}
{{ $where }}.expr has a quote that is not closed: write the same one at the end of the string
{{- else }}
{{- range regexFindAll `[(\[{]` $bare -1 }}
{{- $bare = regexReplaceAll `\([^()\[\]{}]*\)|\[[^()\[\]{}]*\]|\{[^()\[\]{}]*\}` $bare "" }}
{{- end }}
{{- with regexFind `[()\[\]{}]` $bare }}
{{ $where }}.expr has a {{ . }} without the other half of it: close each bracket that is opened, and no other
{{- end }}
{{- end }}
{{- end -}}
