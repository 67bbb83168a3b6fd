{{/*
What may flow to and from the pods of a part: the caller graph's edges (files/callers.json) and its servers.
in: root, part; out: NetworkPolicy
*/}}
{{- define "giaoban.policy" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $policy := $root.Values.networkPolicy -}}
{{- $callers := $root.Files.Get "files/callers.json" | fromJson -}}
{{- if $policy.enabled -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "giaoban.fullname" $root }}-{{ $name }}
  labels:
    {{- include "giaoban.labels" (list $root $name) | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- include "giaoban.selector" (list $root $name) | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress:
    {{- if eq $name "gateway" }}
    - ports: [{ port: http }]
      {{- with $policy.publicFrom }}
      from:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    {{- else }}
    - ports: [{ port: grpc }]
      from:
        {{- range $caller := index $callers $name }}
        - podSelector:
            matchLabels:
              {{- include "giaoban.selector" (list $root $caller) | nindent 14 }}
        {{- end }}
    {{- end }}
    {{- with $policy.metricsFrom }}
    - ports: [{ port: metrics }]
      from:
        {{- toYaml . | nindent 8 }}
    {{- end }}
  egress:
    - ports: [{ port: 53, protocol: UDP }, { port: 53, protocol: TCP }]
      to:
        {{- toYaml $policy.dns.to | nindent 8 }}
    {{- range $callee, $from := $callers }}
    {{- if has $name $from }}
    - ports: [{ port: 9000 }]
      to:
        - podSelector:
            matchLabels:
              {{- include "giaoban.selector" (list $root $callee) | nindent 14 }}
    {{- end }}
    {{- end }}
    {{- if include "giaoban.has" (list $name "nats") }}
    {{- if $root.Values.nats.enabled }}
    - ports: [{ port: 4222 }]
      to:
        - podSelector:
            matchLabels:
              {{- include "giaoban.selector" (list $root "nats") | nindent 14 }}
    {{- else }}
    {{- include "giaoban.egress" $policy.externalNats | nindent 4 }}
    {{- end }}
    {{- end }}
    {{- if include "giaoban.has" (list $name "database") }}
    {{- include "giaoban.egress" $policy.database | nindent 4 }}
    {{- end }}
    {{- if eq $name "recording" }}
    {{- include "giaoban.egress" $policy.objectStore | nindent 4 }}
    {{- end }}
    {{- if eq $name "notifications" }}
    {{- include "giaoban.egress" $policy.smtp | nindent 4 }}
    {{- end }}
    {{- if eq $name "media" }}
    - ports: [{ port: {{ $root.Values.mediaNode.apiPort }} }]
      to:
        {{- include "giaoban.hosts" $root | trim | nindent 8 }}
    {{- end }}
    {{- if $root.Values.config.otlp_endpoint }}
    {{- include "giaoban.egress" $policy.otlp | nindent 4 }}
    {{- end }}
{{- end }}
{{- end -}}

{{/* in: {to, port} */}}
{{- define "giaoban.egress" -}}
- ports: [{ port: {{ .port }} }]
  to:
    {{- toYaml .to | nindent 4 }}
{{- end -}}

{{/* The machines of the media nodes as peers: pods on the host's network have the host's address. */}}
{{- define "giaoban.hosts" -}}
{{- range .Values.mediaNode.hostCidrs }}
- ipBlock: { cidr: {{ . }} }
{{- end }}
{{- end -}}

{{/* A worker takes its work from the database and calls nobody. in: root, part; out: NetworkPolicy */}}
{{- define "giaoban.workerPolicy" -}}
{{- $root := index . 0 -}}
{{- $component := printf "%s-worker" (index . 1) -}}
{{- $policy := $root.Values.networkPolicy -}}
{{- if $policy.enabled -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "giaoban.fullname" $root }}-{{ $component }}
  labels:
    {{- include "giaoban.labels" (list $root $component) | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- include "giaoban.selector" (list $root $component) | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress:
    {{- with $policy.metricsFrom }}
    - ports: [{ port: metrics }]
      from:
        {{- toYaml . | nindent 8 }}
    {{- else }} []
    {{- end }}
  egress:
    - ports: [{ port: 53, protocol: UDP }, { port: 53, protocol: TCP }]
      to:
        {{- toYaml $policy.dns.to | nindent 8 }}
    {{- include "giaoban.egress" $policy.database | nindent 4 }}
    {{- include "giaoban.egress" $policy.objectStore | nindent 4 }}
    {{- if $root.Values.config.otlp_endpoint }}
    {{- include "giaoban.egress" $policy.otlp | nindent 4 }}
    {{- end }}
{{- end }}
{{- end -}}
