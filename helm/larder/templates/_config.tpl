{{/* larder.toml: what config says, and what the chart alone can know. */}}

{{- define "larder.config" -}}
{{- $config := deepCopy .Values.config }}
{{- $_ := set $config "listen" (list (printf "%s:8980" .Values.listenAddress)) }}
{{- $_ := set $config "admin_listen" (printf "%s:8981" .Values.listenAddress) }}
{{- $_ := set $config "data_dir" "/data/larder" }}
{{- if .Values.unsafeAnonymous }}
{{- $_ := set $config "unsafe_anonymous" true }}
{{- end }}
{{- with include "larder.tls" . | fromYaml }}
{{- $_ := set $config "tls" . }}
{{- end }}
{{- with include "larder.auth" . | fromYaml }}
{{- $_ := set $config "auth" . }}
{{- end }}
{{- if not (hasKey $config "max_size") }}
{{- with include "larder.maxSize" . }}
{{- $_ := set $config "max_size" . }}
{{- end }}
{{- end }}
{{- include "larder.toml" $config }}
{{- end }}

{{/* The port of config.traces.endpoint; empty without one. */}}
{{- define "larder.collectorPort" -}}
{{- with dig "traces" "endpoint" "" .Values.config }}
{{- $url := urlParse . }}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" }}
{{- default (eq $url.scheme "https" | ternary "443" "80") $port }}
{{- end }}
{{- end }}

{{/* The section [tls], as YAML; empty without a certificate. */}}
{{- define "larder.tls" -}}
{{- with .Values.tls }}
{{- if .existingSecret }}
cert_file: /etc/larder/tls/tls.crt
key_file: /etc/larder/tls/tls.key
{{- if ne .clientAuth "none" }}
client_ca_file: /etc/larder/client-ca/{{ .clientCaKey }}
client_auth: {{ .clientAuth }}
{{- end }}
{{- if .admin }}
admin: true
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The section [auth], as YAML. */}}
{{- define "larder.auth" -}}
{{- if include "larder.credentialsSecret" . }}
credentials_file: /etc/larder/credentials/{{ .Values.auth.existingSecretKey }}
{{- end }}
{{- range $key := list "anonymous" "certificates" "header" }}
{{- with get $.Values.auth $key }}
{{ $key }}: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* The secret with the credentials file; empty without one. */}}
{{- define "larder.credentialsSecret" -}}
{{- if .Values.auth.existingSecret }}
{{- .Values.auth.existingSecret }}
{{- else if .Values.auth.credentials }}
{{- include "larder.fullname" . }}-credentials
{{- end }}
{{- end }}

{{/* Nine tenths of the volume: file systems take some, and min_free_disk the rest. Empty where the size is not known. */}}
{{- define "larder.maxSize" -}}
{{- if or (not .Values.persistence.existingClaim) (not .Values.persistence.enabled) }}
{{- printf "%dMiB" (div (mul (include "larder.volumeBytes" . | int64) 9) 10485760) }}
{{- end }}
{{- end }}

{{/* How large the volume is, if the chart makes it. */}}
{{- define "larder.volumeSize" -}}
{{- default .Values.persistence.size .Values.persistence.grownTo }}
{{- end }}

{{- define "larder.volumeBytes" -}}
{{- $bytes := dict "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 }}
{{- $size := include "larder.volumeSize" . }}
{{- mul (regexFind "^[0-9]+" $size | int64) (get $bytes (regexFind "[A-Z]i$" $size)) }}
{{- end }}

{{/*
A table as TOML: values first, then sections. JSON's texts, numbers, booleans and arrays are TOML's too. (toToml writes whole numbers
as 4.0.)
*/}}
{{- define "larder.toml" -}}
{{- range $key, $value := . }}
{{- if not (or (kindIs "map" $value) (kindIs "invalid" $value)) }}
{{ include "larder.tomlKey" $key }} = {{ toRawJson $value }}
{{- end }}
{{- end }}
{{- range $section, $table := . }}
{{- if kindIs "map" $table }}

[{{ include "larder.tomlKey" $section }}]
{{- range $key, $value := $table }}
{{- if kindIs "map" $value }}
{{- fail (printf "config.%s.%s is a table within a section: settings have one level of sections" $section $key) }}
{{- else if not (kindIs "invalid" $value) }}
{{ include "larder.tomlKey" $key }} = {{ toRawJson $value }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* An instance name as a key may be empty, or have a slash in it. */}}
{{- define "larder.tomlKey" -}}
{{- if regexMatch "^[-A-Za-z0-9_]+$" . }}{{ . }}{{ else }}{{ toRawJson . }}{{ end }}
{{- end }}
