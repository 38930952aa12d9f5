package sim

import (
	"time"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
)

// tolerance is how far the clocks of two leaders are apart at most.
const tolerance = 4100 * time.Millisecond

// checkGates checks, by the truth, that the step which a record leaves had all
// that it waits for.
func (w *World) checkGates(p *process, old *v1alpha1.RolloutStatus) {
	spec := &w.rollout.live().Spec
	i := int(old.Release.StepIndex)
	if len(spec.Steps) == 0 || i >= len(spec.Steps) {
		return
	}
	s := &spec.Steps[i]
	g := s.Gates
	exposed := w.exposed(p)
	if g != nil {
		if hold := g.Hold.Or(0); hold > 0 && exposed < hold-tolerance {
			w.violate("H7", "step %d is left after %s of exposure, its hold is %s", i, exposed, hold)
		}
		for j := range g.Approvals {
			w.checkApproved(&g.Approvals[j], old)
		}
	} else if spec.Analysis == nil && exposed < 5*time.Minute-tolerance {
		w.violate("H7", "step %d without gates is left after %s", i, exposed)
	}
	if spec.Analysis != nil && spec.Analysis.OnTimeout != v1alpha1.OnTimeoutAdvance && (old.Record.DesiredWeight > 0 || old.Record.DesiredExtras != "") {
		w.checkEvidence(old, i)
	}
}

// exposed is how long the exposure has been what is recorded, as far as a
// process can know: a route that was rewritten since it was read is a race.
func (w *World) exposed(p *process) time.Duration {
	l := &w.ledger
	switch {
	case !l.exposedSince.IsZero():
		return w.now.Sub(l.exposedSince)
	case w.routed() && p.read[kindRoutes] < l.lostBy:
		w.race(RaceRoute)
		return l.lostAt.Sub(l.lastSince)
	default:
		return 0
	}
}

// checkApproved: enough different people have approved this gate of this
// release, at any time.
func (w *World) checkApproved(g *v1alpha1.ApprovalGate, old *v1alpha1.RolloutStatus) {
	var people [4]string
	n := 0
	for i := range w.ledger.everSaid {
		a := &w.ledger.everSaid[i]
		if a.Action != v1alpha1.ActionApprove || a.Gate != g.Name || a.Release != old.Release.Number || a.Revision != old.Canary.Revision {
			continue
		}
		if g.ChangeAuthor == v1alpha1.ChangeAuthorExcluded && a.Approver.Username == old.Release.ChangeAuthor {
			continue
		}
		known := false
		for _, u := range people[:n] {
			known = known || u == a.Approver.Username
		}
		if !known && n < len(people) {
			people[n] = a.Approver.Username
			n++
		}
	}
	if n < int(g.MinApprovals) {
		w.violate("H11", "gate %s of release %d passes with %d of %d approvals", g.Name, old.Release.Number, n, g.MinApprovals)
	}
}

// checkEvidence: the step was shown a verdict that may be enough.
func (w *World) checkEvidence(old *v1alpha1.RolloutStatus, step int) {
	verified := old.Release.VerifiedAt
	if verified == nil {
		w.violate("H9", "step %d with an analysis is left before it was verified", step)
		return
	}
	for i := range w.ledger.verdicts {
		s := &w.ledger.verdicts[i]
		if s.release != old.Release.Number || !s.start.Equal(verified.Time) {
			continue
		}
		full := old.Record.DesiredWeight == v1alpha1.FullWeight
		if s.step == v1alpha1.VerdictPass || full && (s.step == v1alpha1.VerdictNoFailure || s.step == v1alpha1.VerdictInconclusive) {
			return
		}
	}
	w.violate("H9", "step %d of release %d is left without evidence", step, old.Release.Number)
}

