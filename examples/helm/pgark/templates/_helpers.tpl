{{- define "pgark.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "pgark.selector" -}}
app.kubernetes.io/name: pgark
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "pgark.labels" -}}
{{ include "pgark.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "pgark.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "pgark.configSecret" -}}
{{ .Values.existingConfigSecret | default (printf "%s-config" (include "pgark.name" .)) }}
{{- end }}

{{/* The config, with what the chart decides laid below it. */}}
{{- define "pgark.config" -}}
{{- if not .Values.config }}{{ fail "set config, or existingConfigSecret" }}{{ end }}
{{- $daemon := dict "listen" (printf "127.0.0.1:%d" (int .Values.daemon.port)) "drain" (printf "%ds" (int .Values.daemon.drain)) }}
{{- if .Values.daemon.tlsSecret }}
{{- if and (not .Values.daemon.tokens) (not (dig "daemon" "tls" "clientCa" "" .Values.config)) }}{{ fail "daemon.tlsSecret opens the daemon to other pods: set daemon.tokens" }}{{ end }}
{{- $_ := set $daemon "listen" (printf "0.0.0.0:%d" (int .Values.daemon.port)) }}
{{- $_ := set $daemon "tls" (dict "certificate" "/run/secrets/pgark-tls/tls.crt" "key" "/run/secrets/pgark-tls/tls.key") }}
{{- end }}
{{- $tokens := list }}
{{- range .Values.daemon.tokens }}
{{- $tokens = append $tokens (dict "name" .name "role" .role "token" (dict "file" (printf "/run/secrets/pgark/%s" .secretKey))) }}
{{- end }}
{{- if $tokens }}{{ $_ := set $daemon "tokens" $tokens }}{{ end }}
{{- if .Values.daemon.openMetrics }}{{ $_ := set $daemon "openMetrics" true }}{{ end }}
{{- $section := dict "receive" (dict "spool" "/var/lib/pgark/spool") "status" (dict "cache" "/var/lib/pgark/cache") "drill" (dict "folder" "/var/lib/pgark/drill") "log" (dict "format" "json") }}
{{- $config := deepCopy .Values.config }}
{{- if hasKey $config "clusters" }}
{{- $clusters := dict }}
{{- range $name, $own := $config.clusters }}{{ $_ := set $clusters $name (mustMergeOverwrite (deepCopy $section) $own) }}{{ end }}
{{- $_ := set $config "clusters" $clusters }}
{{- else }}
{{- $config = mustMergeOverwrite (deepCopy $section) $config }}
{{- end }}
{{- $_ := set $config "daemon" (mustMergeOverwrite $daemon ($config.daemon | default dict)) }}
{{- toYaml $config }}
{{- end }}

{{- define "pgark.podSpec" -}}
serviceAccountName: {{ include "pgark.name" . }}
# Nothing here talks to the API of Kubernetes.
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .Values.securityContext.runAsUser }}
  runAsGroup: {{ .Values.securityContext.runAsGroup }}
  fsGroup: {{ .Values.securityContext.fsGroup }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: { type: RuntimeDefault }
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{- define "pgark.container" -}}
image: {{ include "pgark.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
command: [pgark]
{{- if or .Values.env .Values.existingConfigSecret }}
env:
  {{- if .Values.existingConfigSecret }}
  # Whatever that config says: the pod is given time for this.
  - { name: PGARK_DAEMON_DRAIN, value: {{ printf "%ds" (int .Values.daemon.drain) }} }
  {{- end }}
  {{- with .Values.env }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
resources: {{ toYaml .Values.resources | nindent 2 }}
{{- end }}

{{- define "pgark.mounts" -}}
- { name: config, mountPath: /etc/pgark, readOnly: true }
{{- if .Values.secrets.existing }}
- { name: secrets, mountPath: /run/secrets/pgark, readOnly: true }
{{- end }}
{{- if .Values.daemon.tlsSecret }}
- { name: tls, mountPath: /run/secrets/pgark-tls, readOnly: true }
{{- end }}
- { name: tmp, mountPath: /tmp }
{{- end }}

{{- define "pgark.volumes" -}}
- name: config
  secret: { secretName: {{ include "pgark.configSecret" . }}, defaultMode: 0440 }
{{- if .Values.secrets.existing }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- range .Values.secrets.existing }}
      - secret: { name: {{ . }} }
      {{- end }}
{{- end }}
{{- if .Values.daemon.tlsSecret }}
- name: tls
  secret: { secretName: {{ .Values.daemon.tlsSecret }}, defaultMode: 0440 }
{{- end }}
- name: tmp
  emptyDir: { sizeLimit: 256Mi }
{{- end }}
