package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Rollout makes every new version of one workload a progressive release:
// traffic and pods move to it in steps, each step is gated, and a version that
// fails is taken back.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=wro,categories=weir
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Step",type=string,JSONPath=`.status.release.position`
// +kubebuilder:printcolumn:name="Weight",type=string,JSONPath=`.status.exposure.configured`
// +kubebuilder:printcolumn:name="Measured",type=string,JSONPath=`.status.exposure.measured`
// +kubebuilder:printcolumn:name="Verdict",type=string,JSONPath=`.status.analysis.verdict`
// +kubebuilder:printcolumn:name="Waiting For",type=string,JSONPath=`.status.waitingFor`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Workload",type=string,priority=1,JSONPath=`.spec.workloadRef.name`
// +kubebuilder:printcolumn:name="Stable",type=string,priority=1,JSONPath=`.status.stable.revision`
// +kubebuilder:printcolumn:name="Canary",type=string,priority=1,JSONPath=`.status.canary.revision`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="self.metadata.name != 'off'",message="metadata.name may not be off: the label weir.dev/rollout=off takes a workload out of Weir's hands"
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 52",message="metadata.name may have at most 52 characters: the names of other objects are made from it"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.status) || !has(oldSelf.status.release) || !has(oldSelf.status.release.stage) || oldSelf.status.release.stage in ['Idle', 'Aborted'] || (has(self.spec.traffic) ? has(oldSelf.spec.traffic) && self.spec.traffic == oldSelf.spec.traffic : !has(oldSelf.spec.traffic))",message="spec.traffic may not change while a release is under way: wait until it has ended, or abort it first",fieldPath=".spec.traffic"
type Rollout struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says how releases of the workload are to go.
	// +required
	Spec RolloutSpec `json:"spec"`
	// status is written by the controller alone. Nothing in it is a command.
	// +optional
	Status RolloutStatus `json:"status,omitzero"`
}

// RolloutList is a list of Rollouts.
//
// +kubebuilder:object:root=true
type RolloutList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Rollout `json:"items"`
}

