package decide

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// planProgressing walks the steps.
func (p *pass) planProgressing() {
	if p.followBypass() || p.suspended() || !p.prepare() {
		return
	}
	if a := p.command(v1alpha1.ActionPromote); a != nil {
		p.promote("promoted by "+a.Spec.Approver.Username, commandText(a))
		p.planPromoting()
		return
	}
	if !p.inForce() {
		p.regain()
		return
	}
	// Before the exposure is verified all pods must be there. Afterwards too few
	// of them, for instance after a scale-up, only keep the step from ending.
	if !p.tighten() || p.st.Release.VerifiedAt == nil && !p.ready() {
		return
	}
	p.conclude()
}

// conclude looks at the gates of the step, and goes on when all have passed.
func (p *pass) conclude() {
	if !p.judge() {
		p.keepUp()
		return
	}
	if p.enough() && p.seal() {
		p.advance()
	}
}

// keepUp sizes the canary while its step waits for a gate. The workload may be
// scaled meanwhile, and a canary that is left behind gets more of the traffic on
// each of its pods than stable does. No deadline runs for it: the exposure was
// verified, and what the step waits for is the gate.
func (p *pass) keepUp() {
	c := p.canary
	if c == nil || p.stage() != v1alpha1.StageProgressing {
		return
	}
	switch size := p.size(); {
	case c.Size < size && c.Stamp >= p.st.Record.TermSeq:
		p.do(Effect{Kind: EffectScaleCanary, Name: c.Name, Revision: c.Hash, Size: size, Raise: true, Why: "the workload was scaled up"})
	case c.Size > size:
		p.shrink(size)
	}
}

// planPromoting brings the canary to full size and full weight.
func (p *pass) planPromoting() {
	if p.followBypass() || p.suspended() || !p.prepare() {
		return
	}
	if !p.inForce() {
		p.regain()
		return
	}
	p.adoptWhenFull()
}

// regain brings the exposure into force, after it was changed or lost.
func (p *pass) regain() {
	p.resetClock()
	if p.walking() {
		p.expose()
	} else {
		p.planRollingBack()
	}
}

// adoptWhenFull goes on to the adoption once all of the canary's pods are there
// and the workload's controller has seen its newest generation.
func (p *pass) adoptWhenFull() {
	if !p.enough() {
		return
	}
	if !p.observed() {
		p.wait(WaitWorkload, "the workload's controller to see its newest generation")
		return
	}
	if !p.seal() {
		return
	}
	p.enter(v1alpha1.StageAdopting)
	p.planAdopting()
}

// promote leaves the steps behind.
func (p *pass) promote(why, command string) {
	p.enter(v1alpha1.StagePromoting)
	if command != "" {
		p.st.Release.LastCommand = clip(command, 256)
	}
	p.event(EventNormal, "Promoting", "RaiseExposure",
		fmt.Sprintf("Release %d of revision %s goes to all pods: %s", p.st.Release.Number, p.st.Canary.Revision, why))
}

// followBypass sees that the workload rolls to the canary's template by itself:
// somebody has got round the hold. There is nothing to stop it with, so it is
// followed to its end.
func (p *pass) followBypass() bool {
	if !p.handedOver() {
		return false
	}
	if !p.in.Fresh {
		p.needLive = true
		return true
	}
	p.enter(v1alpha1.StageAdopting)
	p.event(EventWarning, "HoldBypassed", "Follow",
		"The workload rolls to the new template by itself, since its hold was taken away: the release is over")
	p.planAdopting()
	return true
}

// suspended says whether the planner has to rest, by the wish of the user or
// since something is wrong. The deadline does not run meanwhile.
func (p *pass) suspended() bool {
	switch {
	case len(p.in.Problems) > 0:
		p.wait(WaitProblem, p.in.Problems[0].Message)
	case p.in.Rollout.Spec.Paused:
		p.wait(WaitPaused, "spec.paused to be false")
	default:
		return false
	}
	if p.st.Release.Deadline != nil {
		p.edit().Release.Deadline = nil
	}
	return true
}

// resetClock stops the clock of the step, since its exposure is not in force,
// and sees that the deadline runs.
func (p *pass) resetClock() {
	if p.st.Release.VerifiedAt != nil {
		p.unverify()
		p.countRewrite()
	}
	p.resetDeadline()
}

// unverify forgets the clock of the step and what has passed by it. What people
// have approved stays approved.
func (p *pass) unverify() {
	st := p.edit()
	st.Release.VerifiedAt = nil
	var kept []v1alpha1.GateStatus
	for _, g := range st.Release.Gates {
		if g.Type == v1alpha1.GateApproval {
			kept = append(kept, g)
		}
	}
	st.Release.Gates = kept
}

// resetDeadline sees that the deadline runs while the release waits for pods or
// for the data plane, and only then.
func (p *pass) resetDeadline() {
	if !p.walking() {
		return
	}
	idle := p.in.Target.Replicas == 0 || p.obstructed()
	switch {
	case idle && p.st.Release.Deadline != nil:
		p.edit().Release.Deadline = nil
	case !idle && p.st.Release.Deadline == nil:
		p.edit().Release.Deadline = p.deadline()
	}
}

