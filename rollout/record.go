package rollout

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics/telemetry"
	"github.com/weir-dev/weir/rollout/decide"
	"github.com/weir-dev/weir/rollout/workload"
)

// Names under which the writes that no decision lists as effects are counted.
const (
	countRecord = "Record"
	countAnswer = "Answer"
)

// maxAge of a decision that is recorded.
const maxAge = 10 * time.Second

// Recorder makes Kubernetes Events.
type Recorder interface {
	Eventf(regarding, related runtime.Object, eventtype, reason, action, note string, args ...any)
}

// record writes the decision into the status, by compare-and-swap on the
// resourceVersion that the decision rests on. From then on the observation has
// the Rollout as it was recorded.
func (r *Reconciler) record(ctx context.Context, o *observation, d decide.Decision) error {
	if d.Status == nil {
		return nil
	}
	// The times in a status are those of its decision. A process that was stopped
	// since then decides anew.
	if age := r.Now().Sub(o.input.Now); age > maxAge {
		return fmt.Errorf("%w: the decision is %s old", workload.ErrPrecondition, age)
	}
	recorded := o.rollout.DeepCopy()
	recorded.Status = *d.Status
	began := r.Now()
	err := r.Writer.Status().Update(ctx, recorded)
	r.Telemetry.Effect(countRecord, err)
	if err != nil {
		return fmt.Errorf("cannot record the decision: %w", err)
	}
	before := o.rollout.Status.Release
	after := recorded.Status.Release
	log.FromContext(ctx).Info("Recorded", "seq", recorded.Status.Record.Seq, "release", after.Number,
		"stage", after.Stage, "stageBefore", before.Stage, "step", after.StepIndex, "cause", after.Cause,
		"desiredWeight", recorded.Status.Record.DesiredWeight)
	o.rollout, o.recorded = recorded, began
	r.written.keep(recorded)
	return nil
}

// tell people and machines what was decided: events, answers to Approvals,
// metrics. It is best effort, and comes after everything that matters.
func (r *Reconciler) tell(ctx context.Context, o *observation, before v1alpha1.RolloutStatus, d decide.Decision) {
	for _, e := range d.Events {
		r.Events.Eventf(o.rollout, nil, string(e.Type), e.Reason, e.Action, "%s", e.Message)
	}
	r.answer(ctx, o, d.Answers)
	if before.Release.Number != o.rollout.Status.Release.Number {
		r.warn(ctx, o)
	}
	if ended := newest(o.rollout.Status.History); ended != nil && !equality.Semantic.DeepEqual(ended, newest(before.History)) {
		r.Telemetry.ReleaseEnded(o.rollout.Namespace, ended.Result)
	}
	state := telemetry.State{Stage: o.rollout.Status.Release.Stage, Weight: o.rollout.Status.Record.DesiredWeight}
	if state.Stage == "" {
		state.Stage = v1alpha1.StageIdle
	}
	if ready := meta.FindStatusCondition(o.rollout.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
		state.Reason = ready.Reason
	}
	if o.rollout.Status.Release.Stage.UnderWay() {
		state.Waiting = string(d.Waiting.Reason)
	}
	r.Telemetry.Set(key(o.rollout), state)
}

// warn says, at the start of a release, what makes it less safe than it looks.
func (r *Reconciler) warn(ctx context.Context, o *observation) {
	warnings, err := r.Warner.Warnings(ctx, o.rollout, o.facts)
	if err != nil {
		log.FromContext(ctx).Error(err, "Cannot look for what makes the release less safe")
	}
	for _, warning := range warnings {
		r.Events.Eventf(o.rollout, nil, string(decide.EventWarning), "LessSafe", "Release", "%s", warning)
	}
}

// newest entry of a history, nil without any.
func newest(history []v1alpha1.HistoryEntry) *v1alpha1.HistoryEntry {
	if len(history) == 0 {
		return nil
	}
	return &history[0]
}

// answer says in the status of Approvals whether they counted. That is said once,
// so it must not rest on an outdated Rollout.
func (r *Reconciler) answer(ctx context.Context, o *observation, answers []decide.Answer) {
	if len(answers) == 0 {
		return
	}
	logger := log.FromContext(ctx).V(1)
	if o.recorded.IsZero() {
		if err := r.Workload.Confirm(ctx, o.workloadPass()); err != nil {
			logger.Info("Cannot answer Approvals, the next pass will", "cause", err.Error())
			return
		}
	}
	for _, answer := range answers {
		at := slices.IndexFunc(o.input.Approvals, func(a v1alpha1.Approval) bool { return a.UID == answer.UID })
		if at < 0 {
			continue
		}
		approval := o.input.Approvals[at].DeepCopy()
		status := metav1.ConditionFalse
		if answer.Counted {
			status = metav1.ConditionTrue
		}
		meta.SetStatusCondition(&approval.Status.Conditions, metav1.Condition{
			Type: v1alpha1.ConditionAccepted, Status: status, Reason: answer.Reason, Message: answer.Message,
			LastTransitionTime: metav1.NewTime(r.Now()),
		})
		err := r.Writer.Status().Update(ctx, approval)
		r.Telemetry.Effect(countAnswer, err)
		if err != nil {
			logger.Info("Cannot answer an Approval, the next pass will", "approval", approval.Name, "cause", err.Error())
		}
	}
}

// key names a Rollout.
func key(rollout *v1alpha1.Rollout) types.NamespacedName {
	return types.NamespacedName{Namespace: rollout.Namespace, Name: rollout.Name}
}
