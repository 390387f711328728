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

{{- define "lync-mirror.labels" -}}
{{ include "lync-mirror.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
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

{{- define "lync-mirror.containerSecurityContext" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
readOnlyRootFilesystem: true
{{- end -}}

{{- define "lync-mirror.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
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