// walking says whether the release still goes up.
func (p *pass) walking() bool {
	s := p.stage()
	return s == v1alpha1.StageProgressing || s == v1alpha1.StagePromoting
}

// countRewrite counts an exposure that somebody else took away by writing the
// route. The third time fails the release, rather than to fight for ever.
func (p *pass) countRewrite() {
	r := p.in.Route
	if r == nil || r.LowestWeight >= p.allowed() && r.Extras == p.allowedExtras() {
		return
	}
	writer, routes := cmp.Or(r.ForeignWriter, "another writer"), cmp.Or(strings.Join(r.Routes, " and "), "the route")
	st := p.edit()
	st.Record.Lowerings++
	if st.Record.Lowerings < maxLowerings {
		p.event(EventWarning, "RouteRewritten", "RestoreExposure", fmt.Sprintf(
			"%s has rewritten the split of %s: the step starts anew", writer, routes))
		return
	}
	p.rollBack(ending{cause: v1alpha1.CauseFailed, message: fmt.Sprintf(
		"the split of %s was rewritten %d times, the last time by %s: let it leave weights, and rules named weir-*, alone",
		routes, maxLowerings, writer)})
}

// obstructed says whether something other than the version keeps its pods from
// running.
func (p *pass) obstructed() bool {
	return p.canary != nil && p.canary.Obstacle != "" && p.canary.Available < p.size()
}

// enough says whether the canary has exactly its pods, and brings it there.
func (p *pass) enough() bool {
	size := p.size()
	switch {
	case size == 0 && p.canary == nil:
	case p.canary == nil || p.canary.Size < size:
		p.expose()
		return p.short()
	case p.canary.Size > size:
		p.expose()
	}
	if p.available() < size {
		return p.short()
	}
	if p.st.Release.VerifiedAt != nil && p.st.Release.Deadline != nil {
		p.edit().Release.Deadline = nil
	}
	return true
}

// short waits for pods.
func (p *pass) short() bool {
	p.resetDeadline()
	if p.obstructed() {
		return p.wait(WaitObstacle, p.canary.Obstacle)
	}
	if p.canary != nil && p.canary.Stuck != "" {
		return p.wait(WaitStuck, "canary pods to be available: "+p.canary.Stuck)
	}
	return p.wait(WaitPods, fmt.Sprintf("canary pods to be available, %d of %d so far", p.available(), p.size()))
}

// advance leaves the step, whose gates have passed.
func (p *pass) advance() {
	now := p.step()
	n := p.in.Target.Replicas
	p.gates = nil
	weight := now.exposure(n, p.routed)
	index := p.st.Release.StepIndex
	if (weight <= p.st.Record.DesiredWeight || !p.grows(now, weight)) && p.hasExtras(now) {
		// The step was not edited to more exposure meanwhile: it is done.
		if index++; index >= p.plan.count() {
			p.finishSteps()
			return
		}
		now = p.plan.at(index)
		weight = max(now.exposure(n, p.routed), p.st.Record.DesiredWeight)
	}
	st := p.edit()
	if extras := now.extras.ID(); p.grows(now, weight) || extras != st.Record.DesiredExtras {
		st.Record.ExposureSeq, st.Record.DesiredExtras = st.Record.Seq, extras
	}
	st.Record.DesiredWeight = weight
	st.Release.StepIndex, st.Release.StepName = index, now.name
	st.Release.VerifiedAt, st.Release.Gates = nil, nil
	st.Release.Deadline = p.deadline()
	st.Record.StepsGeneration = p.in.Rollout.Generation
	p.sawTarget()
	p.event(EventNormal, "StepStarted", "RaiseExposure", p.stepStartedText())
	p.planProgressing()
}

// hasExtras says whether a step has no extras beyond those that are allowed.
func (p *pass) hasExtras(s step) bool {
	id := s.extras.ID()
	return id == "" || id == p.st.Record.DesiredExtras
}

// grows says whether a step at a weight changes what is exposed: without routes
// steps may come to the same number of pods.
func (p *pass) grows(s step, weight int32) bool {
	if p.routed {
		return weight != p.st.Record.DesiredWeight
	}
	n := p.in.Target.Replicas
	return s.size(weight, n, false) != p.step().size(p.st.Record.DesiredWeight, n, false)
}

// finishSteps promotes after the last step; at once to the adoption when
// nothing is left to raise.
func (p *pass) finishSteps() {
	full := p.canary != nil && p.canary.Size == p.in.Target.Replicas
	if full && (!p.routed || p.st.Record.DesiredWeight == v1alpha1.FullWeight) && p.observed() {
		p.event(EventNormal, "Promoting", "HandOver", fmt.Sprintf("Release %d of revision %s has passed its last step", p.st.Release.Number, p.st.Canary.Revision))
		p.enter(v1alpha1.StageAdopting)
		p.planAdopting()
		return
	}
	p.promote("its last step has passed", "")
	p.planPromoting()
}
