package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Approval is one decision of one person: about a gate, or to promote, abort or
// retry a release. It cannot be changed, and it counts for the release that it
// names and no other. Admission checks that the approver is who asks, and that
// RBAC allows it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=wap,categories=weir
// +kubebuilder:printcolumn:name="Target",type=string,JSONPath=`.spec.targetRef.name`
// +kubebuilder:printcolumn:name="Release",type=integer,JSONPath=`.spec.release`
// +kubebuilder:printcolumn:name="Action",type=string,JSONPath=`.spec.action`
// +kubebuilder:printcolumn:name="Gate",type=string,JSONPath=`.spec.gate`
// +kubebuilder:printcolumn:name="By",type=string,JSONPath=`.spec.approver.username`
// +kubebuilder:printcolumn:name="Counted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Approval struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the decision.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="an Approval cannot be changed: create another"
	Spec ApprovalSpec `json:"spec"`
	// status says whether it counted.
	// +optional
	Status ApprovalStatus `json:"status,omitzero"`
}

// ApprovalList is a list of Approvals.
//
// +kubebuilder:object:root=true
type ApprovalList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Approval `json:"items"`
}

// ApprovalAction is what a person decided.
//
// +kubebuilder:validation:Enum=Approve;Reject;Promote;Abort;Retry
type ApprovalAction string

// What a person may decide.
const (
	// ActionApprove lets a gate pass.
	ActionApprove ApprovalAction = "Approve"
	// ActionReject lets a gate fail, which ends the release.
	ActionReject ApprovalAction = "Reject"
	// ActionPromote skips the steps that are left.
	ActionPromote ApprovalAction = "Promote"
	// ActionAbort rolls the release back.
	ActionAbort ApprovalAction = "Abort"
	// ActionRetry starts a release that was rolled back anew.
	ActionRetry ApprovalAction = "Retry"
)

// ApprovalSpec is one decision of one person.
//
// +kubebuilder:validation:XValidation:rule="has(self.gate) == (self.action in ['Approve', 'Reject'])",message="Approve and Reject name a gate, and only they do: to end the whole release, use action Abort"
// +kubebuilder:validation:XValidation:rule="self.action != 'Reject' || (has(self.reason) && size(self.reason) > 0)",message="a Reject needs a reason, for those who read it later"
type ApprovalSpec struct {
	// targetRef names the Rollout.
	// +required
	TargetRef ApprovalTarget `json:"targetRef"`
	// release is status.release.number of the Rollout.
	// +required
	// +kubebuilder:validation:Minimum=1
	Release int64 `json:"release"`
	// revision is the version that the decision is about.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Revision string `json:"revision"`
	// action is the decision.
	// +required
	Action ApprovalAction `json:"action"`
	// gate that is approved or rejected.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Gate string `json:"gate,omitempty"`
	// reason of the decision.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason,omitempty"`
	// approver is who decided. Admission fills it in where the cluster has
	// MutatingAdmissionPolicy, and refuses any other.
	// +optional
	Approver *Approver `json:"approver,omitempty"`
}

// ApprovalTarget names what a decision is about, in the Approval's namespace.
type ApprovalTarget struct {
	// kind of the target.
	// +required
	// +kubebuilder:validation:Enum=Rollout
	Kind string `json:"kind"`
	// name of the target.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// uid of the target, metadata.uid: of two Rollouts with one name after each
	// other the decision is about one.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	UID types.UID `json:"uid"`
}

// Approver is who decided.
type Approver struct {
	// username in Kubernetes.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Username string `json:"username"`
}

// ApprovalStatus says whether a decision counted.
type ApprovalStatus struct {
	// conditions: Accepted is True with reason Counted, or False with
	// WrongRelease, NotAsked, Expired, SameUser or ChangeAuthor.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ConditionAccepted of an Approval says whether it counted.
const ConditionAccepted = "Accepted"

// Reasons of the Accepted condition of an Approval.
const (
	ReasonCounted      = "Counted"
	ReasonWrongRelease = "WrongRelease"
	ReasonNotAsked     = "NotAsked"
	ReasonExpired      = "Expired"
	ReasonSameUser     = "SameUser"
	ReasonChangeAuthor = "ChangeAuthor"
)
