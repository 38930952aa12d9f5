package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AnalysisTemplate names metrics that a release must keep.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=wat,categories=weir
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type AnalysisTemplate struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec names the metrics.
	// +required
	Spec AnalysisTemplateSpec `json:"spec"`
	// status says whether the template can be used.
	// +optional
	Status AnalysisTemplateStatus `json:"status,omitzero"`
}

// AnalysisTemplateList is a list of AnalysisTemplates.
//
// +kubebuilder:object:root=true
type AnalysisTemplateList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AnalysisTemplate `json:"items"`
}

// ClusterAnalysisTemplate is an AnalysisTemplate for every namespace.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=wcat,categories=weir
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ClusterAnalysisTemplate struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec names the metrics.
	// +required
	Spec AnalysisTemplateSpec `json:"spec"`
	// status says whether the template can be used.
	// +optional
	Status AnalysisTemplateStatus `json:"status,omitzero"`
}

// ClusterAnalysisTemplateList is a list of ClusterAnalysisTemplates.
//
// +kubebuilder:object:root=true
type ClusterAnalysisTemplateList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterAnalysisTemplate `json:"items"`
}

// AnalysisTemplateSpec names metrics that a release must keep.
type AnalysisTemplateSpec struct {
	// metricSourceName names the MetricSource. Absent: the default one.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	MetricSourceName string `json:"metricSourceName,omitempty"`
	// parameters are replaced in queries, written as {{args.<name>}} inside a
	// string literal of PromQL, where the value is quoted. Built in, written
	// without args: {{namespace}}, {{workload}}, {{canaryPods}} and
	// {{stablePods}}, the last two as regular expressions.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Parameters []Parameter `json:"parameters,omitempty"`
	// metrics of the template.
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=20
	Metrics []Metric `json:"metrics"`
}

// Parameter is a value that a Rollout gives to a template.
type Parameter struct {
	// name of the parameter.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-zA-Z_][a-zA-Z0-9_]*$`
	Name string `json:"name"`
	// default value. Absent: the Rollout must give one.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Default *string `json:"default,omitempty"`
}

// MetricType is the kind of a metric.
//
// +kubebuilder:validation:Enum=Ratio;Condition
type MetricType string

// The kinds of metrics.
const (
	// MetricRatio counts bad events against all events of the canary.
	MetricRatio MetricType = "Ratio"
	// MetricCondition compares the one value of a query with a limit.
	MetricCondition MetricType = "Condition"
)

// MetricRole says whether a metric may stop a release.
//
// +kubebuilder:validation:Enum=Required;Advisory
type MetricRole string

// Whether a metric may stop a release.
const (
	RoleRequired MetricRole = "Required"
	RoleAdvisory MetricRole = "Advisory"
)

// Metric is one thing that a release must keep.
//
// +kubebuilder:validation:XValidation:rule="has(self.ratio) == (self.type == 'Ratio')",message="ratio goes with type Ratio, and type Ratio needs it"
// +kubebuilder:validation:XValidation:rule="has(self.condition) == (self.type == 'Condition')",message="condition goes with type Condition, and type Condition needs it"
type Metric struct {
	// name of the metric.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name"`
	// type of the metric.
	// +required
	Type MetricType `json:"type"`
	// role says whether the metric may stop a release. Advisory metrics are shown
	// only.
	// +optional
	// +default="Required"
	Role MetricRole `json:"role,omitempty"`
	// ratio counts bad events against all events of the canary.
	// +optional
	Ratio *RatioMetric `json:"ratio,omitempty"`
	// condition compares the one value of a query with a limit.
	// +optional
	Condition *ConditionMetric `json:"condition,omitempty"`
}

// Selector is a PromQL vector selector of a counter, without functions, such
// as http_requests_total{code=~"5.."}. The pods of each version are added to
// it.
//
// +kubebuilder:validation:MaxLength=512
// +kubebuilder:validation:Pattern=`^[a-zA-Z_:][a-zA-Z0-9_:]*(\{[^{}]*\})?$`
type Selector string

// Signal names counters that the data plane keeps by itself.
//
// +kubebuilder:validation:Enum=RequestErrors
type Signal string

// SignalRequestErrors are requests that the new version failed, among all that it got.
const SignalRequestErrors Signal = "RequestErrors"

// RatioMetric counts bad events against all events of the canary.
//
// +kubebuilder:validation:XValidation:rule="has(self.signal) || has(self.bad) || has(self.total)",message="name a signal such as RequestErrors, or the counters of bad and total"
// +kubebuilder:validation:XValidation:rule="!has(self.signal) || !has(self.bad) && !has(self.total)",message="signal stands for bad and total: give either signal, or bad and total"
// +kubebuilder:validation:XValidation:rule="has(self.bad) == has(self.total)",message="bad and total go together: bad is counted against total"
type RatioMetric struct {
	// signal counts by what carries the traffic instead of bad and total: the proxies
	// of the mesh, on the side of the callers. RequestErrors are answers with 5xx, gRPC
	// calls that ended for a reason of the server's, and requests that got no answer
	// from the new version at all. It needs routes that Istio or Linkerd carries.
	// +optional
	Signal Signal `json:"signal,omitempty"`
	// bad selects the counter of bad events of the canary's pods.
	// +optional
	Bad Selector `json:"bad,omitempty"`
	// total selects the counter of all events, the bad ones among them.
	// +optional
	Total Selector `json:"total,omitempty"`
	// maxRatio is the largest share of bad events that is acceptable, such as
	// "0.5%".
	// +required
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:Pattern=`^(100|[0-9]{1,2}([.][0-9]{1,4})?)%$`
	MaxRatio string `json:"maxRatio"`
}

// Operator compares a value with a limit.
//
// +kubebuilder:validation:Enum=LessThan;LessThanOrEqual;GreaterThan;GreaterThanOrEqual
type Operator string

// The operators.
const (
	LessThan           Operator = "LessThan"
	LessThanOrEqual    Operator = "LessThanOrEqual"
	GreaterThan        Operator = "GreaterThan"
	GreaterThanOrEqual Operator = "GreaterThanOrEqual"
)

// ConditionMetric compares the one value of a query with a limit.
//
// +kubebuilder:validation:XValidation:rule="self.failAfter <= self.outOf",message="failAfter may not be greater than outOf (3 and 5 when absent): such a metric could never fail"
type ConditionMetric struct {
	// query in PromQL, with exactly one value.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Query string `json:"query"`
	// failWhen says which values are bad.
	// +required
	FailWhen Limit `json:"failWhen"`
	// interval between two looks. Absent: 30s.
	// +optional
	Interval Duration `json:"interval,omitempty"`
	// failAfter is how many of the last outOf looks must be bad for a failure.
	// +optional
	// +default=3
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	FailAfter int32 `json:"failAfter,omitempty"`
	// outOf is how many looks count. The metric passes when that many looks of
	// this step are there and fewer than failAfter of them are bad.
	// +optional
	// +default=5
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	OutOf int32 `json:"outOf,omitempty"`
}

// Limit says which values are bad.
type Limit struct {
	// operator between the value of the query, on the left, and value.
	// +required
	Operator Operator `json:"operator"`
	// value is a decimal number, as a string.
	// +required
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^-?[0-9]+([.][0-9]+)?$`
	Value string `json:"value"`
}

// AnalysisTemplateStatus says whether a template can be used.
type AnalysisTemplateStatus struct {
	// observedGeneration is the generation that this status answers.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions: Ready is True when every query parses and its source is there.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}
