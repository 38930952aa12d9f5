package decide

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// Input is everything that a decision may rest on. The slices are in any order
// that does not change by itself; sets are best sorted by name.
type Input struct {
	// Now is the only clock.
	Now time.Time
	// Term is the identity of this controller process, new at each start.
	Term string
	// Fresh says that everything below was read live in this pass, except
	// Verdict and Measured, which name what they rest on.
	Fresh bool

	// Rollout with its status as it was read. It is not changed.
	Rollout *v1alpha1.Rollout
	// Provider that the spec asks for. The provider of a release under way is in
	// its status.
	Provider v1alpha1.TrafficProvider
	// Target is the workload.
	Target Target
	// Sets are the ReplicaSets of the target and those that Weir made for this
	// Rollout, empty ones among them.
	Sets []Set
	// Route is what the traffic provider found: nil for a provider without
	// routes. While a release or its remains are there, it covers the routes of
	// status.traffic as well as those of the spec.
	Route *Route
	// Backends are the user's Services behind the routes and the canary's twin
	// of each, whether the twin exists or not, sorted by name, user's first.
	// Empty for a provider without routes.
	Backends []Backend
	// Preview is the preview Service that status.traffic names, or else the spec,
	// whether it exists or not; nil when none is named. Between releases it is one of
	// another name, if there is one: a create of an older process may land late.
	Preview *Backend
	// Verdict of the analysis, nil before its first look.
	Verdict *Verdict
	// Measured share of the traffic, nil where it is not measured.
	Measured *Measured
	// Approvals that name the UID of the Rollout.
	Approvals []v1alpha1.Approval
	// Problems that keep the Rollout from working at all. Nothing is raised
	// while there is one; the guard goes on working.
	Problems []Problem
}

// Target is the workload.
type Target struct {
	// UID of the workload; empty when it does not exist.
	UID types.UID
	// Generation and ObservedGeneration of the workload.
	Generation, ObservedGeneration int64
	// Revision of spec.template.
	Revision string
	// Replicas that spec asks for.
	Replicas int32
	// MaxUnavailable of its rolling update, as a number of pods.
	MaxUnavailable int32
	// Paused is spec.paused. ActsPaused says that its controller still takes it for
	// paused: its condition Progressing has the reason DeploymentPaused.
	Paused, ActsPaused bool
	// Vetoed says that the handover annotation is on the workload.
	Vetoed bool
	// Label is the value of the label weir.dev/rollout.
	Label string
	// Hold says how the cluster holds new templates.
	Hold v1alpha1.HoldMode
	// ChangeAuthor made the newest change, if known.
	ChangeAuthor string
	// ChangedBy is the user who wrote it, as admission saw, if known.
	ChangedBy string
}

// Owner says to whom a ReplicaSet belongs.
type Owner string

// The owners.
const (
	// OwnerTarget: the workload is its controller.
	OwnerTarget Owner = "Target"
	// OwnerWeir: Weir made it for this Rollout, and the workload has not adopted
	// it.
	OwnerWeir Owner = "Weir"
	// OwnerNone: nobody, for instance between Weir's labels and the adoption.
	OwnerNone Owner = "None"
)

// Set is one ReplicaSet.
type Set struct {
	Name string
	UID  types.UID
	// Revision of its template, by the rules in the package documentation: sets
	// with equal templates have one revision.
	Revision string
	// Hash is its own label pod-template-hash: what a Service selects.
	Hash  string
	Owner Owner
	// Size is spec.replicas, Pods status.replicas, Available the available ones
	// among those.
	Size, Pods, Available int32
	Created               time.Time
	// Stamp on the set; 0 when it has none.
	Stamp int64
	// Vetoed says that the handover annotation is on the set.
	Vetoed bool
	// Labelled says that its labels match the workload's selector, so that the
	// workload may adopt it.
	Labelled bool
	// Crash is the worst evidence found in its pods, nil without any.
	Crash *Crash
	// Obstacle says in words why pods cannot be created or scheduled, such as a
	// quota or missing nodes. Empty when nothing is known to be in the way.
	Obstacle string
	// Stuck says in words why a container of its pods does not start, such as an
	// image that does not exist. Empty when none is known not to.
	Stuck string
}

// Crash is evidence that a pod does not stay up.
type Crash struct {
	// Pod and Container it was found in.
	Pod, Container string
	// Restarts of that container.
	Restarts int32
	// Reason as Kubernetes writes it, such as CrashLoopBackOff, OOMKilled or
	// Error.
	Reason string
	// Message has more, such as the exit code. It may be empty.
	Message string
}

