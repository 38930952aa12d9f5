package decide

import (
	"time"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// clear takes away what a release leaves behind, in such an order that no
// request meets a backend that is not there: traffic, pods, routes, Services. It
// is true when nothing is left.
func (p *pass) clear() bool {
	if !p.in.Fresh && p.remains() {
		p.needLive = true
		return p.wait(WaitLiveRead, "live reads")
	}
	return p.clearTraffic() && p.clearPods() && p.clearRoutes() && p.clearHandover()
}

// remains says whether anything of Weir's is there.
func (p *pass) remains() bool {
	if r := p.in.Route; r != nil && (r.Split || r.HighestStamp > 0) || p.in.Target.Vetoed || p.servicesLeft() {
		return true
	}
	for i := range p.in.Sets {
		if s := &p.in.Sets[i]; s.Owner == OwnerWeir || s.Vetoed {
			return true
		}
	}
	return false
}

// servicesLeft says whether a Service is not as it was before the release.
func (p *pass) servicesLeft() bool {
	for i := range p.in.Backends {
		if b := &p.in.Backends[i]; b.Canary && b.Exists || !b.Canary && b.Revision != "" {
			return true
		}
	}
	return p.in.Preview != nil && p.in.Preview.Revision != ""
}

// clearTraffic takes the canary's traffic away.
func (p *pass) clearTraffic() bool {
	r := p.in.Route
	switch {
	case r == nil || !r.Split:
		return true
	case r.exposes():
		p.do(Effect{Kind: EffectSetWeight, Weight: 0, Why: "no release is under way"})
		return p.wait(WaitExposure, "the data plane to take the canary's traffic away")
	default:
		return p.processed("the data plane to take the canary's traffic away")
	}
}

// processed says whether the data plane has taken note of the routes as they
// are, and waits for what that is to bring. One that is gone never will, which
// only live reads show, and no event.
func (p *pass) processed(what string) bool {
	r := p.in.Route
	if r == nil || r.Processed {
		return true
	}
	if since := p.waitsSince(); !p.in.Fresh && !since.IsZero() && p.in.Now.Sub(since) >= shortWait {
		p.needLive = true
	}
	p.askAgain()
	p.wake(p.in.Now.Add(problemInterval))
	return p.wait(WaitExposure, what+because(r.Message))
}

// clearPods deletes the sets that Weir made.
func (p *pass) clearPods() bool {
	gone := true
	for i := range p.in.Sets {
		s := &p.in.Sets[i]
		if s.Owner == OwnerWeir {
			p.do(Effect{Kind: EffectDeleteCanary, Name: s.Name, Revision: s.Hash, Why: "its release is over"})
			gone = false
		}
	}
	return gone || p.wait(WaitRemoval, "the canary's ReplicaSet to be deleted")
}

// clearRoutes gives the routes back as the user wrote them, then the user's
// Services, and deletes the canary's.
func (p *pass) clearRoutes() bool {
	r := p.in.Route
	if r != nil && (r.Split || r.HighestStamp > 0) {
		p.do(Effect{Kind: EffectRestoreRoute, Why: "its release is over"})
		return p.wait(WaitExposure, "the data plane to accept the routes as they were")
	}
	if !p.servicesLeft() {
		return true
	}
	if !p.processed("the data plane to accept the routes as they were") {
		return false
	}
	p.widen()
	p.widenPreview()
	for b := range p.services(true) {
		if b.Exists {
			p.do(Effect{Kind: EffectDeleteBackend, Name: b.Name, Revision: b.Revision, Why: "its release is over"})
		}
	}
	return p.wait(WaitRemoval, "the Services of the release to be given back")
}

// widen gives the user's Services their own selectors back. It is true when all
// have them.
func (p *pass) widen() bool {
	wide := true
	for b := range p.services(false) {
		if b.Revision != "" {
			p.do(Effect{Kind: EffectWiden, Name: b.Name, Why: "all pods of the workload may serve"})
			wide = false
		}
	}
	return wide
}

// clearHandover takes the veto off the workload, and then off its sets: its
// controller copies it from the one to the others.
func (p *pass) clearHandover() bool {
	if t := &p.in.Target; t.Vetoed {
		if !t.Paused && t.Revision != p.st.Stable.Revision {
			// Without the veto its controller would roll to the template at once.
			p.do(Effect{Kind: EffectPause, Revision: t.Revision, Why: "the template was not promoted"})
		}
		p.do(Effect{Kind: EffectEndHandOver, Why: "no handover is under way"})
		return p.wait(WaitHandOver, "the veto on new ReplicaSets to be taken away")
	}
	p.unveto()
	return true
}

// unveto takes the annotation off every set of the workload that carries it.
func (p *pass) unveto() {
	for i := range p.in.Sets {
		if s := &p.in.Sets[i]; s.Vetoed {
			p.do(Effect{Kind: EffectUnveto, Name: s.Name, Revision: s.Hash, Why: "a later undo would bring the veto back"})
		}
	}
}

// planRollingBack takes the canary's traffic and then its pods away.
func (p *pass) planRollingBack() {
	if !p.closeTraffic() {
		return
	}
	if !p.in.Fresh {
		// That something is gone only live reads can show.
		p.needLive = !p.lowered
		p.wait(WaitLiveRead, "live reads")
		return
	}
	if p.expels() {
		return
	}
	if p.adopted() {
		// A handover in flight has landed after all. The pods are the workload's
		// now, and only it can take them away.
		p.enter(v1alpha1.StageAdopting)
		p.event(EventWarning, "AlreadyAdopted", "Follow", "The workload has the canary's template and pods already: the release is followed to its end")
		p.planAdopting()
		return
	}
	if p.keepPods() {
		p.end()
		return
	}
	if !p.drained() {
		return
	}
	if p.clearPods() && p.clearRoutes() && p.clearHandover() {
		p.end()
	}
}

// closeTraffic lowers and seals. Both objects are stamped even when there is
// nothing to lower, so that raises in flight fail.
func (p *pass) closeTraffic() bool {
	p.closeRoutes()
	p.closeCanary()
	p.previewStable()
	if t := &p.in.Target; t.Revision == p.st.Canary.Revision && t.UID == p.st.Workload.UID && !p.takenOut() {
		p.held()
	}
	if len(p.effects) > 0 {
		return p.wait(WaitExposure, "the data plane to take the canary's traffic away")
	}
	return p.in.Route == nil || !p.in.Route.Split || p.processed("the data plane to take the canary's traffic away")
}

// closeCanary stamps the canary, and keeps callers beside the routes from it.
// Without routes the pods go at once, and nothing can reach a set that is gone.
func (p *pass) closeCanary() {
	c := p.canary
	if c == nil || c.Owner != OwnerWeir || !p.routed {
		return
	}
	if c.Stamp < p.st.Record.ExposureSeq {
		p.do(Effect{Kind: EffectSealCanary, Name: c.Name, Revision: c.Hash, Why: "writes of older records must not reach it"})
	}
	if !p.sharedCallers() && !p.takenOut() {
		// From the adoption the Services are wide and the canary serves by them.
		p.pin()
	}
}

// closeRoutes takes the weight off the routes and stamps them, also the user's
// own, so that no older write can raise them: there can be such a write only if
// the finalizer is there, which comes before anything else. Once they are
// stamped, only what could get traffic is a reason to do it again.
func (p *pass) closeRoutes() {
	r := p.in.Route
	if r == nil {
		return
	}
	open := p.st.Release.DrainUntil == nil && p.hasFinalizer() || r.Split || p.canary != nil && p.canary.Owner == OwnerWeir
	if r.exposes() || open && r.Stamp < p.st.Record.ExposureSeq {
		p.do(Effect{Kind: EffectSetWeight, Weight: 0, Why: "the release is rolled back"})
	}
}

// adopted says whether the workload owns the canary's pods.
func (p *pass) adopted() bool {
	return p.in.Fresh && p.in.Target.UID == p.st.Workload.UID &&
		(p.twin != nil || p.canary != nil && p.canary.Owner == OwnerTarget)
}

// keepPods says whether the pods of a version that failed stay for study. Without
// routes they would go on to serve, so there they go.
func (p *pass) keepPods() bool {
	if p.in.Rollout.Spec.OnFailure != v1alpha1.FailureHold || !p.routed || p.canary == nil || p.sharedCallers() {
		return false
	}
	c := p.st.Release.Cause
	return c == v1alpha1.CauseFailed || c == v1alpha1.CauseDeadlineExceeded
}

// drainText begins the text of a wait for requests in flight.
const drainText = "drain until "

// drained waits until requests in flight have ended. It records until when, also
// where there is nothing to wait for: from then on the traffic is known to be
// closed. Without routes the pods end their requests themselves when they are
// deleted.
func (p *pass) drained() bool {
	if !p.routed {
		return true
	}
	until := p.st.Release.DrainUntil
	if until == nil {
		until = micro(p.in.Now.Add(p.drain()))
		p.edit().Release.DrainUntil = until
	}
	if p.in.Now.Before(until.Time) {
		p.wake(until.Time)
		return p.wait(WaitDrain, drainText+clock(until.Time))
	}
	return true
}

// drain is how long requests in flight may take. Pods that do not stay up have
// none; the sooner those go, the better for disruption budgets.
func (p *pass) drain() time.Duration {
	c := p.canary
	if c == nil || c.Owner != OwnerWeir || c.Size == 0 || c.Available == 0 && p.crash() != nil {
		return 0
	}
	if capacity := p.in.Rollout.Spec.Capacity; capacity != nil {
		return capacity.ScaleDownDelay.Or(defaultScaleDownDelay)
	}
	return defaultScaleDownDelay
}

// end records the end of a rollback.
func (p *pass) end() {
	st := p.edit()
	cause, message := st.Release.Cause, st.Release.Message
	st.Release.VerifiedAt, st.Release.Deadline, st.Release.DrainUntil, st.Release.Gates = nil, nil, nil, nil
	p.remember(resultOf(cause), message)
	p.sawTarget()
	switch cause {
	case v1alpha1.CauseFailed, v1alpha1.CauseUserAbort, v1alpha1.CauseDeadlineExceeded:
		st.Release.Stage = v1alpha1.StageAborted
		p.event(EventWarning, "RolledBack", "Hold", p.rolledBackText())
		p.planAborted()
	case v1alpha1.CauseDeleted:
		st.Release.Stage = v1alpha1.StageAborted
		p.leave()
	default:
		st.Release.Stage = v1alpha1.StageIdle
		st.Canary = v1alpha1.RevisionStatus{}
		p.look()
		p.planIdle()
	}
}

// planAborted waits, held, for a template other than the one that failed.
func (p *pass) planAborted() {
	switch {
	case p.deleting():
		p.leave()
	case len(p.in.Problems) > 0 && p.in.Target.UID != "":
		p.wait(WaitProblem, p.in.Problems[0].Message)
	case p.staysHeld():
		p.stayAborted()
	case p.clear():
		p.leaveAborted()
	}
}

// stayAborted keeps the workload at its stable version, until the one that
// failed is to be tried again.
func (p *pass) stayAborted() {
	retry := p.command(v1alpha1.ActionRetry)
	switch {
	case p.expels():
	case retry == nil && p.keepPods():
		p.wait(WaitRevert, p.rolledBackText())
	case !p.clear() || !p.keepPreview():
	case p.active > 1:
		p.shrinkSmallest()
		p.wait(WaitWorkload, "the workload to run one version alone, after a roll to another was interrupted")
	case p.replaced():
		p.leaveAborted()
	case retry != nil && p.mayStart():
		p.start(commandText(retry))
		p.planProgressing()
	default:
		p.wait(WaitRevert, p.rolledBackText())
	}
}

// staysHeld says whether the workload is still held at the version that failed.
func (p *pass) staysHeld() bool {
	t := &p.in.Target
	return t.Revision == p.st.Release.FailedRevision && t.Paused && t.UID == p.st.Workload.UID
}

// mayStart says whether nothing keeps a release of the failed version from
// being tried again.
func (p *pass) mayStart() bool {
	return len(p.in.Problems) == 0 && !p.in.Rollout.Spec.Paused && p.in.Target.Replicas > 0 && p.observed()
}

// leaveAborted goes on with whatever has taken the place of the version that
// failed.
func (p *pass) leaveAborted() {
	switch {
	case p.in.Target.UID != "" && !p.observed():
		p.wait(WaitWorkload, "the workload's controller to see its newest generation")
	case !p.in.Fresh:
		p.needLive = true
	default:
		st := p.edit()
		st.Release.Stage = v1alpha1.StageIdle
		st.Canary = v1alpha1.RevisionStatus{}
		p.look()
		p.planIdle()
	}
}
