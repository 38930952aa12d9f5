package rollout

import (
	"context"
	"fmt"
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
	o.rollout = recorded
	return nil
}

// tell people and machines what was decided: events, answers to Approvals,
// metrics. It is best effort, and comes after everything that matters.
func (r *Reconciler) tell(ctx context.Context, o *observation, before v1alpha1.RolloutStatus, d decide.Decision) {
	for _, e := range d.Events {
		r.Events.Eventf(o.rollout, nil, string(e.Type), e.Reason, e.Action, "%s", e.Message)
	}
	for _, answer := range d.Answers {
		r.answer(ctx, o, answer)
	}
	if before.Release.Number != o.rollout.Status.Release.Number {
		r.warn(ctx, o.rollout)
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
	if underWay(o.rollout) {
		state.Waiting = string(d.Waiting.Reason)
	}
	r.Telemetry.Set(key(o.rollout), state)
}

// warn says, at the start of a release, what makes it less safe than it looks.
func (r *Reconciler) warn(ctx context.Context, rollout *v1alpha1.Rollout) {
	warnings, err := r.Warner.Warnings(ctx, rollout)
	if err != nil {
		log.FromContext(ctx).Error(err, "Cannot look for what makes the release less safe")
	}
	for _, warning := range warnings {
		r.Events.Eventf(rollout, nil, string(decide.EventWarning), "LessSafe", "Release", "%s", warning)
	}
}

// newest entry of a history, nil without any.
func newest(history []v1alpha1.HistoryEntry) *v1alpha1.HistoryEntry {
	if len(history) == 0 {
		return nil
	}
	return &history[0]
}

// answer says in the status of an Approval whether it counted.
func (r *Reconciler) answer(ctx context.Context, o *observation, answer decide.Answer) {
	for i := range o.input.Approvals {
		if o.input.Approvals[i].UID != answer.UID {
			continue
		}
		approval := o.input.Approvals[i].DeepCopy()
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
			log.FromContext(ctx).V(1).Info("Cannot answer an Approval, the next pass will", "approval", approval.Name, "cause", err.Error())
		}
	}
}

// key names a Rollout.
func key(rollout *v1alpha1.Rollout) types.NamespacedName {
	return types.NamespacedName{Namespace: rollout.Namespace, Name: rollout.Name}
}
