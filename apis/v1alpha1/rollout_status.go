package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// RolloutStatus holds decisions, latches, absolute times and numbers: what a
// restarted controller cannot observe. The rest of it is for people, and is
// written only together with a decision.
type RolloutStatus struct {
	// observedGeneration is the generation of the spec that this status answers.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions are Ready, Reconciling and Stalled, as kstatus reads them. The
	// reason of Ready is the state that people read.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// waitingFor says in a few words what the release waits for. Empty when it
	// waits for nothing.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	WaitingFor string `json:"waitingFor,omitempty"`
	// workload is what was seen of the workload.
	// +optional
	Workload WorkloadStatus `json:"workload,omitzero"`
	// stable is the version that serves, or none before the first one was up.
	// +optional
	Stable RevisionStatus `json:"stable,omitzero"`
	// canary is the version on its way, or none.
	// +optional
	Canary RevisionStatus `json:"canary,omitzero"`
	// release is the newest attempt to bring a version to all pods.
	// +optional
	Release ReleaseStatus `json:"release,omitzero"`
	// exposure is the share of the traffic that goes to the canary.
	// +optional
	Exposure ExposureStatus `json:"exposure,omitzero"`
	// analysis is the evidence on which the newest decision rests.
	// +optional
	Analysis AnalysisStatus `json:"analysis,omitzero"`
	// traffic says who carries the split and on which objects.
	// +optional
	Traffic TrafficStatus `json:"traffic,omitzero"`
	// record is the controller's own bookkeeping, by which it resumes after a
	// restart and by which an older controller is kept from writing.
	// +optional
	Record Record `json:"record,omitzero"`
	// history are the ends of the last releases, newest first.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	History []HistoryEntry `json:"history,omitempty"`
}

// HoldMode says how new templates of a workload are held.
//
// +kubebuilder:validation:Enum=AdmissionPolicy;Paused
type HoldMode string

// How new templates are held.
const (
	// HoldAdmissionPolicy pauses the workload in the write that changes its
	// template.
	HoldAdmissionPolicy HoldMode = "AdmissionPolicy"
	// HoldPaused keeps the workload paused between releases too, for clusters
	// without MutatingAdmissionPolicy.
	HoldPaused HoldMode = "Paused"
)

// WorkloadStatus is what was seen of the workload.
type WorkloadStatus struct {
	// uid of the workload.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	UID types.UID `json:"uid,omitempty"`
	// observedGeneration is the newest generation of the workload that this
	// status rests on.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// hold says how new templates are held.
	// +optional
	Hold HoldMode `json:"hold,omitempty"`
}

// RevisionStatus is one version of the workload.
type RevisionStatus struct {
	// revision is the hash of the template.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Revision string `json:"revision,omitempty"`
	// replicas is the number of its pods that were asked for.
	// +optional
	Replicas int32 `json:"replicas,omitempty"`
	// availableReplicas is the number of its pods that were available.
	// +optional
	AvailableReplicas int32 `json:"availableReplicas,omitempty"`
}

// Stage is where a release stands. Conditions are made from it; people read
// those.
//
// +kubebuilder:validation:Enum=Idle;Progressing;Promoting;Adopting;RollingBack;Aborted
type Stage string

// The stages of a release.
const (
	// StageIdle: no release is under way. The empty stage means the same.
	StageIdle Stage = "Idle"
	// StageProgressing: the release walks its steps.
	StageProgressing Stage = "Progressing"
	// StagePromoting: the steps have passed; the canary goes to full size and
	// full weight.
	StagePromoting Stage = "Promoting"
	// StageAdopting: the canary's pods become the workload's own. There is no
	// way back from here but a new release.
	StageAdopting Stage = "Adopting"
	// StageRollingBack: the canary's traffic and then its pods are taken away.
	StageRollingBack Stage = "RollingBack"
	// StageAborted: the canary is gone and the workload waits, held, for a
	// template other than the one that failed.
	StageAborted Stage = "Aborted"
)

// UnderWay tells whether a release, or what remains of it, may be there.
func (s Stage) UnderWay() bool {
	switch s {
	case "", StageIdle, StageAborted:
		return false
	default:
		return true
	}
}

// Cause says why a release was rolled back.
//
// +kubebuilder:validation:Enum=Failed;UserAbort;DeadlineExceeded;Superseded;Reverted;TargetGone;Deleted
type Cause string

// Why a release was rolled back.
const (
	CauseFailed           Cause = "Failed"
	CauseUserAbort        Cause = "UserAbort"
	CauseDeadlineExceeded Cause = "DeadlineExceeded"
	CauseSuperseded       Cause = "Superseded"
	CauseReverted         Cause = "Reverted"
	CauseTargetGone       Cause = "TargetGone"
	CauseDeleted          Cause = "Deleted"
)

