package sim

import (
	"time"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
)

// Bounds of the calm.
const (
	maxRounds = 4000
	maxPasses = 600
)

// settle is the calm after the storm: users and faults have stopped, caches
// catch up, and everything must come to rest.
func (w *World) settle() {
	w.calm = true
	w.procs = nil
	passes := w.leader.passes
	for range maxRounds {
		if w.leader.passes-passes > maxPasses {
			w.violate("L1", "no rest after %d passes in %s: %s", maxPasses, w.stage(), w.leader.decision.Waiting.Reason)
			return
		}
		moved := w.breathe()
		if w.checkState(); len(w.ledger.violations) > 0 {
			return
		}
		if moved {
			continue
		}
		at := w.nextTime()
		if at.IsZero() {
			w.checkRest()
			return
		}
		w.now = at
		w.leader.dirty = true
	}
	w.violate("L1", "no rest after %d rounds in %s: %s", maxRounds, w.stage(), w.leader.decision.Waiting.Reason)
}

// breathe lets everything act once, in a fixed order. It is false when nothing
// has anything to do.
func (w *World) breathe() bool {
	moved := false
	for k := range kinds {
		moved = w.leader.advance(k, depth) || moved
	}
	moved = w.leader.step() || moved
	moved = w.natureMoves() || moved
	return w.leader.look() || moved
}

// natureMoves lets everything but Weir act once.
func (w *World) natureMoves() bool {
	moved := false
	w.dc.target, w.dc.sets = w.target.head, w.sets.head
	if w.dc.pending() {
		before := w.head(kindSets) + w.head(kindTarget)
		w.syncDeployment()
		// A refused create is tried again for ever, which is not a movement.
		moved = before != w.head(kindSets)+w.head(kindTarget) || !w.dc.retry
	}
	for i := range w.sets.live().n {
		moved = w.stepPods(i) || moved
	}
	for i := range w.routes.live().n {
		moved = w.stepGateway(i) || moved
	}
	moved = w.syncSlices() || moved
	return w.collect() || moved
}

// nextTime is when something can happen by time alone; zero when nothing can.
func (w *World) nextTime() time.Time {
	at := w.leader.wakeAt.Add(-w.leader.skew)
	if w.leader.wakeAt.IsZero() || !at.After(w.now) {
		at = time.Time{}
	}
	st := w.status()
	if w.rollout.live().Spec.Analysis != nil && stageOf(st) == v1alpha1.StageProgressing && st.Release.VerifiedAt != nil {
		look := st.Release.VerifiedAt.Add(21*time.Second - w.leader.skew)
		if look.After(w.now) && (at.IsZero() || look.Before(at)) {
			at = look
		}
	}
	return at
}

// checkRest checks the end: L1, L2, L4.
func (w *World) checkRest() {
	if !w.rollout.live().exists {
		w.checkGone()
		return
	}
	writes := w.ledger.writes
	answers := w.ledger.answers
	w.leader.live, w.leader.dirty = true, true
	for w.leader.step() {
	}
	if w.ledger.writes != writes {
		w.violate("L1", "a pass at rest writes")
		return
	}
	if w.ledger.answers != answers {
		w.violate("L1", "a pass at rest answers Approvals")
	}
	if !w.short() {
		w.resting, w.touched = true, true
		w.checkState()
		w.resting = false
	}
	w.checkReason()
	w.checkCommands()
	w.checkRemains()
}

// checkReason: at rest the stage is one of rest, or the reason to wait is true.
func (w *World) checkReason() {
	st, t, ro := w.status(), w.target.live(), w.rollout.live()
	reason := w.leader.decision.Waiting.Reason
	ok := false
	switch reason {
	case decide.WaitNothing:
		ok = stageOf(st) == v1alpha1.StageIdle && hashNamed(st.Stable.Revision).template == t.template
	case decide.WaitRevert:
		ok = stageOf(st) == v1alpha1.StageAborted && w.liveRevision() == st.Release.FailedRevision
	case decide.WaitPaused:
		ok = ro.Spec.Paused
	case decide.WaitApproval:
		ok = true
	case decide.WaitTimedOut:
		ok = true
	case decide.WaitMissingData:
		ok = !w.metricsUp
	case decide.WaitScaledToZero:
		ok = t.replicas == 0
	case decide.WaitFirst:
		ok = st.Stable.Revision == "" && !w.complete()
	case decide.WaitHoldBypassed:
		ok = !t.paused && !w.complete()
	case decide.WaitWorkload:
		// Pods that do not come up keep the workload's own roll from its end.
		ok = (stageOf(st) == v1alpha1.StageIdle || stageOf(st) == v1alpha1.StageAborted) && w.short()
	case decide.WaitObstacle:
		ok = w.cfg.Quota > 0
	case decide.WaitHandOver, decide.WaitPods:
		// Only the workload itself can go on: pods of the canary's template fail
		// after they have become its own.
		ok = stageOf(st) == v1alpha1.StageAdopting && w.short()
	default:
	}
	if !ok {
		w.violate("L1", "rests in %s with reason %q: %s", stageOf(st), reason, w.leader.decision.Waiting.Message)
	}
}

