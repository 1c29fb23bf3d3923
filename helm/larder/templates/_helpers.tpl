{{/* Names, labels and images, the same in every template. */}}

{{- define "larder.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* At most 40 characters: pods add theirs, and a label has 63. */}}
{{- define "larder.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "larder.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "larder.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "larder.selectorLabels" -}}
app.kubernetes.io/name: {{ include "larder.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: cache
{{- end }}

{{/* Of the pod of `helm test`, to which no service leads. */}}
{{- define "larder.testLabels" -}}
{{- merge (dict "app.kubernetes.io/component" "test") (include "larder.selectorLabels" . | fromYaml) | toYaml }}
{{- end }}

{{/* What the user wants on everything never changes what selectors look for. */}}
{{- define "larder.labels" -}}
{{- $own := include "larder.selectorLabels" . | fromYaml }}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63) }}
{{- $_ := set $own "app.kubernetes.io/version" .Chart.AppVersion }}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service }}
{{- merge $own .Values.commonLabels | toYaml }}
{{- end }}

{{/* metadata of one object. Takes (dict "root" . "name" NAME "labels" MORE "annotations" MORE). */}}
{{- define "larder.metadata" -}}
{{- $root := .root }}
{{- $labels := merge (include "larder.labels" $root | fromYaml) (default dict .labels) }}
{{- $annotations := merge (deepCopy (default dict .annotations)) $root.Values.commonAnnotations }}
metadata:
  name: {{ .name | quote }}
  namespace: {{ $root.Release.Namespace | quote }}
  labels:
    {{- toYaml $labels | nindent 4 }}
  {{- with $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "larder.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "larder.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* A reference to an image. Takes (dict "root" . "image" IMAGE "tag" WHERE IT HAS NONE). */}}
{{- define "larder.image" -}}
{{- $registry := default .image.registry .root.Values.global.imageRegistry }}
{{- $name := ternary (printf "%s/%s" $registry .image.repository) .image.repository (ne $registry "") }}
{{- if .image.digest }}
{{- printf "%s@%s" $name .image.digest }}
{{- else }}
{{- printf "%s:%s" $name (default .tag .image.tag) }}
{{- end }}
{{- end }}

{{/* Where clients inside the cluster connect. */}}
{{- define "larder.host" -}}
{{- printf "%s.%s.svc.%s" (include "larder.fullname" .) .Release.Namespace .Values.clusterDomain }}
{{- end }}

{{- define "larder.headless" -}}
{{- include "larder.fullname" . }}-headless
{{- end }}