// Route is what the traffic provider found, over all routes and rules the worst.
// Routes that do not exist are left out, and a Problem names them.
type Route struct {
	// Split says that some rule carries the canary's backend. False: every rule
	// is as the user wrote it, which means stable.
	Split bool
	// Weight is the highest weight of the canary in any rule, LowestWeight the
	// lowest.
	Weight, LowestWeight int32
	// Extras are those that were asked about, by their ID, if any rule carries
	// anything of them, and Whole says that every rule carries all of them. Stray
	// says that a rule carries others.
	Extras       string
	Whole, Stray bool
	// Loose says that a rule does not keep the sessions of the users as it should at
	// the weight that is allowed.
	Loose bool
	// Accepted says that the data plane has accepted every route as it is now;
	// where not, Message says which and why.
	Accepted bool
	Message  string
	// Unannounced says that no event will tell when the data plane has accepted the
	// routes: it has to be asked again.
	Unannounced bool
	// Processed says that the data plane has taken note of every route as it is
	// now, whatever it thinks of it: enough for taking exposure away.
	Processed bool
	// Stamp is the lowest stamp of the routes, 0 where one has none;
	// HighestStamp is the highest.
	Stamp, HighestStamp int64
	// ForeignWriter is the field manager that undid the split, if it is undone.
	ForeignWriter string
	// Routes found, as Kind/name, for display.
	Routes []string
}

// Backend is a Service: one of the user's, the canary's twin of it, or the preview.
type Backend struct {
	// Name of the Service.
	Name string
	// Canary says that it is the twin that Weir makes.
	Canary bool
	// Exists is always true for the user's own. A preview that is not Weir's does
	// not exist.
	Exists bool
	// Revision that its selector is narrowed to: for the user's Service the pin,
	// empty when it is wide.
	Revision string
	// Seen is the Revision that the EndpointSlices of the Service show, that is
	// the last one that the endpoint controller has acted on. (It copies the
	// labels of the Service to the slices, weir.dev/pin among them.)
	Seen string
	// ReadyCanary are the ready endpoints of the canary.
	ReadyCanary int32
	// Stamp on the Service; 0 when it has none.
	Stamp int64
}

// Verdict is what the analysis says of one revision in one release.
type Verdict struct {
	Release  int64
	Revision string
	// StepStart is status.release.verifiedAt as it was when Step was asked for;
	// zero when it was not set.
	StepStart time.Time
	// Value is the verdict since the first exposure, on which a failure acts;
	// Step the one since StepStart, which a gate needs.
	Value, Step v1alpha1.VerdictValue
	// Reason is a word, Message explains the verdict to people.
	Reason, Message string
	// WindowEnd is the end of the data. MissingSince is since when data have been
	// missing, for NoData.
	WindowEnd, MissingSince time.Time
	Metrics                 []v1alpha1.MetricStatus
	// NextLook is when another look can say more; zero when unknown.
	NextLook time.Time
}

// Measured is the share of the requests that the canary served.
type Measured struct {
	// Canary and Total are requests counted from Start to End.
	Canary, Total int64
	Start, End    time.Time
}

// Problem keeps a Rollout from working at all.
type Problem struct {
	// Reason is ReasonInvalidSpec, ReasonWorkloadNotFound or ReasonUnsupported of
	// v1alpha1.
	Reason string
	// Field is the path of the field that is wrong, where there is one.
	Field string
	// Message says what is wrong, with the value, and the remedy.
	Message string
}

// Decision is what to record and then to do.
type Decision struct {
	// ReadLive asks to decide again on live reads before anything is done. The
	// rest of the Decision is empty then, except Waiting.
	ReadLive bool
	// Status to record, whole; nil when there is nothing to record. Its
	// record.seq is one more than before.
	Status *v1alpha1.RolloutStatus
	// Effects in order: those that lower first, those that raise last.
	Effects []Effect
	// Events, after the effects and best effort. There are none without a Status.
	Events []Event
	// Answers to Approvals, for their status, best effort: only those that
	// differ from what the Approval's status says.
	Answers []Answer
	// WakeAt is when the decision can change by time alone; zero when only an
	// event can change it.
	WakeAt time.Time
	// Waiting says why the pass does no more than it does.
	Waiting Waiting
}

// EffectKind is the kind of one write.
type EffectKind string

