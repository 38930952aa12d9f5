package cluster

import (
	"time"
)

// Options say what a sandbox consists of.
type Options struct {
	// Name tells sandboxes on one machine apart.
	Name string
	// Nodes run pods as real processes.
	Nodes int
	// BulkNodes take pods that only pretend to run, thousands of them.
	BulkNodes int
	// NoPrometheus and NoGateway leave these out.
	NoPrometheus, NoGateway bool
	// Istio adds Istio's control plane and its kinds.
	Istio bool
	// ScrapeInterval of Prometheus.
	ScrapeInterval time.Duration
	// FeatureGates of the API server, as in its flag: "A=true,B=false".
	FeatureGates string
	// DisableMutatingPolicies makes the API server one that does not know
	// MutatingAdmissionPolicy, as those before Kubernetes 1.34.
	DisableMutatingPolicies bool
	// Linkerd adds its destination controller.
	Linkerd bool
	// NoAudit turns the audit log off.
	NoAudit bool
	// Images maps image names (without tag) to programs that run them.
	Images map[string]string
	// OwnerPID, when not zero, is a process whose end ends the sandbox.
	OwnerPID int
}

// Info tells how to use a running sandbox.
type Info struct {
	Name string `json:"name"`
	// Dir holds the sandbox's state.
	Dir string `json:"dir"`
	// Kubeconfig works from outside the sandbox's network, InsideKubeconfig
	// inside of it. Both are the administrator's; those of other users lie
	// beside them.
	Kubeconfig       string `json:"kubeconfig"`
	InsideKubeconfig string `json:"insideKubeconfig"`
	// URLs from outside. Empty when that part was left out.
	APIServerURL  string `json:"apiServerURL"`
	GatewayURL    string `json:"gatewayURL,omitempty"`
	PrometheusURL string `json:"prometheusURL,omitempty"`
	IstiodURL     string `json:"istiodURL,omitempty"`
	// URLs inside.
	InsideAPIServerURL  string `json:"insideAPIServerURL"`
	InsideGatewayURL    string `json:"insideGatewayURL,omitempty"`
	InsidePrometheusURL string `json:"insidePrometheusURL,omitempty"`
	InsideIstiodURL     string `json:"insideIstiodURL,omitempty"`
	// AuditLog is empty when there is none.
	AuditLog string `json:"auditLog,omitempty"`
	// InsideLinkerdAddress is where Linkerd's destination controller serves.
	InsideLinkerdAddress string `json:"insideLinkerdAddress,omitempty"`
	// KubeProxy tells whether ClusterIPs work; if not, KubeProxyReason why.
	KubeProxy       bool   `json:"kubeProxy"`
	KubeProxyReason string `json:"kubeProxyReason,omitempty"`
}
