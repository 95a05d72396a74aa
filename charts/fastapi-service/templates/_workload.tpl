{{/* How many pods there are to be, as JSON: the fewest, the most, and the value that says the fewest. */}}
{{- define "fastapi-service.pods" -}}
{{- with .Values -}}
{{- if .keda.enabled -}}
{{- dict "fewest" .keda.minReplicas "most" .keda.maxReplicas "value" "keda.minReplicas" | toJson -}}
{{- else if .autoscaling.enabled -}}
{{- dict "fewest" .autoscaling.minReplicas "most" .autoscaling.maxReplicas "value" "autoscaling.minReplicas" | toJson -}}
{{- else -}}
{{- dict "fewest" .replicas "most" .replicas "value" "replicas" | toJson -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
spec.replicas of the Deployment, empty to leave it to whoever has set it. Takes (list $ deployment), the live Deployment
or an empty dict. docs/decisions/0008-replicas.md says why.
*/}}
{{- define "fastapi-service.replicas" -}}
{{- $values := (first .).Values -}}
{{- $live := last . -}}
{{- $releases := "" -}}
{{- $holders := list -}}
{{- range dig "metadata" "managedFields" list $live -}}
{{- /* Of all managers only the one that applies the release, whatever its name, has the chart's label. */ -}}
{{- $release := hasKey (dig "fieldsV1" "f:metadata" "f:labels" dict .) "f:helm.sh/chart" -}}
{{- if $release }}{{ $releases = .operation }}{{ end -}}
{{- if hasKey (dig "fieldsV1" "f:spec" dict .) "f:replicas" -}}
{{- $holders = append $holders ($release | ternary "release" "other") -}}
{{- end -}}
{{- end -}}
{{- $declared := dig "metadata" "annotations" "fastapi-service/replicas" "" $live -}}
{{- if or $values.autoscaling.enabled $values.keda.enabled -}}
{{- if and (eq $releases "Update") $declared -}}
{{- fail "these values cannot work:\n  - turning autoscaling on would drop this release to one pod, because Helm applies it on the client's side: first upgrade it as it is with --server-side=true" -}}
{{- else if eq (join "," $holders) "release" -}}
{{- $live.spec.replicas -}}
{{- end -}}
{{- else if not (and (eq $releases "Apply") (has "other" $holders) (eq $declared (toString $values.replicas)) (ne (int $live.spec.replicas) (int $values.replicas))) -}}
{{- $values.replicas -}}
{{- end -}}
{{- end -}}

{{/* The live Deployment, or an empty dict where there is none or Helm may not look. */}}
{{- define "fastapi-service.liveDeployment" -}}
{{- lookup "apps/v1" "Deployment" .Release.Namespace (include "fastapi-service.fullname" .) | toJson -}}
{{- end -}}

{{/* Secret that a component's pods read, empty for none. Takes (list $ "component"). */}}
{{- define "fastapi-service.secretName" -}}
{{- $root := first . -}}
{{- if not $root.Values.externalSecret.enabled -}}
{{- $root.Values.secrets.existingSecret -}}
{{- else if eq (last .) "migrations" -}}
{{- include "fastapi-service.suffixedName" . -}}
{{- else -}}
{{- include "fastapi-service.fullname" $root -}}
{{- end -}}
{{- end -}}

{{/* Variables that a component's containers get one by one. Takes (list $ "component"). */}}
{{- define "fastapi-service.env" -}}
{{- $values := (first .).Values -}}
{{- $env := list -}}
{{- $secret := include "fastapi-service.secretName" . -}}
{{- range $name, $key := $values.secrets.env -}}
{{- $env = append $env (dict "name" $name "valueFrom" (dict "secretKeyRef" (dict "name" $secret "key" $key))) -}}
{{- end -}}
{{- with concat $env ($values.env | default list) }}{{ toYaml . }}{{ end -}}
{{- end -}}

{{/* Further containers, with the chart's security context where they have none. Takes (list $ containers). */}}
{{- define "fastapi-service.containers" -}}
{{- $containers := list -}}
{{- range last . -}}
{{- $container := deepCopy . -}}
{{- if and (not (hasKey . "securityContext")) (first $).Values.securityContext -}}
{{- $_ := set $container "securityContext" (first $).Values.securityContext -}}
{{- end -}}
{{- $containers = append $containers $container -}}
{{- end -}}
{{- toYaml $containers -}}
{{- end -}}

{{/*
Affinity of a component's pods: the given one, of which what is about other pods is the app's alone, and a wish to be where
no other pod of the same revision is. Takes (list $ "component").
*/}}
{{- define "fastapi-service.affinity" -}}
{{- $values := (first .).Values -}}
{{- $affinity := deepCopy ($values.affinity | default dict) -}}
{{- if ne (last .) "app" }}{{ $affinity = pick $affinity "nodeAffinity" }}{{ end -}}
{{- if and $values.softAntiAffinity (not (hasKey $affinity "podAntiAffinity")) -}}
{{- $selector := dict "matchLabels" (include "fastapi-service.selectorLabels" . | fromYaml) -}}
{{- $terms := list -}}
{{- range $key, $weight := dict "kubernetes.io/hostname" 100 "topology.kubernetes.io/zone" 50 -}}
{{- $term := dict "topologyKey" $key "labelSelector" $selector "matchLabelKeys" (list "pod-template-hash") -}}
{{- $terms = append $terms (dict "weight" $weight "podAffinityTerm" $term) -}}
{{- end -}}
{{- $_ := set $affinity "podAntiAffinity" (dict "preferredDuringSchedulingIgnoredDuringExecution" $terms) -}}
{{- end -}}
{{- with $affinity }}{{ toYaml . }}{{ end -}}
{{- end -}}

{{/* What runs as the app's container starts and before it is told to end: while endpoints are noticed, it sleeps. */}}
{{- define "fastapi-service.lifecycle" -}}
{{- with .Values.lifecycle.postStart }}
postStart:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.drain.endpointDelaySeconds }}
preStop:
  sleep:
    seconds: {{ . }}
{{- else }}
{{- with $.Values.lifecycle.preStop }}
preStop:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* What podSpec has for the app's container. */}}
{{- define "fastapi-service.containerSpec" -}}
{{- range dig "containers" list (.Values.podSpec | default dict) }}
{{- with omit . "name" }}{{ toYaml . }}{{ end }}
{{- end }}
{{- end -}}
