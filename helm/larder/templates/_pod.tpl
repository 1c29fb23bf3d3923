{{/* The pod of the StatefulSet. */}}

{{- define "larder.podSpec" -}}
serviceAccountName: {{ include "larder.serviceAccountName" . | quote }}
automountServiceAccountToken: false
# Variables such as LARDER_PORT, which Kubernetes makes of services, look like settings.
enableServiceLinks: false
terminationGracePeriodSeconds: {{ include "larder.graceSeconds" . }}
{{- with .Values.global.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- range $field := list "priorityClassName" "runtimeClassName" }}
{{- with get $.Values $field }}
{{ $field }}: {{ . | quote }}
{{- end }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
containers:
  - name: larder
    image: {{ include "larder.image" (dict "root" . "image" .Values.image "tag" .Chart.AppVersion) | quote }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    args:
      - serve
      - --config=/etc/larder/config/larder.toml
      {{- with .Values.extraArgs }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    {{- range $field := list "extraEnv" "extraEnvFrom" }}
    {{- with get $.Values $field }}
    {{ trimPrefix "extra" $field | untitle }}:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- end }}
    ports:
      - name: cache
        containerPort: 8980
        protocol: TCP
      - name: admin
        containerPort: 8981
        protocol: TCP
    {{- include "larder.probes" . | trim | nindent 4 }}
    resources:
      {{- toYaml .Values.resources | nindent 6 }}
    securityContext:
      {{- toYaml .Values.containerSecurityContext | nindent 6 }}
    volumeMounts:
      - name: data
        mountPath: /data
      - name: config
        mountPath: /etc/larder/config
        readOnly: true
      {{- if include "larder.credentialsSecret" . }}
      - name: credentials
        mountPath: /etc/larder/credentials
        readOnly: true
      {{- end }}
      {{- if .Values.tls.existingSecret }}
      - name: tls
        mountPath: /etc/larder/tls
        readOnly: true
      {{- if ne .Values.tls.clientAuth "none" }}
      - name: client-ca
        mountPath: /etc/larder/client-ca
        readOnly: true
      {{- end }}
      {{- end }}
      {{- with .Values.extraVolumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
  {{- with .Values.extraContainers }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
volumes:
  {{- include "larder.volumes" . | trim | nindent 2 }}
{{- range $field := list "nodeSelector" "tolerations" "affinity" }}
{{- with get $.Values $field }}
{{ $field }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
topologySpreadConstraints:
  {{- if .Values.topologySpreadConstraints }}
  {{- toYaml .Values.topologySpreadConstraints | nindent 2 }}
  {{- else }}
  {{- range $topology := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ $topology }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "larder.selectorLabels" $ | nindent 8 }}
  {{- end }}
  {{- end }}
{{- end }}

{{/* Secrets as whole directories, not by subPath: what changes in the secret then changes in the pod, and the server reads it again. */}}
{{- define "larder.volumes" -}}
- name: config
  configMap:
    name: {{ include "larder.fullname" . | quote }}
{{- with include "larder.credentialsSecret" . }}
- name: credentials
  secret:
    secretName: {{ . | quote }}
    defaultMode: 0440
{{- end }}
{{- with .Values.tls }}
{{- if .existingSecret }}
- name: tls
  secret:
    secretName: {{ .existingSecret | quote }}
    defaultMode: 0440
    items:
      - { key: tls.crt, path: tls.crt }
      - { key: tls.key, path: tls.key }
{{- if ne .clientAuth "none" }}
- name: client-ca
  secret:
    secretName: {{ default .existingSecret .clientCaSecret | quote }}
    defaultMode: 0440
    items:
      - { key: {{ .clientCaKey | quote }}, path: {{ .clientCaKey | quote }} }
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.persistence }}
{{- if not .enabled }}
- name: data
  emptyDir:
    sizeLimit: {{ include "larder.volumeSize" $ }}
{{- else if .existingClaim }}
- name: data
  persistentVolumeClaim:
    claimName: {{ .existingClaim | quote }}
{{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/*
/livez says that the process answers; it does while a large store is opened. Ready is what grpc.health.v1 says, which knows of drains and
of a disk that cannot be written. Kubelets speak no TLS in gRPC probes: with it they ask /readyz, which says the same.
*/}}
{{- define "larder.probes" -}}
{{- $scheme := ternary "HTTPS" "HTTP" .Values.tls.admin }}
{{- $livez := dict "httpGet" (dict "path" "/livez" "port" "admin" "scheme" $scheme) }}
{{- $ready := dict "grpc" (dict "port" 8980) }}
{{- if .Values.tls.existingSecret }}
{{- $ready = dict "httpGet" (dict "path" "/readyz" "port" "admin" "scheme" $scheme) }}
{{- end }}
startupProbe:
  {{- merge $livez .Values.startupProbe | toYaml | nindent 2 }}
livenessProbe:
  {{- merge (deepCopy (pick $livez "httpGet")) .Values.livenessProbe | toYaml | nindent 2 }}
readinessProbe:
  {{- merge $ready .Values.readinessProbe | toYaml | nindent 2 }}
{{- end }}
