{{- define "fastapi-service.lifecycleMistakes" -}}
{{- with .Values.lifecycle.preStop }}
{{- if hasKey . "sleep" }}
lifecycle.preStop sleeps, which the chart does itself: set drain.endpointDelaySeconds to the seconds, and leave lifecycle.preStop empty
{{- else if $.Values.drain.endpointDelaySeconds }}
lifecycle.preStop would take the place of the sleep of drain.endpointDelaySeconds, in which endpoints notice that the pod ends: set that to 0 and have the handler wait instead, within drain.timeoutSeconds
{{- end }}
{{- end }}
{{- if and (eq .Values.dnsPolicy "None") (not (dig "nameservers" list (.Values.dnsConfig | default dict))) }}
dnsPolicy None knows no server to ask: list dnsConfig.nameservers
{{- end }}
{{- end -}}

{{- define "fastapi-service.portMistakes" -}}
{{- $names := list "http" "management" }}
{{- $numbers := list (printf "TCP %d" (int .Values.ports.http)) (printf "TCP %d" (int .Values.ports.management)) }}
{{- $servicePorts := list (printf "TCP %d" (int .Values.service.port)) }}
{{- range .Values.extraPorts }}
{{- $protocol := .protocol | default "TCP" }}
{{- $number := printf "%s %d" $protocol (int .containerPort) }}
{{- if has .name $names }}
extraPorts has a port {{ .name }}, of which the pod has one already: use another name
{{- end }}
{{- if has $number $numbers }}
extraPorts has {{ .name }} on {{ .containerPort }}, which another port is on already: use another number
{{- end }}
{{- $names = append $names .name }}
{{- $numbers = append $numbers $number }}
{{- if .servicePort }}
{{- $servicePort := printf "%s %d" $protocol (int .servicePort) }}
{{- if has $servicePort $servicePorts }}
extraPorts has {{ .name }} with servicePort {{ .servicePort }}, which another port of the Service has already: use another number
{{- end }}
{{- $servicePorts = append $servicePorts $servicePort }}
{{- if not $.Values.service.enabled }}
extraPorts has {{ .name }} with servicePort {{ .servicePort }}, and there is no Service: set service.enabled to true, or leave it out
{{- end }}
{{- if and $.Values.networkPolicy.enabled (not .from) (not $.Values.networkPolicy.extraIngress) }}
extraPorts has {{ .name }} with servicePort {{ .servicePort }}, and networkPolicy lets nobody use it: list the peers in its `from`
{{- end }}
{{- else if or .nodePort .appProtocol }}
extraPorts has {{ .name }} with {{ hasKey . "nodePort" | ternary "nodePort" "appProtocol" }}, which is the Service's, and no servicePort: set that too
{{- end }}
{{- if and .nodePort (eq $.Values.service.type "ClusterIP") }}
extraPorts has {{ .name }} with nodePort {{ .nodePort }}, which a Service of type ClusterIP cannot have: set service.type to NodePort, or leave it out
{{- end }}
{{- end }}
{{- end -}}

{{- define "fastapi-service.moreServiceMistakes" -}}
{{- with .Values.service }}
{{- if not .enabled }}
{{- range $name := list "ingress" "httpRoute" }}
{{- if (get $.Values $name).enabled }}
{{ $name }}.enabled is true, and there is no Service to lead to: set service.enabled to true, or {{ $name }}.enabled to false
{{- end }}
{{- end }}
{{- end }}
{{- if eq .type "ClusterIP" }}
{{- range $name := list "nodePort" "externalTrafficPolicy" }}
{{- with get $.Values.service $name }}
service.{{ $name }} {{ . }} is for what comes from outside, and service.type is ClusterIP: set that to NodePort or LoadBalancer
{{- end }}
{{- end }}
{{- end }}
{{- if ne .type "LoadBalancer" }}
{{- range $name := list "loadBalancerClass" "loadBalancerSourceRanges" }}
{{- if get $.Values.service $name }}
service.{{ $name }} is for a load balancer, and service.type is {{ $.Values.service.type }}: set that to LoadBalancer
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- $names := list "management" "refused" }}
{{- $management := list "management" (toString .Values.ports.management) }}
{{- range $i, $service := .Values.extraServices }}
{{- if has .name $names }}
extraServices[{{ $i }}] is called {{ .name }}, as another Service of the release is already: use another name
{{- end }}
{{- $names = append $names .name }}
{{- if hasKey .spec "selector" }}
extraServices[{{ $i }}].spec.selector is the chart's, which selects the pods: leave it out, or write the Service into extraObjects
{{- end }}
{{- range .spec.ports }}
{{- if and (has (toString (.targetPort | default .port)) $management) (ne (int $.Values.ports.management) (int $.Values.ports.http)) }}
extraServices[{{ $i }}] leads to the management port, and would give probes and metrics away: use the Service {{ include "fastapi-service.suffixedName" (list $ "management") }}
{{- end }}
{{- else }}
extraServices[{{ $i }}].spec.ports is empty: list a port, such as {name: grpc, port: 50051, targetPort: grpc}
{{- end }}
{{- end }}
{{- end -}}

