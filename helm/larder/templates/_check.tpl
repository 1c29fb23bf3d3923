{{/* What the schema cannot say. Each problem names the values that mend it; all are told at once. */}}

{{- define "larder.check" -}}
{{- $problems := list }}
{{- $credentials := include "larder.credentialsSecret" . }}
{{- $certificates := and .Values.tls.existingSecret (eq .Values.tls.clientAuth "required") (has .Values.auth.certificates (list "read" "write")) }}
{{- if not (or .Values.unsafeAnonymous $credentials $certificates) }}
{{- $problems = append $problems "who may use the cache? Set auth.existingSecret (or auth.credentials) to a file of credentials, or tls.existingSecret, tls.clientAuth=required and auth.certificates to let in clients by certificate, or unsafeAnonymous=true if everyone whom networkPolicy.clients lets in may read and write it" }}
{{- end }}
{{- if and .Values.unsafeAnonymous (or $credentials $certificates) }}
{{- $problems = append $problems "unsafeAnonymous=true lets in everyone, auth does not: choose one" }}
{{- end }}
{{- if and .Values.auth.existingSecret .Values.auth.credentials }}
{{- $problems = append $problems "auth.existingSecret and auth.credentials are two places for the same: choose one" }}
{{- end }}
{{- if and (not .Values.tls.existingSecret) (or (ne .Values.tls.clientAuth "none") .Values.tls.admin) }}
{{- $problems = append $problems "tls.clientAuth and tls.admin need tls.existingSecret" }}
{{- end }}
{{- if and .Values.persistence.existingClaim (gt (int .Values.replicaCount) 1) }}
{{- $problems = append $problems "persistence.existingClaim is one volume, and a data directory has one server: set replicaCount=1" }}
{{- end }}
{{- $drain := include "larder.drainSeconds" . | int }}
{{- if le (int .Values.terminationGracePeriodSeconds) $drain }}
{{- $problems = append $problems (printf "terminationGracePeriodSeconds is %d: it must be longer than config.drain_timeout, %d s, or the server is killed while it drains" (int .Values.terminationGracePeriodSeconds) $drain) }}
{{- end }}
{{- if $problems }}
{{- fail (printf "\n  - %s\n" (join "\n  - " $problems)) }}
{{- end }}
{{- end }}

{{/* config.drain_timeout in seconds; 0 for one written in another way than 30s or 2m, which is not checked then. */}}
{{- define "larder.drainSeconds" -}}
{{- $text := default "30s" .Values.config.drain_timeout | toString }}
{{- if regexMatch "^[0-9]+s$" $text }}
{{- trimSuffix "s" $text }}
{{- else if regexMatch "^[0-9]+m(in)?$" $text }}
{{- mul (regexFind "^[0-9]+" $text | int) 60 }}
{{- else }}0
{{- end }}
{{- end }}
