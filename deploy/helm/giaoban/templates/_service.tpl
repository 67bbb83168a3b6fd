{{/*
All objects of one part.
in: root, part; out: Deployment and what belongs to it, Service, NetworkPolicy, migrate Job
*/}}
{{- define "giaoban.service" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $values := index $root.Values $name -}}
{{- $full := printf "%s-%s" (include "giaoban.fullname" $root) $name -}}
{{- $who := list $root $name "serve" -}}
{{ include "giaoban.deployment" (list $root $name "serve" $values "64Mi") }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ $full }}
  labels:
    {{- include "giaoban.labels" $who | nindent 4 }}
  {{- if eq $name "gateway" }}
  {{- with $values.service.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
spec:
  {{- if eq $name "gateway" }}
  type: {{ $values.service.type }}
  {{- if ne $values.service.type "ClusterIP" }}
  externalTrafficPolicy: Local # keeps the client's address, by which sign-ins are limited
  {{- end }}
  {{- else }}
  clusterIP: None # callers see every pod and share their calls among them
  {{- end }}
  selector:
    {{- include "giaoban.selector" $who | nindent 4 }}
  ports:
    {{- if eq $name "gateway" }}
    - { name: http, port: {{ $values.service.port }}, targetPort: http }
    {{- else }}
    - { name: grpc, port: 9000, targetPort: grpc, appProtocol: kubernetes.io/h2c }
    {{- end }}
---
{{ include "giaoban.policy" (list $root $name) }}
---
{{ include "giaoban.migrate" (list $root $name) }}
{{- end -}}

{{/*
A Deployment with its account, budget and autoscaler.
in: root, part, verb (serve, work), values (replicas, autoscaling, resources), size of /tmp
*/}}
{{- define "giaoban.deployment" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $verb := index . 2 -}}
{{- $values := index . 3 -}}
{{- $component := include "giaoban.component" (list $name $verb) -}}
{{- $full := printf "%s-%s" (include "giaoban.fullname" $root) $component -}}
{{- $who := list $root $component $verb -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ $full }}
  labels:
    {{- include "giaoban.labels" (list $root $component) | nindent 4 }}
automountServiceAccountToken: false
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $full }}
  labels:
    {{- include "giaoban.labels" $who | nindent 4 }}
spec:
  {{- if not $values.autoscaling.enabled }}
  replicas: {{ $values.replicas }}
  {{- end }}
  revisionHistoryLimit: 3
  strategy:
    rollingUpdate: { maxUnavailable: 0, maxSurge: 1 }
  selector:
    matchLabels:
      {{- include "giaoban.selector" $who | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "giaoban.labels" $who | nindent 8 }}
      {{- with $root.Values.podAnnotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      terminationGracePeriodSeconds: 30
      topologySpreadConstraints:
        {{- include "giaoban.spread" $who | trim | nindent 8 }}
      {{- include "giaoban.podSpec" (list $root $name $verb $values.resources (index . 4)) | nindent 6 }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ $full }}
  labels:
    {{- include "giaoban.labels" $who | nindent 4 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "giaoban.selector" $who | nindent 6 }}
{{- if $values.autoscaling.enabled }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ $full }}
  labels:
    {{- include "giaoban.labels" $who | nindent 4 }}
spec:
  scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: {{ $full }} }
  minReplicas: {{ $values.autoscaling.minReplicas }}
  maxReplicas: {{ $values.autoscaling.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target: { type: Utilization, averageUtilization: {{ $values.autoscaling.targetCpuPercent }} }
  behavior:
    scaleDown: { stabilizationWindowSeconds: 600 } # meetings come in the morning and after lunch
{{- end }}
{{- end -}}

{{/*
Brings database, streams and buckets of a part up to date: before the pods on an upgrade; on the first install before
them as well, unless NATS comes with this chart and must start first (the pods then wait for the migration).
*/}}
{{- define "giaoban.migrate" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $values := index $root.Values $name -}}
{{- $who := list $root $name "migrate" -}}
apiVersion: batch/v1
kind: Job
metadata:
  # A Job cannot be changed: each revision has its own.
  name: {{ include "giaoban.fullname" $root }}-{{ $name }}-migrate-{{ $root.Release.Revision }}
  labels:
    {{- include "giaoban.labels" $who | nindent 4 }}
  {{- if not (and $root.Release.IsInstall $root.Values.nats.enabled) }}
  annotations:
    helm.sh/hook: pre-install,pre-upgrade
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
  {{- end }}
spec:
  backoffLimit: {{ $root.Values.migrate.backoffLimit }}
  activeDeadlineSeconds: {{ $root.Values.migrate.activeDeadlineSeconds }}
  ttlSecondsAfterFinished: 86400
  template:
    metadata:
      labels:
        {{- include "giaoban.labels" $who | nindent 8 }}
    spec:
      restartPolicy: Never
      {{- include "giaoban.podSpec" (list $root $name "migrate" $values.resources "64Mi") | nindent 6 }}
{{- end -}}
