{{- define "ipledger.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The labels that select a component's pods: (dict "root" $ "component" "engine"). */}}
{{- define "ipledger.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "ipledger.labels" -}}
{{ include "ipledger.selector" . }}
app.kubernetes.io/part-of: ipledger
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "ipledger.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}

{{/* What a container of ours is not allowed to do. */}}
{{- define "ipledger.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "ipledger.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* Fields of every pod of ours. They must start where no pod has an address yet: on the host's
     network, and by the addresses of services, which need no DNS. */}}
{{- define "ipledger.pod" -}}
serviceAccountName: {{ include "ipledger.fullname" .root }}-{{ .component }}
hostNetwork: true
dnsPolicy: ClusterFirstWithHostNet
{{- with .root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* kubelet sets these variables for every service that is there before a pod. */}}
{{- define "ipledger.serviceHost" -}}
$({{ . | upper | replace "-" "_" }}_SERVICE_HOST)
{{- end -}}

{{/* How a process of ours reaches NATS, and who it is there: (dict "root" $ "role" "engine"). */}}
{{- define "ipledger.natsEnv" -}}
{{- $values := .root.Values -}}
- name: IPLEDGER_REALM
  value: {{ $values.realm }}
- name: IPLEDGER_NATS
{{- if $values.nats.url }}
  value: {{ $values.nats.url }}
{{- else }}
{{- $host := include "ipledger.serviceHost" (printf "%s-nats" (include "ipledger.fullname" .root)) }}
  value: nats://{{ $host }}:{{ $values.nats.bundled.clientPort }}
{{- end }}
{{- if include "ipledger.keyVolume" . }}
- name: IPLEDGER_{{ $values.nats.keys.format | upper }}
  value: /etc/ipledger/key/{{ $values.nats.keys.format }}
{{- end }}
{{- with $values.env }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The key of a role, of which a container mounts its own and no other. */}}
{{- define "ipledger.keyVolume" -}}
{{- $nats := .root.Values.nats -}}
{{- if and (eq .role "agents") $nats.keys.nodeFile -}}
- name: agents-key
  hostPath: {path: {{ $nats.keys.nodeFile }}, type: File}
{{- else if get $nats.keys .role -}}
- name: {{ .role }}-key
  # Root's, and kubelet lets the pod's fsGroup read it.
  secret: {secretName: {{ get $nats.keys .role }}, defaultMode: 0400}
{{- else if not $nats.url -}}
{{- fail (printf "nats.keys.%s: the bundled NATS servers let in nobody without a key" .role) -}}
{{- end -}}
{{- end -}}

{{- define "ipledger.keyMount" -}}
{{- if include "ipledger.keyVolume" . -}}
{{- $file := and (eq .role "agents") .root.Values.nats.keys.nodeFile -}}
- name: {{ .role }}-key
  mountPath: /etc/ipledger/key{{ if $file }}/{{ .root.Values.nats.keys.format }}{{ end }}
  readOnly: true
{{- end -}}
{{- end -}}

{{/* Where /healthz and /metrics are: on the address of the host, for kubelet and Prometheus. */}}
{{- define "ipledger.httpHost" -}}
{{- if not .Values.httpOnLoopback }}$(POD_IP):{{ end -}}
{{- end -}}

{{- define "ipledger.podIpEnv" -}}
{{- if not .Values.httpOnLoopback }}
- name: POD_IP
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
{{- end }}
{{- end -}}

{{- define "ipledger.webhookSecret" -}}
{{ default (printf "%s-webhook" (include "ipledger.fullname" .)) .Values.webhook.tls.existingSecret }}
{{- end -}}
