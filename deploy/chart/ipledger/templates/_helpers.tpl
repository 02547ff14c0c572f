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

{{- define "ipledger.natsSecret" -}}
{{ default (printf "%s-nats" (include "ipledger.fullname" .)) .Values.nats.bundled.existingSecret }}
{{- end -}}

{{/* kubelet sets these variables for every service that is there before a pod. */}}
{{- define "ipledger.serviceHost" -}}
$({{ . | upper | replace "-" "_" }}_SERVICE_HOST)
{{- end -}}

{{/* How a process of ours reaches NATS. */}}
{{- define "ipledger.natsEnv" -}}
- name: IPLEDGER_REALM
  value: {{ .Values.realm }}
{{- if .Values.nats.url }}
- name: IPLEDGER_NATS
  value: {{ .Values.nats.url }}
{{- else }}
{{- $host := include "ipledger.serviceHost" (printf "%s-nats" (include "ipledger.fullname" .)) }}
- name: NATS_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ include "ipledger.natsSecret" . }}, key: password}
- name: IPLEDGER_NATS
  value: nats://ipledger:$(NATS_PASSWORD)@{{ $host }}:{{ .Values.nats.bundled.clientPort }}
{{- end }}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
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

{{- define "ipledger.credsArgs" -}}
{{- if .Values.nats.credentialsSecret }}
- --creds=/etc/ipledger/nats/nats.creds
{{- end }}
{{- end -}}

{{- define "ipledger.credsMount" -}}
{{- if .Values.nats.credentialsSecret }}
- {name: nats-credentials, mountPath: /etc/ipledger/nats, readOnly: true}
{{- end }}
{{- end -}}

{{- define "ipledger.credsVolume" -}}
{{- with .Values.nats.credentialsSecret }}
- name: nats-credentials
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- end -}}

{{- define "ipledger.webhookSecret" -}}
{{ default (printf "%s-webhook" (include "ipledger.fullname" .)) .Values.webhook.tls.existingSecret }}
{{- end -}}
