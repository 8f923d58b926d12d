{{- define "onebyte.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "onebyte.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "onebyte.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "onebyte.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "onebyte.selectorLabels" -}}
app.kubernetes.io/name: {{ include "onebyte.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "onebyte.testLabels" -}}
app.kubernetes.io/name: {{ include "onebyte.name" . }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "onebyte.labels" -}}
{{ include "onebyte.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "onebyte.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "onebyte.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "onebyte.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "onebyte.securityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "onebyte.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* What the operator does in the namespaces of jobs. */}}
{{- define "onebyte.jobRules" -}}
- apiGroups: [onebyte.dev]
  resources: [finetunejobs]
  # patch: its finalizer. delete: after ttlSecondsAfterFinished.
  verbs: [get, list, watch, patch, delete]
- apiGroups: [onebyte.dev]
  resources: [finetunejobs/status]
  verbs: [patch]
- apiGroups: [onebyte.dev]
  resources: [finetunejobs/finalizers]
  # Owner references that block the owner's deletion take this right where that is enforced.
  verbs: [update]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [configmaps, serviceaccounts, services]
  verbs: [get, list, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, create, patch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- if .Values.nats.account.seedSecret }}
- apiGroups: [""]
  resources: [secrets]
  # The credentials of workers; never read.
  verbs: [create, patch, delete]
{{- end }}
{{- end -}}

{{/* Namespaces that get a NetworkPolicy for workers. */}}
{{- define "onebyte.workerNamespaces" -}}
{{- $given := default .Values.watchNamespaces .Values.networkPolicy.workers.namespaces -}}
{{- toJson (default (list .Release.Namespace) $given) -}}
{{- end -}}

{{/* Where workers find NATS: as given, or the server that comes with the release. */}}
{{- define "onebyte.natsUrl" -}}
{{- if .Values.nats.url -}}
{{- .Values.nats.url -}}
{{- else if .Values.nats.enabled -}}
{{- printf "nats://%s.%s.svc:4222" (include "nats.fullname" (index .Subcharts "nats-server")) .Release.Namespace -}}
{{- else -}}
{{- fail "nats.url: where is NATS? For example nats://nats.nats.svc:4222; or set nats.enabled" -}}
{{- end -}}
{{- end -}}
