{{/*
The value null means the default, so that no template reads a missing value. The same holds for values that an older
release does not have, with --reuse-values. The objects below are Kubernetes API objects: null removes one of their fields.
*/}}
{{- define "lync-mirror.defaults" -}}
{{- $objects := list "resources" "podSecurityContext" "securityContext" "strategy" -}}
{{- $defaults := .Files.Get "files/defaults.yaml" | required "files/defaults.yaml is missing" | fromYaml -}}
{{- include "lync-mirror.fill" (dict "values" .Values "defaults" $defaults "objects" $objects) -}}
{{- end -}}

{{- define "lync-mirror.fill" -}}
{{- $values := .values -}}
{{- $objects := .objects -}}
{{- range $key, $default := .defaults -}}
{{- if kindIs "invalid" (index $values $key) -}}
{{- $_ := set $values $key $default -}}
{{- else if and (kindIs "map" $default) (not (has $key $objects)) -}}
{{- include "lync-mirror.fill" (dict "values" (index $values $key) "defaults" $default "objects" (list)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "lync-mirror.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "lync-mirror.fullname" -}}
{{- $name := include "lync-mirror.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "lync-mirror.selectorLabels" -}}
app.kubernetes.io/name: {{ include "lync-mirror.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "lync-mirror.chartLabels" -}}
{{ include "lync-mirror.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- end -}}

{{/* commonLabels, and the labels of the chart, which commonLabels cannot replace. */}}
{{- define "lync-mirror.labels" -}}
{{- $labels := include "lync-mirror.chartLabels" . | fromYaml -}}
{{- merge $labels .Values.commonLabels | toYaml -}}
{{- end -}}

{{/* Prefix of cluster-wide names. Two releases for some namespaces each can have the same name. */}}
{{- define "lync-mirror.clusterName" -}}
{{- $name := include "lync-mirror.fullname" . -}}
{{- if .Values.watchNamespaces -}}
{{- printf "%s-%s" .Release.Namespace $name -}}
{{- else -}}
{{- $name -}}
{{- end -}}
{{- end -}}

{{- define "lync-mirror.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "lync-mirror.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "lync-mirror.leaseName" -}}
{{- default (include "lync-mirror.fullname" .) .Values.leaseName -}}
{{- end -}}

{{- define "lync-mirror.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Environment variables of the operator. A variable of extraEnv replaces the one of the same name. */}}
{{- define "lync-mirror.env" -}}
{{- $all := list -}}
{{- $all = append $all (dict "name" "POD_NAME" "valueFrom" (dict "fieldRef" (dict "fieldPath" "metadata.name"))) -}}
{{- $all = append $all (dict "name" "POD_NAMESPACE" "valueFrom" (dict "fieldRef" (dict "fieldPath" "metadata.namespace"))) -}}
{{- $all = append $all (dict "name" "LYNC_MIRROR_LISTEN" "value" "[::]:8080") -}}
{{- $all = append $all (dict "name" "LYNC_MIRROR_LEASE_NAME" "value" (include "lync-mirror.leaseName" .)) -}}
{{- with .Values.leaderElection -}}
{{- $all = append $all (dict "name" "LYNC_MIRROR_LEASE_DURATION" "value" .leaseDuration) -}}
{{- $all = append $all (dict "name" "LYNC_MIRROR_RENEW_DEADLINE" "value" .renewDeadline) -}}
{{- $all = append $all (dict "name" "LYNC_MIRROR_RETRY_PERIOD" "value" .retryPeriod) -}}
{{- end -}}
{{- $all = append $all (dict "name" "LYNC_MIRROR_POLL_INTERVAL" "value" .Values.pollInterval) -}}
{{- $all = append $all (dict "name" "LYNC_MIRROR_LOG_FORMAT" "value" .Values.log.format) -}}
{{- $all = append $all (dict "name" "LYNC_MIRROR_LOG" "value" .Values.log.filter) -}}
{{- if .Values.metrics.secure -}}
{{- $all = append $all (dict "name" "LYNC_MIRROR_METRICS_LISTEN" "value" "[::]:8443") -}}
{{- $all = append $all (dict "name" "LYNC_MIRROR_METRICS_TLS_FOLDER" "value" "/run/lync-mirror/metrics-tls") -}}
{{- end -}}
{{- with .Values.watchNamespaces -}}
{{- $all = append $all (dict "name" "LYNC_MIRROR_WATCH_NAMESPACES" "value" (join "," .)) -}}
{{- end -}}
{{- with .Values.deniedNetworks -}}
{{- $all = append $all (dict "name" "LYNC_MIRROR_DENY_NETWORKS" "value" (join "," .)) -}}
{{- end -}}
{{- $replaced := list -}}
{{- range .Values.extraEnv -}}
{{- $replaced = append $replaced .name -}}
{{- end -}}
{{- $kept := list -}}
{{- range $all -}}
{{- if not (has .name $replaced) -}}
{{- $kept = append $kept . -}}
{{- end -}}
{{- end -}}
{{- concat $kept .Values.extraEnv | toYaml -}}
{{- end -}}

{{- define "lync-mirror.strategy" -}}
{{- if eq .Values.strategy.type "Recreate" -}}
type: Recreate
{{- else -}}
{{- toYaml .Values.strategy -}}
{{- end -}}
{{- end -}}

{{- define "lync-mirror.probe" -}}
httpGet:
  path: {{ .path }}
  port: http
{{ toYaml .settings }}
{{- end -}}

{{/* RBAC rules of the operator in a namespace. */}}
{{- define "lync-mirror.rules" -}}
- apiGroups: [lyncmirror.io]
  resources: [lyncpoolmirrors]
  verbs: [get, list, watch]
- apiGroups: [lyncmirror.io]
  resources: [lyncpoolmirrors/status]
  verbs: [update]
# Credentials and CA bundle of a resource, read by name. The operator never lists Secrets.
- apiGroups: [""]
  resources: [secrets, configmaps]
  verbs: [get]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{- define "lync-mirror.subject" -}}
subjects:
  - kind: ServiceAccount
    name: {{ include "lync-mirror.serviceAccountName" . | quote }}
    namespace: {{ .Release.Namespace | quote }}
{{- end -}}
