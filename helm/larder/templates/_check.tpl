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
{{- $grace := include "larder.graceSeconds" . | int64 }}
{{- if le (mul $grace 1000) (include "larder.drainMilliseconds" . | int64) }}
{{- $problems = append $problems (printf "terminationGracePeriodSeconds is %d: it must be longer than config.drain_timeout, %s, or the server is killed while it drains" $grace .Values.config.drain_timeout) }}
{{- end }}
{{- if and (include "larder.maxSize" .) (gt (include "larder.saidMaxSizeBytes" . | int64) (include "larder.volumeBytes" . | int64)) }}
{{- $problems = append $problems (printf "config.max_size is %v: the volume has %s, and the server would fill it; leave max_size away for nine tenths of the volume, or say in persistence.grownTo how large the volume has become" .Values.config.max_size (include "larder.volumeSize" .)) }}
{{- end }}
{{- if $problems }}
{{- fail (printf "\n  - %s\n" (join "\n  - " $problems)) }}
{{- end }}
{{- end }}

{{/* config.drain_timeout; the schema lets in nothing else than is read here. */}}
{{- define "larder.drainMilliseconds" -}}
{{- $units := dict "ms" 1 "s" 1000 "m" 60000 "min" 60000 "h" 3600000 }}
{{- $sum := int64 0 }}
{{- range regexFindAll "[0-9]+(ms|s|min|m|h)" (default "30s" .Values.config.drain_timeout) -1 }}
{{- $sum = add $sum (mul (regexFind "^[0-9]+" . | int64) (get $units (regexFind "[a-z]+$" .))) }}
{{- end }}
{{- $sum }}
{{- end }}

{{/* terminationGracePeriodSeconds; where it is not said, 15 s longer than the drain. */}}
{{- define "larder.graceSeconds" -}}
{{- if kindIs "invalid" .Values.terminationGracePeriodSeconds }}
{{- add 15 (div (add (include "larder.drainMilliseconds" . | int64) 999) 1000) }}
{{- else }}
{{- int64 .Values.terminationGracePeriodSeconds }}
{{- end }}
{{- end }}

{{/* config.max_size, 0 where it is not said; the schema lets in nothing else than is read here. */}}
{{- define "larder.saidMaxSizeBytes" -}}
{{- $size := .Values.config.max_size }}
{{- if kindIs "string" $size }}
{{- $units := dict "" 1 "k" 1000 "ki" 1024 "m" 1000000 "mi" 1048576 "g" 1000000000 "gi" 1073741824 "t" 1000000000000 "ti" 1099511627776 }}
{{- $unit := regexFind "[a-z]*$" (lower $size) | trimSuffix "b" }}
{{- mulf (regexFind "^[0-9.]+" $size | float64) (get $units $unit) | int64 }}
{{- else }}
{{- int64 $size }}
{{- end }}
{{- end }}
