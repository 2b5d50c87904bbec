{{- define "deltareg.labels" -}}
app.kubernetes.io/name: deltareg
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "deltareg.select" -}}
app.kubernetes.io/name: deltareg
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "deltareg.image" -}}
{{ .root.Values.image.repository }}-{{ .target }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{- define "deltareg.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "deltareg.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* A key in a volume of a Secret is readable by its group; a key of ours is its owner's alone. */}}
{{- define "deltareg.keepKeys" -}}
- name: keys
  image: {{ include "deltareg.image" (dict "root" .root "target" .target) }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  command: [install, -m, "0600", -t, /run/deltareg]
  args:
    {{- range .files }}
    - /run/secrets/deltareg/{{ . }}
    {{- end }}
  securityContext:
    {{- include "deltareg.security" .root | nindent 4 }}
  volumeMounts:
    - {name: secret, mountPath: /run/secrets/deltareg, readOnly: true}
    - {name: keys, mountPath: /run/deltareg}
{{- end }}

{{- define "deltareg.url" -}}
http://{{ .Release.Name }}-server.{{ .Release.Namespace }}.svc:8642
{{- end }}

{{- define "deltareg.offers" -}}
{{- $pairs := list -}}
{{- range $label, $value := . }}{{ $pairs = append $pairs (printf "%s=%s" $label $value) }}{{ end -}}
{{ join " " $pairs }}
{{- end }}

{{- define "deltareg.database" -}}
- name: DELTAREG_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ .Values.database.secret }}
      key: {{ .Values.database.key }}
{{- end }}

{{/* Where the registry says how many runs want a worker of a pool. */}}
{{- define "deltareg.demandUrl" -}}
{{- $query := list (printf "pool=%s" .name) -}}
{{- $labels := merge (dict "device" (ternary "cuda" "cpu" (gt (int .pool.gpus) 0))) (.pool.labels | default dict) -}}
{{- range $label, $value := $labels }}{{ $query = append $query (printf "label=%s%%3D%s" $label (urlquery $value)) }}{{ end -}}
{{- range .pool.only | default list }}{{ $query = append $query (printf "what=%s" .) }}{{ end -}}
{{- if .pool.asked }}{{ $query = append $query "asked=true" }}{{ end -}}
{{ include "deltareg.url" .root }}/api/v1/queue/demand?{{ join "&" $query }}
{{- end }}