// RolloutSpec says how releases of one workload are to go.
//
// +kubebuilder:validation:XValidation:rule="has(self.traffic) || !has(self.steps) || self.steps.all(s, !has(s.matches) && !has(s.mirror))",message="matches and mirror need spec.traffic.routeRefs: without routes there is nothing to tell requests apart by",fieldPath=".steps"
// +kubebuilder:validation:XValidation:rule="!has(self.steps) || !has(self.traffic) || !self.traffic.routeRefs.exists(r, r.kind == 'ServiceProfile') || self.steps.all(s, !has(s.matches) && !has(s.mirror))",message="a ServiceProfile has weights and nothing else: take matches and mirror out of the steps, or use an HTTPRoute with the Service as its parent",fieldPath=".steps"
// +kubebuilder:validation:XValidation:rule="!has(self.steps) || !self.steps.exists(s, has(s.fault)) || has(self.traffic) && self.traffic.routeRefs.all(r, r.kind == 'VirtualService')",message="fault needs routes of kind VirtualService: no other kind has faults",fieldPath=".steps"
type RolloutSpec struct {
	// workloadRef names the workload in the Rollout's namespace. It is
	// immutable. One workload has one Rollout; of two, the older one counts.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="workloadRef is immutable: delete this Rollout and create another"
	WorkloadRef WorkloadReference `json:"workloadRef"`

	// traffic says which routes carry the workload's traffic. Absent: the share
	// of the new version is its share of the pods. It may not change while a
	// release is under way.
	// +optional
	Traffic *Traffic `json:"traffic,omitempty"`

	// steps are walked in order. Each states its whole exposure and then waits
	// for its gates. A step of weight 100 (without routes: of 100 % of the
	// replicas) is appended when the last one is not that. Absent: 1, 5, 25,
	// 50 and 100 percent.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=30
	// +kubebuilder:validation:XValidation:rule="self.map(s, !has(s.weight) ? 0.0 : type(s.weight) == int ? double(s.weight) : 0.5).isSorted()",message="weights may not go down: each step states its whole exposure, so repeat the weight that you want to keep (a step without weight has weight 0)"
	// +kubebuilder:validation:XValidation:rule="self.all(s, !has(s.name) || self.exists_one(t, has(t.name) && t.name == s.name))",message="the name of a step may be there only once: rename one of the steps, or leave its name away"
	// +kubebuilder:validation:XValidation:rule="self.all(s, !has(s.gates) || !has(s.gates.approvals) || s.gates.approvals.all(a, self.exists_one(t, has(t.gates) && has(t.gates.approvals) && t.gates.approvals.exists(b, b.name == a.name))))",message="the name of an approval may be there only once in all steps, since an Approval names its gate: rename one of them"
	Steps []Step `json:"steps,omitempty"`

	// analysis names the metrics that a release must keep, from its first
	// exposure to its promotion.
	// +optional
	Analysis *Analysis `json:"analysis,omitempty"`

	// capacity says where the pods of the new version come from.
	// +optional
	Capacity *Capacity `json:"capacity,omitempty"`

	// progressDeadline is how long the pods and the exposure of a step may take
	// to be there before the release has failed. It does not run while the
	// release waits for a gate or is paused. Absent: 10m.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!self.matches('^[0hms]*$')",message="progressDeadline must be longer than zero: leave it away for 10m"
	ProgressDeadline Duration `json:"progressDeadline,omitempty"`

	// onFailure says what becomes of a version that failed. Rollback takes its
	// traffic and then its pods. Hold takes its traffic and leaves its pods for
	// study; it needs a route and narrowed Services, which keep traffic from them,
	// and is about versions that failed, not those that somebody aborted.
	// Absent: Rollback.
	// +optional
	OnFailure FailurePolicy `json:"onFailure,omitempty"`

	// paused holds the release where it is. It never holds a rollback.
	// +optional
	Paused bool `json:"paused,omitempty"`

	// deletionPolicy says what becomes of the workload when the Rollout is
	// deleted during a release or after a rollback. KeepStable: the stable
	// version runs on, under the template that made it. KeepPaused: the stable
	// version runs on and the workload stays paused at the template that was
	// not promoted. Release: the workload rolls to its template natively.
	// Absent: KeepStable.
	// +optional
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
}

