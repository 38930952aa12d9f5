package sim

import (
	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
)

// afterWrite notes what a write has changed for the excuses of states.
func (w *World) afterWrite(p *process, e *decide.Effect) {
	l := &w.ledger
	switch e.Kind {
	case decide.EffectSetWeight:
		if !e.Raise && (!w.rollout.live().exists || p.seq != w.status().Record.Seq) {
			// It was confirmed before a newer record, or before the Rollout was gone. A
			// stamp is all that it may leave.
			w.race(RaceInFlight)
			l.stampedLate = true
		}
		if !e.Raise && !w.anyWeight() {
			l.inFlight, l.vandalised = false, false
		}
	case decide.EffectCreateCanary:
		if p.seq != w.status().Record.Seq && e.Revision != w.status().Canary.Revision {
			w.race(RaceLateCreate)
		}
	case decide.EffectRevertTemplate:
		w.target.live().changes++
	case decide.EffectBeginHandOver:
		l.blessed[w.target.live().template] = true
	default:
	}
}

// checkState checks the invariants of every state, after each event that has
// changed something.
func (w *World) checkState() {
	if !w.touched {
		return
	}
	w.touched = false
	if !w.rollout.live().exists {
		return
	}
	st := w.status()
	stage := stageOf(st)
	canary := hashNamed(st.Canary.Revision)
	c := w.sets.live().find(canary)
	if c != nil && c.crash && c.stamp >= st.Record.ReleaseSeq {
		w.ledger.sawCrash = true
	}
	w.checkStable(st, stage)
	if w.routed() {
		w.checkBackends()
		w.checkCallers(stage, canary, c)
	}
}

// checkStable: H5, stable keeps the size of the workload until the handover.
func (w *World) checkStable(st *v1alpha1.RolloutStatus, stage v1alpha1.Stage) {
	l, t := &w.ledger, w.target.live()
	switch stage {
	case v1alpha1.StageProgressing, v1alpha1.StagePromoting, v1alpha1.StageAdopting, v1alpha1.StageRollingBack:
	default:
		return
	}
	if t.uid == 0 || t.observed < t.generation || l.bypassed || l.recreated || w.followsWorkload(st) ||
		w.dc.pending() || w.dc.sets != w.sets.head || w.dc.target != w.target.head {
		return
	}
	s := w.sets.live().find(hashNamed(st.Stable.Revision))
	if s != nil && s.size == t.replicas {
		l.revived = l.revived && w.runsOther(s)
		return
	}
	if l.revived && !w.resting {
		return // counted where it happens, and to be undone
	}
	if l.wasZero || t.replicas == 0 {
		return // counted where it happens
	}
	size := int32(-1)
	if s != nil {
		size = s.size
	}
	w.violate("H5", "stable %s has size %d of %d in %s", st.Stable.Revision, size, t.replicas, stage)
}

// runsOther says whether the workload has another set with a size.
func (w *World) runsOther(s *set) bool {
	all := w.sets.live()
	for i := range all.n {
		if o := &all.list[i]; o.id != s.id && o.owner == decide.OwnerTarget && o.size > 0 {
			return true
		}
	}
	return false
}

// checkBackends: H12, no backend with weight is missing or has no pods asked
// for.
func (w *World) checkBackends() {
	if w.ledger.inFlight || w.ledger.vandalised || w.ledger.recreated || !w.anyWeight() {
		return
	}
	sv := w.services.live()
	if !sv.canary.exists {
		w.violate("H12", "a route sends traffic to the canary's Service, which does not exist")
		return
	}
	s := w.sets.live().find(sv.canary.pin)
	if s == nil || s.size == 0 {
		w.violate("H12", "a route sends traffic to %s, which has no pods", sv.canary.pin)
	}
}

// checkCallers: H13, no caller beside the routes meets the canary before the
// adoption.
func (w *World) checkCallers(stage v1alpha1.Stage, canary hash, c *set) {
	if w.ledger.stripped && w.services.live().user.pin != (hash{}) && w.slices.live().user.count(canary) == 0 {
		w.ledger.stripped = false
	}
	if w.cfg.OtherCallers == v1alpha1.OtherCallersShared || w.ledger.stripped || w.ledger.bypassed || c == nil || c.owner != decide.OwnerWeir || c.labelled {
		return
	}
	if stage != v1alpha1.StageProgressing && stage != v1alpha1.StagePromoting {
		return
	}
	if w.slices.live().user.count(canary) > 0 {
		w.violate("H13", "the user's Service serves the canary in %s", stage)
	}
}

// checkDeploymentWrite checks what the Deployment controller does to its sets:
// I13, I14.
func (w *World) checkDeploymentWrite(before, after *set) {
	l, t, st := &w.ledger, w.target.live(), w.status()
	if !w.rollout.live().exists || l.recreated {
		return
	}
	// A paused one gives pods to a second set only where its view of the sets is old.
	if w.target.at(w.dc.target).paused && before.size == 0 && after.size > 0 && w.runsOther(after) {
		w.race(RaceRevived)
		l.revived = true
	}
	if after.size > before.size && !l.blessed[after.hash.template] && t.labelled {
		if t.paused && before.size == 0 && l.wasZero {
			w.race(RaceRevived)
			l.bypassed = true
			return
		}
		w.violate("I14", "the workload gives %s %d pods, which was not promoted", after.hash, after.size)
	}
	if stageOf(st) != v1alpha1.StageAdopting || after.hash.String() != st.Canary.Revision || after.size >= before.size {
		return
	}
	// What it does by an older view of the Deployment is what users have wanted.
	seen := w.target.at(w.dc.target)
	wanted := t.template == after.hash.template && t.template == seen.template && t.replicas == seen.replicas
	switch {
	case !wanted || after.size >= min(t.replicas, before.size):
	case l.scaledInRoll:
		// A workload that is scaled in the middle of a roll spreads that over both
		// sets, and takes what is too much from the larger one.
		w.race(RaceReplicas)
	case l.changedInRoll:
		// So does one that is held in the middle of a roll, since its template was
		// changed, be it back again.
		w.race(RaceTemplate)
	default:
		w.violate("I13", "the handover takes %d of %d verified pods", before.size-after.size, before.size)
	}
}
