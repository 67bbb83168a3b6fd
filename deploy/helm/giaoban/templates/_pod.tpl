{{/*
The environment of a part, from the chart's own knowledge and the `config` maps.
in: root, part, verb; out: a list of EnvVar, sorted
*/}}
{{- define "giaoban.env" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $worker := eq (index . 2) "work" -}}
{{- $values := index $root.Values $name -}}
{{- $full := include "giaoban.fullname" $root -}}
{{- $env := dict "SERVICE_NAME" $name "METRICS_LISTEN" "0.0.0.0:9100" -}}
{{- range $key, $value := merge (deepCopy $values.config) (deepCopy $root.Values.config) -}}
{{- if not (kindIs "invalid" $value) -}}
{{- if or (kindIs "map" $value) (kindIs "slice" $value) -}}
{{- $_ := set $env (upper $key) (toJson $value) -}}
{{- else if kindIs "float64" $value -}}
{{- /* Helm reads integers as floats, which would print as 1.048576e+06 */ -}}
{{- $_ := set $env (upper $key) (ternary (toString (int64 $value)) (toString $value) (eq (floor $value) $value)) -}}
{{- else -}}
{{- $_ := set $env (upper $key) (toString $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (not $worker) (include "giaoban.has" (list $name "grpc")) -}}
{{- $_ := set $env "GRPC_LISTEN" "0.0.0.0:9000" -}}
{{- end -}}
{{- if and (not $worker) (include "giaoban.has" (list $name "nats")) -}}
{{- $_ := set $env "NATS_URL" (include "giaoban.natsUrl" $root) -}}
{{- $_ := set $env "NATS_USER" $name -}}
{{- end -}}
{{- if include "giaoban.has" (list $name "database") -}}
{{- $_ := set $env "DATABASE_URL" $values.database.url -}}
{{- end -}}
{{- range $callee, $callers := $root.Files.Get "files/callers.json" | fromJson -}}
{{- if and (not $worker) (has $name $callers) -}}
{{- /* dns:/// with a headless Service: gRPC sees every pod and takes them in turn */ -}}
{{- $_ := set $env (printf "%s_TARGET" (upper $callee)) (printf "dns:///%s-%s:9000" $full $callee) -}}
{{- end -}}
{{- end -}}
{{- if not $worker -}}
{{- $_ := set $env "SERVICE_JWKS_FILE" "/secrets/service-keys.json" -}}
{{- end -}}
{{- range $setting, $key := $values.secretFiles -}}
{{- if include "giaoban.mounted" (list $setting $key $worker) -}}
{{- $_ := set $env (upper $setting) (printf "/secrets/%s" $key) -}}
{{- end -}}
{{- end -}}
{{- if eq $name "gateway" -}}
{{- $_ := set $env "HTTP_LISTEN" "0.0.0.0:8080" -}}
{{- $_ := set $env "WEB_DIRECTORY" "/app/web" -}}
{{- end -}}
{{- if has $name (list "gateway" "notifications") -}}
{{- $_ := set $env "PUBLIC_URL" $root.Values.publicUrl -}}
{{- end -}}
{{- if eq $name "recording" -}}
{{- $_ := set $env "OBJECT_STORE_URL" $root.Values.objectStore.url -}}
{{- $_ := set $env "WORK_DIRECTORY" "/tmp" -}}
{{- end -}}
{{- if eq $name "media" -}}
{{- $_ := set $env "NODES" (include "giaoban.nodes" $root) -}}
{{- end -}}
{{- range $key, $value := $env }}
- name: GIAOBAN_{{ $key }}
  value: {{ $value | quote }}
{{- end }}
{{- if eq $name "recording" }}
{{- include "giaoban.objectStoreEnv" $root }}
{{- end }}
{{- end -}}

{{- define "giaoban.objectStoreEnv" -}}
{{- range $key, $value := .Values.objectStore.env }}
- name: {{ $key }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}

{{/* The one Secret that is no file: the object store's library reads nothing else. */}}
{{- define "giaoban.objectStoreSecret" -}}
{{- with .Values.objectStore.existingSecret }}
envFrom:
  - secretRef: { name: {{ . }} }
{{- end }}
{{- end -}}

{{/* in: setting, key, whether for a worker; a worker opens hostile files, so it gets the database's password only */}}
{{- define "giaoban.mounted" -}}
{{- if and (index . 1) (or (not (index . 2)) (eq (index . 0) "database_password_file")) }}true{{ end -}}
{{- end -}}

{{/* The media nodes as media's setting `nodes`: JSON. */}}
{{- define "giaoban.nodes" -}}
{{- $root := . -}}
{{- $full := include "giaoban.fullname" . -}}
{{- $nodes := list -}}
{{- range $index := until (int .Values.mediaNode.replicas) -}}
{{- $host := printf "%s-media-node-%d.%s-media-node.%s.svc" $full $index $full (include "giaoban.mediaNamespace" $root) -}}
{{- $nodes = append $nodes (dict
      "id" (printf "node-%d" $index)
      "url" (printf "ws://%s:%d" $host (int $root.Values.mediaNode.apiPort))
      "api_secret_file" "/secrets/node/api-secret"
      "admin_key_file" "/secrets/node/admin-key"
      "rec_dir" "/recordings"
      "relay_ports" (list (int $root.Values.mediaNode.relayPorts.from) (int $root.Values.mediaNode.relayPorts.to))
      "budget_packets_per_second" (mul (int $root.Values.mediaNode.eventLoops) (int $root.Values.mediaNode.budgetPacketsPerSecondPerLoop))) -}}
{{- end -}}
{{- toJson $nodes -}}
{{- end -}}

{{/*
A part's pod, whatever it does.
in: root, part, verb, resources, scratch (size of /tmp); out: PodSpec without what only servers have
*/}}
{{- define "giaoban.podSpec" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $verb := index . 2 -}}
{{- $values := index $root.Values $name -}}
{{- $server := has $verb (list "serve" "work") -}}
{{- $worker := eq $verb "work" -}}
automountServiceAccountToken: false
{{- if $server }}
serviceAccountName: {{ include "giaoban.fullname" $root }}-{{ include "giaoban.component" (list $name $verb) }}
{{- end }}
enableServiceLinks: false
securityContext:
  {{- include "giaoban.podSecurity" $root | nindent 2 }}
{{- include "giaoban.scheduling" (list $root $values) }}
containers:
  - name: {{ $name }}
    image: {{ include "giaoban.image" (list $root $name) }}
    imagePullPolicy: {{ $root.Values.image.pullPolicy }}
    command: [python, -m, giaoban_{{ $name }}]
    args: [{{ $verb }}]
    env:
      {{- include "giaoban.env" (list $root $name $verb) | trim | nindent 6 }}
    {{- if eq $name "recording" }}
    {{- include "giaoban.objectStoreSecret" $root | nindent 4 }}
    {{- end }}
    {{- if $server }}
    ports:
      - { name: metrics, containerPort: 9100 }
      {{- if and (eq $verb "serve") (include "giaoban.has" (list $name "grpc")) }}
      - { name: grpc, containerPort: 9000 }
      {{- end }}
      {{- if eq $name "gateway" }}
      - { name: http, containerPort: 8080 }
      {{- end }}
    startupProbe:
      httpGet: { path: /healthz, port: metrics }
      periodSeconds: 2
      failureThreshold: 60
    livenessProbe:
      httpGet: { path: /healthz, port: metrics }
      periodSeconds: 10
      timeoutSeconds: 3
      failureThreshold: 3
    readinessProbe:
      httpGet: { path: /readyz, port: metrics }
      periodSeconds: 3
      timeoutSeconds: 2
      failureThreshold: 2
    lifecycle:
      preStop:
        sleep: { seconds: 5 } # until nobody sends new calls here
    {{- end }}
    resources:
      {{- toYaml (index . 3) | nindent 6 }}
    securityContext:
      {{- include "giaoban.containerSecurity" $root | nindent 6 }}
    volumeMounts:
      - { name: secrets, mountPath: /secrets, readOnly: true }
      - { name: tmp, mountPath: /tmp }
volumes:
  - name: tmp
    emptyDir: { sizeLimit: {{ index . 4 }} }
  - name: secrets
    projected:
      defaultMode: 0440
      sources:
        {{- if not $worker }}
        - secret:
            name: {{ $root.Values.serviceKeys.existingSecret }}
            items:
              - { key: {{ $root.Values.serviceKeys.key }}, path: service-keys.json }
        {{- end }}
        - secret:
            name: {{ $values.existingSecret }}
            items:
              {{- range $setting, $key := $values.secretFiles }}
              {{- if include "giaoban.mounted" (list $setting $key $worker) }}
              - { key: {{ $key }}, path: {{ $key }} }
              {{- end }}
              {{- end }}
        {{- if eq $name "media" }}
        - secret:
            name: {{ $root.Values.mediaNode.existingSecret }}
            items:
              - { key: api-secret, path: node/api-secret }
              - { key: admin-key, path: node/admin-key }
        {{- end }}
{{- end -}}
