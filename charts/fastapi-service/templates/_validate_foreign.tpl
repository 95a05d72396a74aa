{{/*
Where a path of files/other-charts.yaml leads in values, as JSON. Takes (list values path where), path as a list of
segments: a key, keys with | between them, or * for any key or place in a list.
*/}}
{{- define "fastapi-service.foreignPaths" -}}
{{- $values := index . 0 -}}
{{- $path := index . 1 -}}
{{- $where := index . 2 -}}
{{- $found := list -}}
{{- if not $path -}}
{{- $found = list $where -}}
{{- else if kindIs "map" $values -}}
{{- $keys := splitList "|" (first $path) -}}
{{- range $key, $value := $values -}}
{{- if and (or (has $key $keys) (has "*" $keys)) (not (kindIs "invalid" $value)) -}}
{{- $below := printf "%s.%s" $where $key | trimPrefix "." -}}
{{- $found = concat $found (include "fastapi-service.foreignPaths" (list $value (rest $path) $below) | fromJsonArray) -}}
{{- end -}}
{{- end -}}
{{- else if and (kindIs "slice" $values) (eq (first $path) "*") -}}
{{- range $i, $value := $values -}}
{{- $below := printf "%s[%d]" $where $i -}}
{{- $found = concat $found (include "fastapi-service.foreignPaths" (list $value (rest $path) $below) | fromJsonArray) -}}
{{- end -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{/* One line for each value that is another chart's, and for each of podSpec that has a value here. */}}
{{- define "fastapi-service.foreignMistakes" -}}
{{- $told := list -}}
{{- /* The longer paths first: what is said of `a.b` need not be said of `a`. */ -}}
{{- $depths := dict -}}
{{- range $chart, $rows := .Files.Get "files/other-charts.yaml" | fromYaml -}}
{{- range $path, $row := $rows -}}
{{- $row = kindIs "map" $row | ternary $row (dict "ours" $row) -}}
{{- $segments := splitList "." $path -}}
{{- /* What is called the same works as it is. */ -}}
{{- if and (hasKey $.Values (first $segments)) (or (ne $path (toString $row.ours)) $row.when) -}}
{{- $depth := len $segments | printf "%02d" -}}
{{- $_ := set $depths $depth (append (get $depths $depth | default list) (dict "segments" $segments "row" $row)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $depth := keys $depths | sortAlpha | reverse -}}
{{- range get $depths $depth -}}
{{- $row := .row -}}
{{- range include "fastapi-service.foreignPaths" (list $.Values .segments "") | fromJsonArray -}}
{{- $path := . -}}
{{- $below := false -}}
{{- range $told }}{{ if or (eq . $path) (hasPrefix (printf "%s." $path) .) (hasPrefix (printf "%s[" $path) .) }}{{ $below = true }}{{ end }}{{ end -}}
{{- if and (not $below) (include "fastapi-service.foreignKind" (list $.Values $path $row.when)) -}}
{{- $told = append $told $path -}}
{{- $ours := kindIs "slice" $row.ours | ternary $row.ours (list $row.ours) | compact }}
{{ $path }} is no {{ get (dict "slice" "list" "string" "string") (toString $row.when) | default "value" }} here: {{ if not $ours }}{{ $row.note }}{{ else }}set {{ join " and " $ours }}{{ with $row.note }} ({{ . }}){{ end }}{{ end }}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Whether a value is of the kind that a row is for: of any without one. Takes (list values path kind). */}}
{{- define "fastapi-service.foreignKind" -}}
{{- $value := index . 0 -}}
{{- if index . 2 -}}
{{- range splitList "." (index . 1) }}{{ $value = get $value . }}{{ end -}}
{{- end -}}
{{- if or (not (index . 2)) (kindIs (index . 2 | toString) $value) }}true{{ end -}}
{{- end -}}
