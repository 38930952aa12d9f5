{{/*
What the controller may do in the namespaces that it works in. It makes no pods,
reads no Secrets, and touches no RBAC and no admission configuration.
*/}}
{{- define "weir.workRules" -}}
# Its own kinds. Specs belong to users: of a Rollout it writes only the
# finalizer.
- apiGroups: [weir.dev]
  resources: [rollouts]
  verbs: [get, list, watch, patch]
- apiGroups: [weir.dev]
  resources: [analysistemplates, approvals]
  verbs: [list, watch]
- apiGroups: [weir.dev]
  resources: [rollouts/status, analysistemplates/status, approvals/status]
  verbs: [update]
# Where owner references are checked, whoever makes an object that blocks the
# deletion of its owner needs this on the owner.
- apiGroups: [weir.dev]
  resources: [rollouts/finalizers]
  verbs: [update]
# The workload: held, released and handed over; the canary's ReplicaSet.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, patch, update]
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
# What stands in a release's way, or makes it risky: said, never changed.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [list]
# Its traffic: Services narrowed to stable, the canary's Service, the routes.
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes, grpcroutes]
  verbs: [get, list, watch, patch]
- apiGroups: [linkerd.io]
  resources: [serviceprofiles]
  verbs: [get, list, watch, patch]
- apiGroups: [networking.istio.io]
  resources: [virtualservices]
  verbs: [get, list, watch, patch]
# Without these the canary's Service would be spoken to in plain text where the
# user's is spoken to in TLS, or without the user's limits.
- apiGroups: [gateway.networking.k8s.io]
  resources: [backendtlspolicies]
  verbs: [list]
- apiGroups: [networking.istio.io]
  resources: [destinationrules]
  verbs: [list]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{/*
What it reads of the whole cluster, whatever namespaces it works in.
*/}}
{{- define "weir.clusterRules" -}}
# What administrators give to all namespaces.
- apiGroups: [weir.dev]
  resources: [clusteranalysistemplates, metricsources]
  verbs: [list, watch]
- apiGroups: [weir.dev]
  resources: [clusteranalysistemplates/status, metricsources/status]
  verbs: [update]
# A Gateway that is gone never takes a canary's traffic away: Weir need not wait
# for it. Routes may name Gateways of any namespace. Where several controllers
# answer for one, its class says whose it is.
- apiGroups: [gateway.networking.k8s.io]
  resources: [gateways, gatewayclasses]
  verbs: [get]
{{- end -}}