// ReleaseStatus is one attempt to bring one version to all pods.
type ReleaseStatus struct {
	// number counts the releases of this Rollout, retries included. An Approval
	// names it.
	// +optional
	Number int64 `json:"number,omitempty"`
	// stage is where the release stands.
	// +optional
	Stage Stage `json:"stage,omitempty"`
	// cause says why it was rolled back.
	// +optional
	Cause Cause `json:"cause,omitempty"`
	// message explains the cause.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
	// failedRevision is the version that was rolled back and is not tried again
	// by itself.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	FailedRevision string `json:"failedRevision,omitempty"`
	// startTime of the release.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`
	// stepIndex is the current step, from 0.
	// +optional
	StepIndex int32 `json:"stepIndex,omitempty"`
	// stepName is the name of the current step, if it has one.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	StepName string `json:"stepName,omitempty"`
	// position is the current step and the number of steps, as in "3/5".
	// +optional
	// +kubebuilder:validation:MaxLength=16
	Position string `json:"position,omitempty"`
	// verifiedAt is since when the step's exposure is verified and its gates
	// are counted. Absent while it is not.
	// +optional
	VerifiedAt *metav1.MicroTime `json:"verifiedAt,omitempty"`
	// deadline is when the step's pods and exposure must be there. Absent while
	// it does not run.
	// +optional
	Deadline *metav1.MicroTime `json:"deadline,omitempty"`
	// drainUntil is how long the canary's pods stay after they have lost their
	// traffic.
	// +optional
	DrainUntil *metav1.MicroTime `json:"drainUntil,omitempty"`
	// changeAuthor made the change that is being released, if known.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	ChangeAuthor string `json:"changeAuthor,omitempty"`
	// changedBy is the user who wrote the template that is being released, as
	// admission saw it, whoever is named as the author.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	ChangedBy string `json:"changedBy,omitempty"`
	// lastCommand is the newest promote, abort or retry that was followed, and by
	// whom.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	LastCommand string `json:"lastCommand,omitempty"`
	// gates of the current step.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	Gates []GateStatus `json:"gates,omitempty"`
}

// GateState is where a gate stands.
//
// +kubebuilder:validation:Enum=Pending;Waiting;Passed;Failed
type GateState string

// Where a gate stands.
const (
	// GatePending: not asked yet.
	GatePending GateState = "Pending"
	// GateWaiting: asked, not answered.
	GateWaiting GateState = "Waiting"
	// GatePassed lets the step end.
	GatePassed GateState = "Passed"
	// GateFailed ends the release.
	GateFailed GateState = "Failed"
)

// GateType is the kind of a gate.
//
// +kubebuilder:validation:Enum=Hold;Analysis;Approval
type GateType string

// The kinds of gates.
const (
	GateHold     GateType = "Hold"
	GateAnalysis GateType = "Analysis"
	GateApproval GateType = "Approval"
)

// GateStatus is one gate of the current step.
type GateStatus struct {
	// type of the gate.
	// +required
	Type GateType `json:"type"`
	// name of the gate, where it has one.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`
	// state of the gate.
	// +required
	State GateState `json:"state"`
	// message says what it waits for or why it failed.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Message string `json:"message,omitempty"`
	// askedAt is when people were asked.
	// +optional
	AskedAt *metav1.Time `json:"askedAt,omitempty"`
	// deadline is when it times out.
	// +optional
	Deadline *metav1.Time `json:"deadline,omitempty"`
	// approvers are the people whose approval counts.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=512
	Approvers []string `json:"approvers,omitempty"`
}

// ExposureStatus is the share of the traffic that goes to the canary: four
// different facts, as percentages.
type ExposureStatus struct {
	// desired is what the release allows now.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	Desired string `json:"desired,omitempty"`
	// configured is what the routes say, or without routes the share of the pods.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	Configured string `json:"configured,omitempty"`
	// accepted is what the data plane says that it has taken.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	Accepted string `json:"accepted,omitempty"`
	// measured is the share of the requests that were counted.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	Measured string `json:"measured,omitempty"`
	// measuredRequests is the number of requests on which measured rests.
	// +optional
	MeasuredRequests int64 `json:"measuredRequests,omitempty"`
}

// VerdictValue is what an analysis says of a version.
//
// +kubebuilder:validation:Enum=Pass;NoFailure;Fail;Inconclusive;NoData
type VerdictValue string

// What an analysis may say.
const (
	// VerdictPass: there is evidence that the version is good.
	VerdictPass VerdictValue = "Pass"
	// VerdictNoFailure: there are sound data and no evidence that it is bad.
	VerdictNoFailure VerdictValue = "NoFailure"
	// VerdictFail: there is evidence that the version is bad.
	VerdictFail VerdictValue = "Fail"
	// VerdictInconclusive: there are too few data for a verdict.
	VerdictInconclusive VerdictValue = "Inconclusive"
	// VerdictNoData: the metrics are missing, late or not usable.
	VerdictNoData VerdictValue = "NoData"
)

