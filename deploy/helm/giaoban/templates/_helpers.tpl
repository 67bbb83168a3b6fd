{{/* What the parts are. grpc: serves RPCs; nats: connects to NATS; database: has one. */}}
{{- define "giaoban.parts" -}}
identity: {grpc: true, database: true}
scheduling: {grpc: true, database: true, nats: true}
media: {grpc: true, nats: true}
recording: {grpc: true, database: true, nats: true}
notifications: {grpc: true, database: true, nats: true}
gateway: {nats: true}
{{- end -}}

{{/* in: one part's name; out: "true" if it has the property */}}
{{- define "giaoban.has" -}}
{{- $part := index (include "giaoban.parts" . | fromYaml) (index . 0) -}}
{{- if index $part (index . 1) }}true{{ end -}}
{{- end -}}

{{- define "giaoban.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* in: root, component, process; the labels by which Services, policies and budgets find pods */}}
{{- define "giaoban.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ $root.Values.nameOverride | default $root.Chart.Name }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- if gt (len .) 2 }}
giaoban/process: {{ index . 2 }}
{{- end }}
{{- end -}}

{{/* in: as giaoban.selector */}}
{{- define "giaoban.labels" -}}
{{- $root := index . 0 -}}
{{ include "giaoban.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
app.kubernetes.io/part-of: giaoban
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end -}}

{{/* in: root, part */}}
{{- define "giaoban.image" -}}
{{- $root := index . 0 -}}
{{- $image := $root.Values.image -}}
{{- $registry := $image.registry | default "giaoban" | trimSuffix "/" -}}
{{- printf "%s/%s:%s" $registry (index . 1) ($image.tag | default $root.Chart.AppVersion) -}}
{{- end -}}

{{- define "giaoban.mediaNamespace" -}}
{{- .Values.mediaNode.namespace | default .Release.Namespace -}}
{{- end -}}

{{- define "giaoban.natsUrl" -}}
{{- if .Values.nats.enabled -}}
nats://{{ include "giaoban.fullname" . }}-nats:4222
{{- else -}}
{{- required "nats.external.url: give the address of your NATS server, or set nats.enabled to true" .Values.nats.external.url -}}
{{- end -}}
{{- end -}}

{{/* Every container's: Kubernetes' "restricted", and a root file system nobody can write to. */}}
{{- define "giaoban.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "giaoban.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* in: root, component, process; not two on one machine or in one zone while there is another */}}
{{- define "giaoban.spread" -}}
{{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- maxSkew: 1
  topologyKey: {{ $key }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "giaoban.selector" $ | nindent 6 }}
{{- end }}
{{- end -}}

{{/* in: root, values; what an operator may set for any pod */}}
{{- define "giaoban.scheduling" -}}
{{- $root := index . 0 -}}
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with $root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with (index . 1).nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with (index . 1).tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* in: part, verb; the component of its pods: workers are one of their own, so that they may reach less */}}
{{- define "giaoban.component" -}}
{{- index . 0 }}{{ if eq (index . 1) "work" }}-worker{{ end -}}
{{- end -}}