// The effects, each one write by compare-and-swap on the object as it was read
// live, stamped with the seq of the record. Every one may be repeated. The
// comments say what must be true of the live objects; where it is not, nothing
// is written and the pass ends.
const (
	// EffectLabel puts the label weir.dev/rollout on the workload.
	EffectLabel EffectKind = "Label"
	// EffectUnlabel takes it off.
	EffectUnlabel EffectKind = "Unlabel"
	// EffectAddFinalizer puts the finalizer on the Rollout. If: not being
	// deleted.
	EffectAddFinalizer EffectKind = "AddFinalizer"
	// EffectRemoveFinalizer takes it off. If: nothing of Weir's is left.
	EffectRemoveFinalizer EffectKind = "RemoveFinalizer"

	// EffectPause sets spec.paused of the workload. If: its template is Revision.
	EffectPause EffectKind = "Pause"
	// EffectUnpause clears spec.paused of the workload. If: its template is
	// Revision and, when Size is not negative, its replicas are Size. The
	// compare-and-swap on the workload makes sure that no newer template is
	// released.
	EffectUnpause EffectKind = "Unpause"
	// EffectRevertTemplate writes the template of the set of Revision (the stable
	// one) into the workload and clears spec.paused, in one write. If: the
	// Rollout is being deleted.
	EffectRevertTemplate EffectKind = "RevertTemplate"

	// EffectPin narrows the user's Service Name to Revision. If: exactly one
	// active set belongs to the workload and it is Revision.
	EffectPin EffectKind = "Pin"
	// EffectWiden takes the pin off the user's Service Name. Endpoints only grow.
	EffectWiden EffectKind = "Widen"
	// EffectEnsureBackend makes the canary's Service Name, selecting Revision, or
	// stamps it. Its selector changes only while no weight goes to it.
	EffectEnsureBackend EffectKind = "EnsureBackend"
	// EffectDeleteBackend deletes the canary's Service Name, with preconditions
	// on UID and resourceVersion. If: no route refers to it.
	EffectDeleteBackend EffectKind = "DeleteBackend"

	// EffectShowPreview makes the preview Service Name, or brings it up to date, so
	// that it selects the pods of Revision, or all of the workload's if that is empty.
	EffectShowPreview EffectKind = "ShowPreview"
	// EffectDeletePreview deletes the preview Service Name, with preconditions on UID
	// and resourceVersion.
	EffectDeletePreview EffectKind = "DeletePreview"

	// EffectSetWeight with Raise makes the canary's weight exactly Weight in
	// every rule, and has each carry Extras and no others. If: every route is accepted as it is; every user's Service is
	// pinned and seen so (unless otherCallers is Shared); both backends have
	// ready endpoints; the canary has at least Size available pods and a stamp of
	// at least record.termSeq.
	// Without Raise it makes the weight at most Weight, takes what is not of Extras
	// away, and stamps in any case; on a route that is as the user wrote it, it only
	// stamps.
	EffectSetWeight EffectKind = "SetWeight"
	// EffectRestoreRoute gives every rule back as the user wrote it.
	EffectRestoreRoute EffectKind = "RestoreRoute"

	// EffectCreateCanary makes the canary's ReplicaSet of Revision with Size
	// pods, from the workload's template. If: the template is Revision; with
	// routes every user's Service is pinned and seen so (unless Shared).
	EffectCreateCanary EffectKind = "CreateCanary"
	// EffectScaleCanary sets the size of the canary's set Name to Size. With
	// Raise, if: made by Weir, not adopted, stamp at least record.termSeq, and
	// the pins as for CreateCanary or the stage Adopting. Without Raise (fewer
	// pods), if: made by Weir and not adopted.
	EffectScaleCanary EffectKind = "ScaleCanary"
	// EffectSealCanary only stamps the canary's set Name, so that older writes in
	// flight fail.
	EffectSealCanary EffectKind = "SealCanary"
	// EffectDeleteCanary deletes the set Name, with preconditions on UID and
	// resourceVersion. If: made by Weir and not adopted; with routes, every route
	// is accepted as it is and sends it nothing. To a set of another release than
	// the one under way routes send nothing when no Service of the canary selects
	// it.
	EffectDeleteCanary EffectKind = "DeleteCanary"
	// EffectDeleteTwin deletes the empty set Name of the workload's history, with
	// preconditions on UID and resourceVersion. If: size and pods are 0.
	EffectDeleteTwin EffectKind = "DeleteTwin"
	// EffectShrinkSet sets the size of the set Name of the workload to Size, which
	// is less. If: the workload is paused, the set of Revision belongs to it and is
	// not smaller, and the workload's template is not that of stable or of the
	// canary, if one of the two sets has that: to those it is resumed. It finishes a
	// roll that a third template has interrupted; the workload's controller gives
	// the pods to the larger set.
	EffectShrinkSet EffectKind = "ShrinkSet"

	// EffectExpelSet takes the set Name of the workload away. If: the workload is
	// paused, and it has a set of Revision (the stable one). Where that has a size,
	// the other's becomes 0, and the workload's controller gives its pods to
	// stable. Where it has none, the other set is deleted, if none of its pods is
	// available: the controller scales the set of a paused workload's template up
	// before any other, and would do so again. It ends a roll to a version that was
	// rolled back, which somebody began by resuming the workload, or to one that its
	// controller has revived.
	EffectExpelSet EffectKind = "ExpelSet"

	// EffectBeginHandOver sets the handover annotation on the workload and clears
	// spec.paused, in one write: from now on its controller may adopt, but not
	// make a ReplicaSet. If: the workload's template is Revision and its
	// generation is observed; the canary's size and available pods are its
	// replicas, and so is the size of its own active set; no other set has that
	// template; with routes, every user's Service is wide and every route is the
	// user's own and accepted.
	EffectBeginHandOver EffectKind = "BeginHandOver"
	// EffectAdopt gives the set Name the labels of the workload's selector, so
	// that the workload adopts it. If: the workload has the annotation, is not
	// paused, and its controller has seen that (a paused one that adopts a set
	// takes pods from it); its template is Revision; size and available pods of the set are
	// its replicas, and so is the size of its own active set.
	EffectAdopt EffectKind = "Adopt"
	// EffectEndHandOver takes the annotation off the workload, and pauses it in the
	// same write where no set of its own runs its template: its controller would
	// roll to that. If: no set is labelled and not yet adopted.
	EffectEndHandOver EffectKind = "EndHandOver"
	// EffectUnveto takes the annotation off the set Name. If: the workload does
	// not have it any more.
	EffectUnveto EffectKind = "Unveto"
)

