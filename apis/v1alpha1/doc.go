// Package v1alpha1 is the API of Weir, group weir.dev.
//
// A Rollout makes the releases of one workload progressive; the workload stays
// the user's own. An AnalysisTemplate says which metrics a release must keep.
// An Approval records one human decision. A MetricSource says where metrics
// are read.
//
// Validation lives in the schemas (CEL), so that a bad object is refused when
// it is applied. What a schema cannot know (other objects) is reported in the
// Stalled condition.
//
// +kubebuilder:object:generate=true
// +groupName=weir.dev
package v1alpha1