// complete says whether the workload runs its template alone.
func (w *World) complete() bool {
	t, all := w.target.live(), w.sets.live()
	for i := range all.n {
		s := &all.list[i]
		if s.owner == decide.OwnerTarget && s.size > 0 && (s.hash.template != t.template || s.size != t.replicas || s.available != t.replicas) {
			return false
		}
	}
	return t.replicas > 0
}

// short says whether some set lacks pods.
func (w *World) short() bool {
	all := w.sets.live()
	for i := range all.n {
		if s := &all.list[i]; s.available < s.size {
			return true
		}
	}
	return false
}

// checkCommands: L2, no retry is left unheard, and every Approval is answered.
func (w *World) checkCommands() {
	st := w.status()
	blocked := w.rollout.live().Spec.Paused || w.target.live().replicas == 0
	for _, a := range *w.approvals.live() {
		if a.Spec.TargetRef.UID != w.rollout.live().UID {
			continue
		}
		if a.Spec.Action == v1alpha1.ActionRetry && w.about(&a, st) && stageOf(st) == v1alpha1.StageAborted && !blocked {
			w.violate("L2", "%s is not followed", a.Name)
		}
		if len(a.Status.Conditions) == 0 && !blocked && stageOf(st) != v1alpha1.StageProgressing {
			w.violate("L2", "%s (%s) has no answer", a.Name, a.Spec.Action)
		}
	}
}

// checkRemains: L4, at rest nothing of Weir's is left, and nothing is missing.
func (w *World) checkRemains() {
	st, t, all := w.status(), w.target.live(), w.sets.live()
	idle := stageOf(st) == v1alpha1.StageIdle && w.leader.decision.Waiting.Reason == decide.WaitNothing
	if idle || w.leader.decision.Waiting.Reason == decide.WaitRevert {
		w.checkPreview(st)
	}
	aborted := stageOf(st) == v1alpha1.StageAborted && w.cfg.OnFailure != v1alpha1.FailureHold
	if !idle && !aborted {
		return
	}
	for i := range all.n {
		s := &all.list[i]
		if s.owner != decide.OwnerTarget {
			w.violate("L4", "set %s is left", s.hash)
		}
		if s.vetoed {
			w.violate("L4", "set %s still carries the veto", s.hash)
		}
	}
	w.checkTraffic()
	if idle {
		if t.paused != (w.cfg.Hold == v1alpha1.HoldPaused) {
			w.violate("L4", "the workload is paused: %t", t.paused)
		}
		if !t.labelled {
			w.violate("L4", "the workload has lost its label")
		}
		if len(w.rollout.live().Finalizers) > 0 && w.cfg.Hold != v1alpha1.HoldPaused {
			w.violate("L4", "the finalizer is left")
		}
	}
	short := w.cfg.Quota > 0 && w.short()
	if s := all.find(hashNamed(st.Stable.Revision)); !short && (s == nil || s.size != t.replicas) {
		w.violate("L4", "stable %s is not at the size of the workload", st.Stable.Revision)
	}
}

// checkTraffic: routes and Services are the user's again.
func (w *World) checkTraffic() {
	rs, sv := w.routes.live(), w.services.live()
	for i := range rs.n {
		late := (w.ledger.stampedLate || w.ledger.forced) && !w.rollout.live().exists
		if rs.list[i].split || rs.list[i].stamp != 0 && !late {
			w.violate("L4", "route %d is not the user's", i)
		}
	}
	if w.routed() && (sv.canary.exists || sv.user.pin != hash{}) {
		w.violate("L4", "Services of the release are left")
	}
	if w.target.live().vetoed {
		w.violate("L4", "the workload still carries the veto")
	}
}

// checkGone checks what a deleted Rollout leaves behind. One that was deleted by
// force may leave a split, and all that belongs to it.
func (w *World) checkGone() {
	t, all := w.target.live(), w.sets.live()
	if t.labelled {
		w.violate("L4", "the label outlives the Rollout")
	}
	if t.vetoed {
		w.violate("L4", "the veto outlives the Rollout")
	}
	if w.ledger.forced && w.anySplit() {
		return
	}
	for i := range all.n {
		if s := &all.list[i]; s.owner != decide.OwnerTarget && s.ownerUID == t.uid {
			w.violate("L4", "set %s outlives the Rollout", s.hash)
		}
	}
	w.checkTraffic()
}
