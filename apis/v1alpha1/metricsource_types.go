package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DefaultMetricSourceAnnotation with value "true" makes a MetricSource the one
// for templates that name none.
const DefaultMetricSourceAnnotation = "metricsource.weir.dev/is-default"

// MetricSource says where metrics are read. It belongs to the administrators of
// the cluster: templates name it and give no addresses.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=wms,categories=weir
// +kubebuilder:printcolumn:name="Type",type=string,JSONPath=`.spec.type`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type MetricSource struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says where the metrics are.
	// +required
	Spec MetricSourceSpec `json:"spec"`
	// status says whether the source answers.
	// +optional
	Status MetricSourceStatus `json:"status,omitzero"`
}

// MetricSourceList is a list of MetricSources.
//
// +kubebuilder:object:root=true
type MetricSourceList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []MetricSource `json:"items"`
}

// MetricSourceSpec says where metrics are.
//
// +kubebuilder:validation:XValidation:rule="has(self.prometheus) == (self.type == 'Prometheus')",message="prometheus goes with type Prometheus, and type Prometheus needs it"
type MetricSourceSpec struct {
	// type of the source.
	// +required
	// +kubebuilder:validation:Enum=Prometheus
	Type string `json:"type"`
	// prometheus is a server with the query API of Prometheus.
	// +optional
	Prometheus *PrometheusSource `json:"prometheus,omitempty"`
}

// PrometheusSource is a server with the query API of Prometheus.
type PrometheusSource struct {
	// url of the server, without the path of the API.
	// +required
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['http', 'https']",message="url must be an http or https URL such as http://prometheus.monitoring:9090"
	URL string `json:"url"`
	// podLabel is the label of the series that names the pod.
	// +optional
	// +default="pod"
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[a-zA-Z_][a-zA-Z0-9_]*$`
	PodLabel string `json:"podLabel,omitempty"`
	// namespaceLabel is the label of the series that names the namespace.
	// +optional
	// +default="namespace"
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[a-zA-Z_][a-zA-Z0-9_]*$`
	NamespaceLabel string `json:"namespaceLabel,omitempty"`
	// httpConfigSecretRef names a Secret in Weir's own namespace. Its key
	// config.yaml holds the HTTP client configuration of Prometheus (tls_config,
	// basic_auth, authorization, oauth2) with its secrets inline.
	// +optional
	HTTPConfigSecretRef *SecretReference `json:"httpConfigSecretRef,omitempty"`
	// requestsByService says how the gateways or proxies of the cluster count
	// requests by the Service that served them. With it the share of the traffic
	// that reached the new version is measured.
	// +optional
	RequestsByService *ServiceRequests `json:"requestsByService,omitempty"`
}

// ServiceRequests is a counter of requests by the Service that served them.
type ServiceRequests struct {
	// total selects the counter of requests.
	// +required
	Total Selector `json:"total"`
	// serviceLabel is the label that names the Service.
	// +required
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[a-zA-Z_][a-zA-Z0-9_]*$`
	ServiceLabel string `json:"serviceLabel"`
	// namespaceLabel is the label that names the Service's namespace.
	// +required
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[a-zA-Z_][a-zA-Z0-9_]*$`
	NamespaceLabel string `json:"namespaceLabel"`
}

// SecretReference names a Secret in Weir's own namespace.
type SecretReference struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// MetricSourceStatus says whether a source answers.
type MetricSourceStatus struct {
	// observedGeneration is the generation that this status answers.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions: Ready is True when the source answers.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}