// checkCause checks that what a rollback is recorded for did happen.
func (w *World) checkCause(old, now *v1alpha1.RolloutStatus) {
	l := &w.ledger
	switch now.Release.Cause {
	case v1alpha1.CauseDeleted:
		if w.rollout.live().DeletionTimestamp == nil {
			w.violate("H15", "rolled back as deleted, which the Rollout is not")
		}
	case v1alpha1.CauseSuperseded, v1alpha1.CauseReverted:
		if w.target.live().changes == l.changesAtStart && w.target.live().template == hashNamed(old.Canary.Revision).template {
			w.violate("H15", "rolled back as %s, and the template has not changed", now.Release.Cause)
		}
	case v1alpha1.CauseTargetGone:
		if !l.recreated {
			w.violate("H15", "rolled back as the workload was gone, which it was not")
		}
	case v1alpha1.CauseUserAbort:
		w.checkSaid(v1alpha1.ActionAbort, old)
	case v1alpha1.CauseDeadlineExceeded:
		w.checkDeadline()
	case v1alpha1.CauseFailed:
		w.checkFailure(old)
	}
}

func (w *World) checkSaid(action v1alpha1.ApprovalAction, old *v1alpha1.RolloutStatus) bool {
	for i := range w.ledger.everSaid {
		a := &w.ledger.everSaid[i]
		if a.Action == action && a.Release == old.Release.Number && a.Revision == old.Canary.Revision {
			return true
		}
	}
	if action == v1alpha1.ActionAbort {
		w.violate("H15", "rolled back as aborted, and nobody aborted release %d", old.Release.Number)
	}
	return false
}

// checkDeadline: H16.
func (w *World) checkDeadline() {
	l := &w.ledger
	length := w.rollout.live().Spec.ProgressDeadline.Or(10 * time.Minute)
	if w.now.Sub(l.deadlineSet) < length-tolerance-maxAge {
		w.violate("H16", "the deadline of %s fires after %s", length, w.now.Sub(l.deadlineSet))
	}
	for _, t := range [...]time.Time{l.resumed, l.scaledUp} {
		if t.After(l.deadlineSet) {
			w.race(RaceUnseen)
		}
	}
}

// checkFailure: something of the canary did fail.
func (w *World) checkFailure(old *v1alpha1.RolloutStatus) {
	l := &w.ledger
	if l.sawCrash || old.Record.Lowerings >= 2 || l.vandalised || w.checkSaid(v1alpha1.ActionReject, old) {
		return
	}
	for i := range l.verdicts {
		if l.verdicts[i].release == old.Release.Number && l.verdicts[i].overall == v1alpha1.VerdictFail {
			return
		}
	}
	spec := &w.rollout.live().Spec
	if spec.Analysis != nil && (spec.Analysis.OnTimeout == v1alpha1.OnTimeoutRollback || spec.Analysis.OnMissingData == v1alpha1.HoldActionRollback) {
		return
	}
	for i := range spec.Steps {
		if g := spec.Steps[i].Gates; g != nil {
			for j := range g.Approvals {
				if g.Approvals[j].OnTimeout == v1alpha1.HoldActionRollback {
					return
				}
			}
		}
	}
	w.violate("H15", "release %d has failed without evidence: %s", old.Release.Number, w.status().Release.Message)
}

// beforeWrite checks the invariants of an effect on the state that it meets.
func (w *World) beforeWrite(p *process, e *decide.Effect) {
	w.checkFirstWrite(p, e)
	st := w.status()
	w.checkPreviewWrite(p, e, st)
	switch e.Kind {
	case decide.EffectSetWeight:
		if e.Raise {
			w.checkWeight(p, e, st)
		}
	case decide.EffectCreateCanary, decide.EffectScaleCanary:
		if e.Raise {
			w.checkSize(p, e, st)
		} else {
			w.checkShrink(p, e)
		}
	case decide.EffectUnpause:
		w.checkUnpause(p, st)
	case decide.EffectBeginHandOver, decide.EffectAdopt:
		w.checkHandover(p, st)
	case decide.EffectDeleteCanary:
		w.checkDelete(p, e, st)
	default:
	}
}

// checkFirstWrite: H4, the first write after the record of a rollback takes the
// traffic. Writes in flight of others are races.
func (w *World) checkFirstWrite(p *process, e *decide.Effect) {
	l := &w.ledger
	if !l.firstWrite {
		return
	}
	switch {
	case !w.anySplit() && w.canaryOfWeir() == nil, e.Kind == decide.EffectSetWeight && !e.Raise && e.Weight == 0:
		l.firstWrite = false
	case e.Raise:
		w.race(RaceInFlight)
		l.inFlight = true
	case p.seq != w.status().Record.Seq:
		w.race(RaceInFlight)
	case w.stage() == v1alpha1.StageRollingBack && w.rolledBackBy(e):
		w.violate("H4", "the first write of the rollback is %s", e.Kind)
	}
}