{{- define "fastapi-service.volumeMistakes" -}}
{{- with .Values.persistence }}
{{- if .enabled }}
{{- $pods := include "fastapi-service.pods" $ | fromJson }}
{{- if hasPrefix "ReadWriteOnce" .accessMode }}
{{- if gt (int $pods.most) 1 }}
persistence.accessMode {{ .accessMode }} is for one node or pod, and up to {{ int $pods.most }} pods would wait for the volume: write ReadWriteMany where the storage can do it, or set replicas to 1 and no autoscaler
{{- else if and (eq $.Values.strategy "RollingUpdate") (not (regexMatch "^0+%?$" (toString $.Values.rollingUpdate.maxSurge))) }}
persistence.accessMode {{ .accessMode }} is for one node or pod, and in a rollout the new pod would wait for the volume of the old one: set strategy to Recreate
{{- end }}
{{- end }}
{{- if and (eq .accessMode "ReadOnlyMany") (not .existingClaim) }}
persistence.accessMode ReadOnlyMany would make a volume that stays empty: name a claim that has something in persistence.existingClaim
{{- end }}
{{- $path := trimSuffix "/" .mountPath }}
{{- if eq $path "" }}
persistence.mountPath / would hide what the image holds: write a directory such as /data
{{- else if has $path (list "/tmp" (trimSuffix "/" $.Values.secrets.mountPath)) }}
persistence.mountPath {{ .mountPath }} is another volume's already: write another directory, such as /data
{{- end }}
{{- range $.Values.extraVolumes }}
{{- if eq .name "data" }}
extraVolumes has a volume data, of which the pod has one already: use another name
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "fastapi-service.roleMistakes" -}}
{{- with .Values.rbac }}
{{- range $i, $rule := .rules }}
{{- if .nonResourceURLs }}
rbac.rules[{{ $i }}] has nonResourceURLs, which are in no namespace: write it as one of rbac.clusterRules
{{- end }}
{{- end }}
{{- range $i, $rule := concat (.rules | default list) (.clusterRules | default list) }}
{{- if not (or .resources .nonResourceURLs) }}
rbac has a rule without resources: list them, such as [configmaps]
{{- else if and .resources (not (hasKey . "apiGroups")) }}
rbac has a rule for {{ join ", " .resources }} without apiGroups: list the groups, [""] for those of Kubernetes's core
{{- end }}
{{- end }}
{{- if or .rules .clusterRules }}
{{- if eq (include "fastapi-service.serviceAccountName" $) "default" }}
rbac would give its rules to the namespace's default account, which other pods have too: set serviceAccount.create to true, or serviceAccount.name
{{- end }}
{{- if not (or $.Values.serviceAccount.automountToken (contains "serviceAccountToken" (toJson $.Values.extraVolumes))) }}
rbac gives rules to an account whose token the pods do not have: set serviceAccount.automountToken to true
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* "kind name" of each ConfigMap and Secret that the pod of the migrations has, as a list in JSON; none without them. */}}
{{- define "fastapi-service.neededByMigrations" -}}
{{- $needed := list -}}
{{- if .Values.migrations.enabled -}}
{{- $sources := .Values.envFrom | default list -}}
{{- range .Values.extraVolumes -}}
{{- $sources = concat (append $sources .) (dig "projected" "sources" list .) -}}
{{- end -}}
{{- range $sources -}}
{{- range $kind, $found := dict "ConfigMap" (.configMap | default .configMapRef) "Secret" (.secret | default .secretRef) -}}
{{- if and $found (not $found.optional) -}}
{{- $needed = append $needed (printf "%s %s" $kind ($found.name | default $found.secretName)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $needed -}}
{{- end -}}

{{- define "fastapi-service.extraObjectMistakes" -}}
{{- $name := include "fastapi-service.fullname" . }}
{{- $selected := include "fastapi-service.selectorLabels" (list . "app") | fromYaml }}
{{- $own := list "ConfigMap" "Deployment" "HorizontalPodAutoscaler" "Ingress" "NetworkPolicy" "PodDisruptionBudget" "Service" "ServiceAccount" }}
{{- $needed := include "fastapi-service.neededByMigrations" . | fromJsonArray }}
{{- range include "fastapi-service.extraObjects" . | fromJsonArray }}
{{- $where := .where }}
{{- with .object }}
{{- if hasKey . "Error" }}
{{ $where }} is no object in YAML once its templates are rendered: {{ .Error | replace "\n" " " }}
{{- else if not (and .apiVersion .kind (kindIs "map" .metadata)) }}
{{ $where }} is no object of Kubernetes: write apiVersion, kind and metadata.name
{{- else if not (or .metadata.name .metadata.generateName) }}
{{ $where }} has no metadata.name: give it one, such as {{ $name }}-more
{{- else }}
{{- if and (has .kind $own) (eq .metadata.name $name) }}
{{ $where }} is {{ .kind }} {{ $name }}, which the chart makes itself: use another name
{{- end }}
{{- $labels := dig "spec" "template" "metadata" "labels" dict . }}
{{- $found := true }}
{{- range $label, $value := $selected }}{{ $found = and $found (eq (get $labels $label | toString) $value) }}{{ end }}
{{- if $found }}
{{ $where }} has pods with the labels of the service's own, so its requests would reach them: use another app.kubernetes.io/component
{{- end }}
{{- if and (has (printf "%s %s" .kind .metadata.name) $needed) (not (hasKey (.metadata.annotations | default dict) "helm.sh/hook")) }}
{{ $where }} is made after the migrations, whose pod would wait for it: give {{ .kind }} {{ .metadata.name }} the annotation helm.sh/hook: pre-install,pre-upgrade, or set migrations.enabled to false
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* What the table of other charts' values does not say of podSpec already. */}}
{{- define "fastapi-service.podSpecMistakes" -}}
{{- range $i, $container := dig "containers" list (.Values.podSpec | default dict) }}
{{- if ne (.name | default "") "app" }}
podSpec.containers[{{ $i }}] is not called app, which is the one to be changed: write another container into extraContainers
{{- else if $i }}
podSpec.containers[{{ $i }}] is called app too: put both together
{{- end }}
{{- end }}
{{- end -}}