// AnalysisStatus is the evidence on which a decision rests.
type AnalysisStatus struct {
	// verdict over all required metrics: the worst of theirs.
	// +optional
	Verdict VerdictValue `json:"verdict,omitempty"`
	// reason is a word for machines.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason,omitempty"`
	// message explains the verdict to people.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
	// windowEnd is the end of the window of data on which the verdict rests.
	// +optional
	WindowEnd *metav1.Time `json:"windowEnd,omitempty"`
	// metrics are the verdicts of the metrics.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Metrics []MetricStatus `json:"metrics,omitempty"`
}

// MetricStatus is the verdict of one metric.
type MetricStatus struct {
	// name of the metric.
	// +required
	// +kubebuilder:validation:MaxLength=320
	Name string `json:"name"`
	// verdict of the metric.
	// +required
	Verdict VerdictValue `json:"verdict"`
	// canary is what was seen of the canary, such as "8/742".
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Canary string `json:"canary,omitempty"`
	// stable is what was seen of the stable version at the same time.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Stable string `json:"stable,omitempty"`
	// message explains the verdict.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Message string `json:"message,omitempty"`
}

// Record is the controller's own bookkeeping.
type Record struct {
	// seq counts the records: writes of this status that carry a decision. Every
	// object that Weir writes is stamped with the seq it rests on; an object
	// with a greater stamp is not written.
	// +optional
	Seq int64 `json:"seq,omitempty"`
	// exposureSeq is the record of the last change of the allowed exposure.
	// +optional
	ExposureSeq int64 `json:"exposureSeq,omitempty"`
	// releaseSeq is the record that started the release.
	// +optional
	ReleaseSeq int64 `json:"releaseSeq,omitempty"`
	// termSeq is the record by which the controller process took over.
	// +optional
	TermSeq int64 `json:"termSeq,omitempty"`
	// term names that controller process.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Term string `json:"term,omitempty"`
	// desiredWeight is the allowed weight of the canary, in parts per 10,000.
	// +optional
	DesiredWeight int32 `json:"desiredWeight,omitempty"`
	// desiredExtras name the matches, mirror and fault of the step that the canary
	// may have, beside the weight. Those of a step that says something else by now
	// are not them.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	DesiredExtras string `json:"desiredExtras,omitempty"`
	// lowered says that exposure was taken to 0 within the step, since the canary
	// had no pods left or the workload was scaled to zero.
	// +optional
	Lowered bool `json:"lowered,omitempty"`
	// lowerings counts that in this release. The third one fails it.
	// +optional
	Lowerings int32 `json:"lowerings,omitempty"`
	// stepsGeneration is the generation of the Rollout whose steps are followed.
	// +optional
	StepsGeneration int64 `json:"stepsGeneration,omitempty"`
}

// ReleaseResult is how a release ended.
//
// +kubebuilder:validation:Enum=Promoted;RolledBack;Superseded;Aborted
type ReleaseResult string

// How a release may end.
const (
	ResultPromoted   ReleaseResult = "Promoted"
	ResultRolledBack ReleaseResult = "RolledBack"
	ResultSuperseded ReleaseResult = "Superseded"
	ResultAborted    ReleaseResult = "Aborted"
)

// HistoryEntry is how one release ended.
type HistoryEntry struct {
	// number of the release.
	// +required
	Number int64 `json:"number"`
	// revision that was released.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Revision string `json:"revision"`
	// result of the release.
	// +required
	Result ReleaseResult `json:"result"`
	// message explains the result.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Message string `json:"message,omitempty"`
	// startTime of the release.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`
	// endTime of the release.
	// +optional
	EndTime *metav1.Time `json:"endTime,omitempty"`
	// approvers are the people whose approvals counted.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=512
	Approvers []string `json:"approvers,omitempty"`
}

// Condition types of a Rollout, as kstatus reads them.
const (
	// ConditionReady: True when the workload runs what it should. Its reason is
	// the state that people read.
	ConditionReady = "Ready"
	// ConditionReconciling: True while a release is under way.
	ConditionReconciling = "Reconciling"
	// ConditionStalled: True when nothing goes on until somebody acts.
	ConditionStalled = "Stalled"
)

// Reasons of the Ready condition.
const (
	ReasonStable             = "Stable"
	ReasonReleasing          = "Releasing"
	ReasonPromoting          = "Promoting"
	ReasonRollingBack        = "RollingBack"
	ReasonWaitingForApproval = "WaitingForApproval"
	ReasonWaitingForEvidence = "WaitingForEvidence"
	ReasonPaused             = "Paused"
	ReasonHeld               = "Held"
	ReasonRolledBack         = "RolledBack"
	ReasonInvalidSpec        = "InvalidSpec"
	ReasonWorkloadNotFound   = "WorkloadNotFound"
	ReasonUnsupported        = "Unsupported"
)