// rolledBackBy says whether an effect is of the rollback rather than of a pass
// before it, or of the deletion of label and finalizer, which touch no canary.
func (w *World) rolledBackBy(e *decide.Effect) bool {
	switch e.Kind {
	case decide.EffectDeleteCanary, decide.EffectRestoreRoute, decide.EffectDeleteBackend:
		return true
	default:
	}
	return false
}

// checkWeight: H1 and H3.
func (w *World) checkWeight(p *process, e *decide.Effect, st *v1alpha1.RolloutStatus) {
	allowed, extras := st.Record.DesiredWeight, st.Record.DesiredExtras
	if st.Record.Lowered {
		allowed, extras = 0, ""
	}
	r := &w.routes.live().list[p.route]
	c := w.sets.live().find(hashNamed(st.Canary.Revision))
	need := w.needs(e.Weight, e.Extras)
	more := e.Extras != "" && e.Extras != extras
	switch {
	case more && r.stamp < st.Record.ExposureSeq && st.Release.VerifiedAt == nil:
		w.race(RaceInFlight)
		w.ledger.inFlight = true
	case more:
		w.violate("H1", "route %d gets extras that are not allowed", p.route)
	case e.Weight > allowed && st.Release.VerifiedAt != nil:
		w.violate("H1", "route %d is raised to %s after %s was verified", p.route, percent(e.Weight), percent(allowed))
	case e.Weight > allowed && r.stamp < st.Record.ExposureSeq:
		w.race(RaceInFlight)
		w.ledger.inFlight = true
	case e.Weight > allowed:
		w.violate("H1", "route %d is raised to %s, %s is allowed", p.route, percent(e.Weight), percent(allowed))
	case c != nil && c.size > 0 && c.available >= need:
	case p.seenAvailable >= need || p.seenAvailable >= e.Size && need > e.Size:
		w.race(RacePods)
		w.ledger.inFlight = true
	default:
		w.violate("H3", "route %d is raised to %s with %d available canary pods, it needs %d", p.route, percent(e.Weight), p.seenAvailable, need)
	}
}

// checkSize: H1 for the native provider, whose pods are its exposure; for all,
// never more than the workload has.
func (w *World) checkSize(p *process, e *decide.Effect, st *v1alpha1.RolloutStatus) {
	n := w.target.live().replicas
	limit := n
	if s := stageOf(st); !w.routed() && (s == v1alpha1.StageProgressing || s == v1alpha1.StageRollingBack || s == v1alpha1.StageAborted) {
		limit = podsFor(st.Record.DesiredWeight, n)
	}
	if stageOf(st) == v1alpha1.StageRollingBack && st.Release.DrainUntil != nil && e.Kind == decide.EffectScaleCanary {
		w.violate("H1", "the canary gets %d pods after the rollback was sealed", e.Size)
		return
	}
	if e.Size <= limit {
		return
	}
	scaled := w.target.at(p.read[kindTarget]).replicas != n
	var stamp int64
	if s := p.on.named(e); s != nil {
		stamp = s.stamp
	}
	switch {
	case e.Kind == decide.EffectCreateCanary && st.Record.Seq != p.seq:
		w.race(RaceLateCreate)
	case stamp < st.Record.ExposureSeq && st.Record.Seq != p.seq:
		w.race(RaceInFlight)
	case scaled:
		w.race(RaceReplicas)
	default:
		w.violate("H1", "the canary gets %d pods, %d are allowed", e.Size, limit)
	}
}