// Effect is one write.
type Effect struct {
	Kind EffectKind
	// Name of the ReplicaSet or Service, where the kind has several.
	Name string
	// Revision that the effect is about; see the kinds.
	Revision string
	// Size and Weight; see the kinds.
	Size, Weight int32
	// Extras by their ID, empty for none; see the kinds.
	Extras string
	// Raise says that the effect increases the canary's exposure or size, or hands
	// it over. The shell confirms more before it than before others; see the
	// package documentation.
	Raise bool
	// Why in a few words, for logs.
	Why string
}

// EventType is the type of a Kubernetes Event.
type EventType string

// The types of events.
const (
	EventNormal  EventType = "Normal"
	EventWarning EventType = "Warning"
)

// Event is a Kubernetes Event about the Rollout.
type Event struct {
	Type EventType
	// Reason is a word in CamelCase, Action what Weir does about it, Message one
	// sentence.
	Reason, Action, Message string
}

// Answer says whether an Approval counted: its condition Accepted.
type Answer struct {
	// Name and UID of the Approval.
	Name string
	UID  types.UID
	// Counted is the status of the condition, Reason and Message the rest of it.
	Counted         bool
	Reason, Message string
}

// WaitReason says why a pass does no more.
type WaitReason string

// The reasons. Those of the first group are waits for people or for evidence,
// and are recorded when they begin; those of the second pass by themselves, and
// are recorded when they have lasted 10 seconds; those of the third are rest.
const (
	WaitApproval     WaitReason = "Approval"
	WaitHold         WaitReason = "Hold"
	WaitAnalysis     WaitReason = "Analysis"
	WaitMissingData  WaitReason = "MissingData"
	WaitTimedOut     WaitReason = "TimedOut"
	WaitShare        WaitReason = "MeasuredShare"
	WaitPaused       WaitReason = "Paused"
	WaitObstacle     WaitReason = "Obstacle"
	WaitStuck        WaitReason = "Stuck"
	WaitScaledToZero WaitReason = "ScaledToZero"
	WaitProblem      WaitReason = "Problem"
	WaitHoldBypassed WaitReason = "HoldBypassed"

	WaitPods      WaitReason = "Pods"
	WaitExposure  WaitReason = "Exposure"
	WaitPin       WaitReason = "Pin"
	WaitEndpoints WaitReason = "Endpoints"
	WaitDrain     WaitReason = "Drain"
	WaitHandOver  WaitReason = "HandOver"
	WaitWorkload  WaitReason = "Workload"
	WaitRemoval   WaitReason = "Removal"
	WaitFirst     WaitReason = "FirstVersion"
	WaitNewerRead WaitReason = "NewerRead"
	WaitLiveRead  WaitReason = "LiveRead"

	WaitNothing  WaitReason = "Nothing"
	WaitRevert   WaitReason = "Revert"
	WaitDeletion WaitReason = "Deletion"
)

// Waiting is why a pass does no more than it does.
type Waiting struct {
	Reason WaitReason
	// Message for people, one sentence.
	Message string
}