// WorkloadReference names a workload, as an HPA's scaleTargetRef does.
type WorkloadReference struct {
	// apiVersion of the workload.
	// +optional
	// +default="apps/v1"
	// +kubebuilder:validation:Enum=apps/v1
	APIVersion string `json:"apiVersion,omitempty"`
	// kind of the workload.
	// +required
	// +kubebuilder:validation:Enum=Deployment
	Kind string `json:"kind"`
	// name of the workload, in the namespace of the Rollout.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// TrafficProvider names who carries the split.
//
// +kubebuilder:validation:Enum=GatewayAPI;Istio;Linkerd;Kubernetes
type TrafficProvider string

// The providers.
const (
	// ProviderGatewayAPI splits by the weights of HTTPRoute and GRPCRoute.
	ProviderGatewayAPI TrafficProvider = "GatewayAPI"
	// ProviderIstio splits by the weights of VirtualService.
	ProviderIstio TrafficProvider = "Istio"
	// ProviderLinkerd splits by the weights of ServiceProfile.
	ProviderLinkerd TrafficProvider = "Linkerd"
	// ProviderKubernetes splits by the number of pods behind the Service.
	ProviderKubernetes TrafficProvider = "Kubernetes"
)

// OtherCallers says who serves callers that do not pass the routes.
//
// +kubebuilder:validation:Enum=Stable;Shared
type OtherCallers string

// Who serves callers of the Service that do not pass the routes.
const (
	// OtherCallersStable narrows the user's Service to the stable version for
	// the length of a release.
	OtherCallersStable OtherCallers = "Stable"
	// OtherCallersShared leaves the Service as it is: such callers meet the
	// new version by its share of the pods.
	OtherCallersShared OtherCallers = "Shared"
)

// Traffic says which routes carry the workload's traffic.
//
// +kubebuilder:validation:XValidation:rule="self.routeRefs.all(r, r.kind == 'VirtualService') || self.routeRefs.all(r, r.kind == 'ServiceProfile') || self.routeRefs.all(r, r.kind in ['HTTPRoute', 'GRPCRoute'])",message="routeRefs are of one API: of VirtualServices, of ServiceProfiles, or of HTTPRoutes and GRPCRoutes, since a mesh follows only one of the two for a Service",fieldPath=".routeRefs"
// +kubebuilder:validation:XValidation:rule="!has(self.previewServiceName) || !has(self.serviceRefs) || self.serviceRefs.all(s, s.name != self.previewServiceName && s.name + '-canary' != self.previewServiceName)",message="previewServiceName may not be the name of one of serviceRefs or of its canary's Service: the preview is a Service of its own",fieldPath=".previewServiceName"
// +kubebuilder:validation:XValidation:rule="!has(self.sessionAffinity) || self.routeRefs.exists(r, r.kind in ['HTTPRoute', 'VirtualService'])",message="sessionAffinity needs a route of kind HTTPRoute or VirtualService: gRPC clients keep no cookies, and a ServiceProfile has weights and nothing else; leave it away, or use one of these kinds",fieldPath=".sessionAffinity"
// +kubebuilder:validation:XValidation:rule="!has(self.sessionAffinity) || !has(self.otherCallers) || self.otherCallers != 'Shared'",message="sessionAffinity needs otherCallers to be Stable: with Shared the user's Service serves both versions, to users of the stable one, too",fieldPath=".sessionAffinity"
type Traffic struct {
	// routeRefs name the routes. Every rule with a backend that is a Service
	// which selects the workload's pods is split. Their kind says who carries the
	// split: Gateway API (HTTPRoute, GRPCRoute), Istio (VirtualService) or Linkerd
	// (ServiceProfile).
	// +required
	// +listType=map
	// +listMapKey=kind
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	RouteRefs []RouteReference `json:"routeRefs"`

	// sessionAffinity keeps each user with one version, by a cookie. Absent: off.
	// +optional
	SessionAffinity *SessionAffinity `json:"sessionAffinity,omitempty"`

	// otherCallers says who serves callers of the Service that do not pass the
	// routes. Absent: Stable.
	// +optional
	OtherCallers OtherCallers `json:"otherCallers,omitempty"`

	// serviceRefs narrow the split to backends of these names. Absent: every
	// Service behind the routes that selects the workload's pods.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	ServiceRefs []ServiceReference `json:"serviceRefs,omitempty"`

	// previewServiceName is the name of a Service that Weir makes, by which the new
	// version can be looked at before any user meets it. During a release it selects
	// the canary's pods, from before there is one; from a rollback on those of the
	// stable version; and between releases all pods of the workload. It has the ports
	// of the Services behind the routes, is never a backend of Weir's in a route, and
	// goes with the Rollout. A Service of that name must not exist. (Without routes
	// there is no preview: users meet a canary as soon as it has a pod.) Absent: none.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z]([-a-z0-9]*[a-z0-9])?$`
	PreviewServiceName string `json:"previewServiceName,omitempty"`
}

// Step states the whole exposure of the new version (what is absent is off)
// and then waits for its gates, all of which must pass. Approvals are asked
// last. Weights never go down from step to step.
//
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:XValidation:rule="!has(self.mirror) || !has(self.matches) && (!has(self.weight) || type(self.weight) == int && self.weight == 0)",message="mirror is for a step of its own, before the canary's answers reach anybody: with weight or matches in the same step nobody could tell its evidence from theirs"
// +kubebuilder:validation:XValidation:rule="!has(self.fault) || has(self.matches)",message="fault needs matches: it is for the canary's requests alone, which only then have a rule of their own"
type Step struct {
	// name is shown to people and stays with the step when steps are edited.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`
	// weight is the share of the traffic that the new version serves: a whole
	// percent from 0 to 100, or below one percent a string such as "0.1%".
	// Without routes the share is reached by the number of pods, at least one,
	// and the share that was reached is shown. Absent: 0.
	// +optional
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:Pattern=`^0[.](0[1-9]|[1-9][0-9]?)%$`
	// +kubebuilder:validation:XValidation:rule="type(self) == string ? self.startsWith('0.') && self.endsWith('%') : self >= 0 && self <= 100",message="weight is in percent, from 0 to 100; below one percent write a string such as '0.1%'"
	Weight *intstr.IntOrString `json:"weight,omitempty"`
	// replicas is the least size of the new version: a number of pods, or a
	// share of the workload's replicas such as "50%". It is a floor: the new
	// version always has the pods that its weight needs.
	// +optional
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:Pattern=`^([0-9]|[1-9][0-9]|100)%$`
	// +kubebuilder:validation:XValidation:rule="type(self) == string ? self.endsWith('%') : self >= 0",message="replicas is a number of pods from 0, or a share of the workload's replicas from '0%' to '100%'"
	Replicas *intstr.IntOrString `json:"replicas,omitempty"`
	Extras   `json:",inline"`
	// gates are what the step waits for after its exposure was verified.
	// Absent: the analysis, and without any analysis a hold of 5m.
	// +optional
	Gates *Gates `json:"gates,omitempty"`
}

// Gates are what a step waits for. All must pass.
//
// +kubebuilder:validation:MinProperties=1
type Gates struct {
	// hold is the least time at this exposure, counted from the moment at which
	// it was verified, without interruption.
	// +optional
	Hold Duration `json:"hold,omitempty"`
	// analysis says what verdict the step needs. Implied when the Rollout has an
	// analysis.
	// +optional
	Analysis *AnalysisGate `json:"analysis,omitempty"`
	// approvals are answered by people, when the other gates have passed. The
	// name of each is unique over all steps.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	Approvals []ApprovalGate `json:"approvals,omitempty"`
}

// RequiredVerdict is what a step needs of the analysis.
//
// +kubebuilder:validation:Enum=Pass;NoFailure
type RequiredVerdict string

// What a step may need of the analysis.
const (
	// RequirePass waits for evidence that the new version is good.
	RequirePass RequiredVerdict = "Pass"
	// RequireNoFailure is content without evidence that it is bad.
	RequireNoFailure RequiredVerdict = "NoFailure"
)

// TimeoutAction is what happens when a wait for a verdict has lasted too long.
//
// +kubebuilder:validation:Enum=Hold;Advance;Rollback
type TimeoutAction string

// HoldAction is what happens when something is missing for too long.
//
// +kubebuilder:validation:Enum=Hold;Rollback
type HoldAction string

// What happens when a wait has lasted too long.
const (
	OnTimeoutHold     TimeoutAction = "Hold"
	OnTimeoutAdvance  TimeoutAction = "Advance"
	OnTimeoutRollback TimeoutAction = "Rollback"

	HoldActionHold     HoldAction = "Hold"
	HoldActionRollback HoldAction = "Rollback"
)

// AnalysisGate says what verdict a step needs to end.
//
// +kubebuilder:validation:MinProperties=1
type AnalysisGate struct {
	// require is the verdict that the step needs. NoFailure is also met while there
	// are too few data for a verdict. Absent: Pass where the new version has some
	// but not all of the traffic, else NoFailure.
	// +optional
	Require RequiredVerdict `json:"require,omitempty"`
	// timeout overrides spec.analysis.timeout for this step.
	// +optional
	Timeout Duration `json:"timeout,omitempty"`
	// onTimeout overrides spec.analysis.onTimeout for this step.
	// +optional
	OnTimeout TimeoutAction `json:"onTimeout,omitempty"`
}

// ChangeAuthorPolicy says whether the author of the change may approve it.
//
// +kubebuilder:validation:Enum=Allowed;Excluded
type ChangeAuthorPolicy string

// AskPolicy says when people are asked.
//
// +kubebuilder:validation:Enum=AfterOtherGates;Immediately
type AskPolicy string

// Values of ApprovalGate fields.
const (
	ChangeAuthorAllowed  ChangeAuthorPolicy = "Allowed"
	ChangeAuthorExcluded ChangeAuthorPolicy = "Excluded"

	AskAfterOtherGates AskPolicy = "AfterOtherGates"
	AskImmediately     AskPolicy = "Immediately"
)

// ApprovalGate is answered by people. Who may answer it is RBAC: the verb
// approve on rollouts/<name of the gate>.
type ApprovalGate struct {
	// name of the gate, unique over all steps of the Rollout.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:XValidation:rule="!(self in ['status', 'scale', 'finalizers'])",message="status, scale and finalizers are subresources of their own: give the gate another name"
	Name string `json:"name"`
	// minApprovals is the number of different people that must approve.
	// +optional
	// +default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10
	MinApprovals int32 `json:"minApprovals,omitempty"`
	// changeAuthor says whether the approval of the author of the change counts:
	// of the user in the workload's annotation weir.dev/change-author, which CI
	// writes where a tool such as Argo CD or Flux brings the change, and of the user
	// who wrote the template (weir.dev/changed-by).
	// +optional
	// +default="Allowed"
	ChangeAuthor ChangeAuthorPolicy `json:"changeAuthor,omitempty"`
	// ask says when people are asked. An approval that comes early counts.
	// +optional
	// +default="AfterOtherGates"
	Ask AskPolicy `json:"ask,omitempty"`
	// timeout is how long to wait from the moment people are asked. Absent: for
	// ever.
	// +optional
	Timeout Duration `json:"timeout,omitempty"`
	// onTimeout says what happens then. An approval is never given by time.
	// +optional
	// +default="Hold"
	OnTimeout HoldAction `json:"onTimeout,omitempty"`
}

// Analysis names the metrics that a release must keep. It runs from the first
// exposure to the promotion, and a failure acts at once.
type Analysis struct {
	// templateRefs name the templates with the metrics.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	TemplateRefs []TemplateReference `json:"templateRefs"`
	// timeout is how long a step waits for its verdict, from verified exposure.
	// Absent: 30m.
	// +optional
	Timeout Duration `json:"timeout,omitempty"`
	// onTimeout says what happens then. Absent: Hold.
	// +optional
	OnTimeout TimeoutAction `json:"onTimeout,omitempty"`
	// onMissingData says what happens when metrics have been missing for as long
	// as the timeout. Until then the release holds. Absent: Hold.
	// +optional
	OnMissingData HoldAction `json:"onMissingData,omitempty"`
}

// TemplateReference names an analysis template.
type TemplateReference struct {
	// kind of the template.
	// +optional
	// +default="AnalysisTemplate"
	// +kubebuilder:validation:Enum=AnalysisTemplate;ClusterAnalysisTemplate
	Kind string `json:"kind,omitempty"`
	// name of the template.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// args are values for the template's parameters.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Args []Argument `json:"args,omitempty"`
}

// Argument is a value for a template's parameter.
type Argument struct {
	// name of the parameter.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// value of the parameter.
	// +required
	// +kubebuilder:validation:MaxLength=256
	Value string `json:"value"`
}

// CapacityType says where the pods of the new version come from.
//
// +kubebuilder:validation:Enum=Surge
type CapacityType string

// CapacitySurge adds the pods of the new version to those of the stable one,
// which keeps its full size until the promotion.
const CapacitySurge CapacityType = "Surge"

// Capacity says where the pods of the new version come from.
//
// +kubebuilder:validation:MinProperties=1
type Capacity struct {
	// type of capacity. Absent: Surge.
	// +optional
	Type CapacityType `json:"type,omitempty"`
	// scaleDownDelay is how long the pods of a version that is rolled back stay
	// after a route has taken their traffic, so that requests in flight end. Without
	// routes they go at once, as do pods that do not stay up. Absent: 30s.
	// +optional
	ScaleDownDelay Duration `json:"scaleDownDelay,omitempty"`
}

// FailurePolicy says what becomes of a version that failed.
//
// +kubebuilder:validation:Enum=Rollback;Hold
type FailurePolicy string

// What becomes of a version that failed.
const (
	FailureRollback FailurePolicy = "Rollback"
	FailureHold     FailurePolicy = "Hold"
)

// DeletionPolicy says what becomes of the workload with its Rollout's deletion.
//
// +kubebuilder:validation:Enum=KeepStable;KeepPaused;Release
type DeletionPolicy string

// What becomes of the workload when its Rollout is deleted.
const (
	DeletionKeepStable DeletionPolicy = "KeepStable"
	DeletionKeepPaused DeletionPolicy = "KeepPaused"
	DeletionRelease    DeletionPolicy = "Release"
)