// checkShrink: H3, pods are not taken from under the weight that they carry.
func (w *World) checkShrink(p *process, e *decide.Effect) {
	rs := w.routes.live()
	for i := range rs.n {
		weight := rs.list[i].weight
		need := w.needs(weight, rs.list[i].extras)
		switch {
		case e.Size >= need:
		case e.Size >= sizeFor(weight, w.target.at(p.read[kindTarget]).replicas):
			w.race(RaceReplicas)
		default:
			w.violate("H3", "the canary shrinks to %d pods, and route %d carries %s, which needs %d", e.Size, i, percent(weight), need)
		}
	}
}

// checkUnpause: H14.
func (w *World) checkUnpause(p *process, st *v1alpha1.RolloutStatus) {
	t := w.target.live()
	ro := w.rollout.live()
	c := w.sets.live().find(hashNamed(st.Canary.Revision))
	stable := hashNamed(st.Stable.Revision)
	switch {
	case t.template == stable.template, stable.template == 0, t.replicas == 0, ro.DeletionTimestamp != nil:
	case stageOf(st) == v1alpha1.StageAdopting && (w.followsWorkload(st) || c != nil && c.labelled) && t.template == hashNamed(st.Canary.Revision).template:
	case w.rollout.head != p.rv:
		w.race(RaceInFlight)
	default:
		w.violate("H14", "the workload is resumed at template %s, and stable is %s", t.template, st.Stable.Revision)
	}
	w.ledger.blessed[t.template] = true
}

// checkHandover: H5 at its beginning.
func (w *World) checkHandover(p *process, st *v1alpha1.RolloutStatus) {
	t := w.target.live()
	c := w.sets.live().find(hashNamed(st.Canary.Revision))
	switch {
	case stageOf(st) != v1alpha1.StageAdopting:
		w.race(RaceInFlight)
	case c == nil:
		w.race(RacePods)
	case c.size != t.replicas || c.available < t.replicas:
		if t.replicas == w.target.at(p.read[kindTarget]).replicas && (c.available == w.sets.at(p.read[kindSets]).find(c.hash).available) {
			w.violate("H5", "the handover begins with %d of %d pods", c.available, t.replicas)
		} else {
			w.race(RacePods)
		}
	case w.routed() && (w.anySplit() || w.services.live().user.pin != hash{}):
		w.violate("H5", "the handover begins before traffic follows the pods")
	case t.template != c.hash.template:
		w.race(RaceTemplate)
	}
}

// checkDelete: H4, the end of it.
func (w *World) checkDelete(p *process, e *decide.Effect, st *v1alpha1.RolloutStatus) {
	if !w.routed() {
		return
	}
	rs := w.routes.live()
	for i := range rs.n {
		if r := &rs.list[i]; (r.served > 0 || r.servedExtras != "") && w.services.live().canary.exists && w.services.live().canary.pin.name() == e.Name {
			w.violate("H4", "pods of %s go while route %d sends them %s", e.Name, i, percent(r.served))
		}
	}
	if stageOf(st) == v1alpha1.StageRollingBack && w.ledger.served && e.Revision == st.Canary.Revision {
		until := st.Release.DrainUntil
		drain := w.cfg.Drain.Or(30 * time.Second)
		if s := p.on.named(e); s.size > 0 && s.available > 0 && drain > 0 && (until == nil || w.now.Before(until.Add(-tolerance))) {
			w.violate("H4", "pods of %s go before they have drained", e.Name)
		}
	}
}

// sizeFor is the number of pods that a weight needs with routes, podsFor
// without; told apart from the core's own on purpose.
func sizeFor(weight, n int32) int32 { return (weight*n + 9999) / 10000 }

// needs is the number of pods that a weight and extras need.
func (w *World) needs(weight int32, extras string) int32 {
	n := w.target.live().replicas
	need := sizeFor(weight, n)
	if e := w.rollout.live().Spec.Extras(extras); e != nil && n > 0 {
		need = max(need, 1)
		if e.Mirror != nil {
			need = max(need, sizeFor(e.Mirror.Weight*100, n))
		}
	}
	return need
}

func podsFor(weight, n int32) int32 {
	if n == 0 || weight == 0 {
		return 0
	}
	best := int32(1)
	for c := int32(1); c <= n; c++ {
		if c*10000 <= weight*(n+c) {
			best = c
		}
	}
	if weight >= 5000 {
		best = n
	}
	return best
}
