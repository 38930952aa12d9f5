{{/* Name of the objects of this release. */}}
{{- define "weir.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels by which pods are selected; they may never change. */}}
{{- define "weir.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels of every object. */}}
{{- define "weir.labels" -}}
{{ include "weir.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "weir.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "weir.fullname" .) -}}
{{- end -}}

{{/* The user that the policies take for Weir, as a CEL string literal. */}}
{{- define "weir.celUsername" -}}
'{{ .Values.controllerUsername | default (printf "system:serviceaccount:%s:%s" .Release.Namespace (include "weir.serviceAccountName" .)) }}'
{{- end -}}

{{/*
The apiVersion in which the cluster serves MutatingAdmissionPolicy, or nothing
when the chart is to do without. In 1.34 and 1.35 it may be served as v1beta1.
*/}}
{{- define "weir.mutatingAPIVersion" -}}
{{- $v1 := "admissionregistration.k8s.io/v1" -}}
{{- $beta := "admissionregistration.k8s.io/v1beta1" -}}
{{- $enabled := toString .Values.mutatingAdmissionPolicy.enabled -}}
{{- $served := .Capabilities.APIVersions.Has (printf "%s/MutatingAdmissionPolicy" $v1) -}}
{{- $servedBeta := .Capabilities.APIVersions.Has (printf "%s/MutatingAdmissionPolicy" $beta) -}}
{{- if ne $enabled "false" -}}
{{- if $served -}}
{{- $v1 -}}
{{- else if $servedBeta -}}
{{- $beta -}}
{{- else if eq $enabled "true" -}}
{{- $v1 -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* How new templates are held: the value of the controller's flag --hold. */}}
{{- define "weir.holdMode" -}}
{{- if include "weir.mutatingAPIVersion" . -}}AdmissionPolicy{{- else -}}Paused{{- end -}}
{{- end -}}

{{/*
A binding without parameters. Call it with a dict of: root, apiVersion, kind,
name (of policy and binding), and actions for validating policies.
*/}}
{{- define "weir.binding" -}}
apiVersion: {{ .apiVersion }}
kind: {{ .kind }}
metadata:
  name: {{ .name }}
  labels: {{- include "weir.labels" .root | nindent 4 }}
spec:
  policyName: {{ .name }}
  {{- if hasKey . "actions" }}
  validationActions: {{- toYaml .actions | nindent 4 }}
  {{- end }}
{{- end -}}
