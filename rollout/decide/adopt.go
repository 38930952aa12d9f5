package decide

import (
	"cmp"
	"fmt"
	"time"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// planAdopting makes the canary's pods the workload's own. Whatever happens
// here, traffic follows pods: first the Services take all pods of the workload,
// then the routes are the user's again, and only then the workload adopts.
func (p *pass) planAdopting() {
	if !p.in.Fresh {
		p.needLive = true
		p.wait(WaitLiveRead, "live reads")
		return
	}
	if p.in.Target.UID != p.st.Workload.UID {
		p.finishAdopting(nil)
		return
	}
	p.guardDeletion()
	p.previewFollows()
	if p.handedOver() {
		p.completeHandover()
		return
	}
	p.handOver()
}

// handOver brings the canary and the traffic to where the workload can adopt,
// and hands over.
func (p *pass) handOver() {
	if len(p.in.Problems) > 0 {
		p.wait(WaitProblem, p.in.Problems[0].Message)
		return
	}
	if !p.seal() || !p.held() || p.removeTwins() || !p.grown() || !p.giveBack() || !p.even() {
		return
	}
	t, c := &p.in.Target, p.canary
	switch {
	case !t.Vetoed || t.Paused:
		p.do(Effect{Kind: EffectBeginHandOver, Revision: c.Hash, Size: t.Replicas, Raise: true, Why: "the canary is at full size and available"})
		p.wait(WaitHandOver, "the workload's controller to see that it may adopt")
	case t.ActsPaused:
		p.wake(p.in.Now.Add(resumeInterval))
		p.wait(WaitHandOver, "the workload's controller to see that it may adopt")
	default:
		p.do(Effect{Kind: EffectAdopt, Name: c.Name, Revision: c.Hash, Size: t.Replicas, Raise: true, Why: "the workload adopts the canary's pods"})
		p.wait(WaitHandOver, "the workload to adopt the canary's pods")
	}
}

// resumeInterval is how often it is looked whether the workload's controller has
// seen that it may adopt. In most clusters its word comes first.
const resumeInterval = time.Second

// grown says whether the canary has all the pods of the workload, which may
// have been scaled since. More than that are taken away later.
func (p *pass) grown() bool {
	n, c := p.in.Target.Replicas, p.canary
	switch {
	case c.Size < n:
		p.do(Effect{Kind: EffectScaleCanary, Name: c.Name, Revision: c.Hash, Size: n, Raise: true, Why: "the workload was scaled up"})
		return p.short()
	case c.Available < n:
		return p.short()
	}
	return true
}

// even says whether both versions have exactly the size of the workload, and
// its controller knows. A scaling that it has not acted on would be spread over
// both sets, and take the pods of the larger one.
func (p *pass) even() bool {
	n, c := p.in.Target.Replicas, p.canary
	if c.Size > n {
		p.do(Effect{Kind: EffectScaleCanary, Name: c.Name, Revision: c.Hash, Size: n, Why: "the workload was scaled down"})
	}
	if c.Pods > n || c.Size > n {
		return p.wait(WaitHandOver, "the canary to have the size of the workload")
	}
	switch uneven := p.uneven(); {
	case !uneven && p.active <= 1:
		return true
	case !p.observed():
		return p.wait(WaitWorkload, "the workload's controller to see its newest generation")
	default:
		return p.wait(WaitWorkload, "the workload's controller to size its ReplicaSets as it was scaled")
	}
}

// uneven says whether the workload's own set has another size than it, or may get
// one, since its controller has not seen the newest generation.
func (p *pass) uneven() bool {
	t := &p.in.Target
	uneven := p.lone != nil && p.lone.Size != t.Replicas
	if !t.Vetoed || t.Paused {
		return uneven || !p.observed()
	}
	// The workload's controller does not get on with a generation before it has
	// adopted: it wants to make a set, which the veto refuses.
	if uneven {
		p.do(Effect{Kind: EffectPause, Revision: t.Revision, Why: "the workload was scaled, and its controller may not get to that under the veto"})
	}
	return uneven
}

// giveBack widens the user's Services and gives the routes back, so that stable
// and canary serve side by side. It is true when the data plane has taken it.
func (p *pass) giveBack() bool {
	wide := p.widen()
	r := p.in.Route
	if r != nil && r.Split {
		p.do(Effect{Kind: EffectRestoreRoute, Why: "traffic follows the pods of the workload now"})
		return p.wait(WaitExposure, "the data plane to accept the routes as they were")
	}
	if !p.processed("the data plane to accept the routes as they were") {
		return false
	}
	return wide || p.wait(WaitPin, "the Services to take all pods of the workload")
}

// completeHandover follows the workload until it runs one version alone.
func (p *pass) completeHandover() {
	if !p.giveBack() || !p.isAdopted() || !p.rightTemplate() {
		return
	}
	switch t := &p.in.Target; {
	case !p.observed():
		p.wait(WaitWorkload, "the workload's controller to see its newest generation")
	case p.active > 1 && t.Paused:
		p.shrinkSmallest()
		p.wait(WaitHandOver, "the older pods to go, before the newest template is released")
	case !p.alone():
		p.wait(WaitHandOver, "the workload to scale the older pods down")
	case t.Vetoed:
		p.endVeto()
	default:
		// Only when nothing of Weir's is left is the version called stable.
		if p.clear() {
			p.finishAdopting(p.survivor())
		}
	}
}

// alone says whether the workload runs one version, or none when it is scaled to
// zero.
func (p *pass) alone() bool {
	return p.active == 1 || p.active == 0 && p.in.Target.Replicas == 0
}

// isAdopted says whether the workload has adopted the canary, now that its
// labels ask for it.
func (p *pass) isAdopted() bool {
	t, c := &p.in.Target, p.canary
	if c == nil || !c.Labelled || c.Owner == OwnerTarget {
		return true
	}
	if t.Revision == c.Hash && t.Paused {
		p.do(Effect{Kind: EffectBeginHandOver, Revision: c.Hash, Size: t.Replicas, Raise: true, Why: "the handover goes on"})
	}
	return p.wait(WaitHandOver, "the workload to adopt the canary's pods")
}

// rightTemplate lets the workload run the canary's template, or stable's again
// if that is what people want now. A third one waits, held.
func (p *pass) rightTemplate() bool {
	t := &p.in.Target
	stable := t.Revision == p.st.Stable.Revision
	third := !stable && t.Revision != p.st.Canary.Revision
	switch {
	case third && !t.Paused && t.Vetoed:
		// Nothing else has held this template, and the veto keeps it only so long.
		p.do(Effect{Kind: EffectPause, Revision: t.Revision, Why: "a new template came during the handover"})
		return p.wait(WaitHandOver, "the newest template to be held")
	case t.Paused && !third && (p.active > 1 || stable):
		p.do(Effect{Kind: EffectUnpause, Revision: t.Revision, Size: -1, Why: "the handover is to be completed"})
		return p.wait(WaitHandOver, "the workload to go on with the handover")
	}
	return true
}

// endVeto takes the veto away, now that the workload runs one version alone.
// Where only the pause holds templates it comes first, so that there is no
// moment without a hold.
func (p *pass) endVeto() {
	t := &p.in.Target
	if t.Hold == v1alpha1.HoldPaused && !t.Paused {
		p.do(Effect{Kind: EffectPause, Revision: t.Revision, Why: "without admission policies a new template is held by the pause"})
	}
	p.do(Effect{Kind: EffectEndHandOver, Why: "the workload has adopted the canary's pods"})
	p.unveto()
	p.wait(WaitHandOver, "the veto on new ReplicaSets to be taken away")
}

// survivor is the set that the workload runs alone; scaled to zero, the set of
// its template, else the canary's.
func (p *pass) survivor() *Set {
	if p.lone != nil {
		return p.lone
	}
	if s := p.stableSet(); s != nil && s.Revision == p.in.Target.Revision {
		return s
	}
	if p.canary != nil {
		return p.canary
	}
	return p.twin
}

// shrinkSmallest finishes a handover or a roll that a third template has paused
// midway, with two versions running. It takes pods of the smallest set, as many as the
// workload's own strategy would; the controller of a paused workload gives them
// to the largest.
func (p *pass) shrinkSmallest() {
	smallest, largest := p.extremes()
	available := int32(0)
	for i := range p.in.Sets {
		if s := &p.in.Sets[i]; s.active() {
			available += s.Available
		}
	}
	spare := max(0, available-(p.in.Target.Replicas-p.in.Target.MaxUnavailable))
	// Pods that are not available cost nothing.
	take := min(smallest.Size, spare+smallest.Size-min(smallest.Available, smallest.Size))
	if take > 0 {
		p.do(Effect{Kind: EffectShrinkSet, Name: smallest.Name, Revision: largest.Hash, Size: smallest.Size - take,
			Why: "a roll that was interrupted is finished first"})
	}
}

// extremes are the smallest and the largest active set, the oldest and the
// newest among equals. There are two at least.
func (p *pass) extremes() (smallest, largest *Set) {
	for i := range p.in.Sets {
		s := &p.in.Sets[i]
		if !s.active() {
			continue
		}
		if smallest == nil || before(s, smallest) {
			smallest = s
		}
		if largest == nil || before(largest, s) {
			largest = s
		}
	}
	return smallest, largest
}

// before orders sets by size, then by age, then by name.
func before(a, b *Set) bool {
	switch {
	case a.Size != b.Size:
		return a.Size < b.Size
	case !a.Created.Equal(b.Created):
		return a.Created.Before(b.Created)
	default:
		return a.Name < b.Name
	}
}

// finishAdopting records the end of the release: what runs is stable.
func (p *pass) finishAdopting(s *Set) {
	st := p.edit()
	result, message := v1alpha1.ResultPromoted, ""
	switch {
	case s == nil:
		result, message = v1alpha1.ResultSuperseded, "the workload was deleted during the handover"
	case s.Revision != st.Canary.Revision:
		result, message = v1alpha1.ResultSuperseded, "the workload went to another template during the handover"
	case s.Hash != st.Canary.Revision:
		// The workload's own hash of the template is another than Weir's.
		message = fmt.Sprintf("the workload rolled to it by itself, and calls it %s", s.Hash)
	}
	st.Release.Deadline = nil
	p.remember(result, cmp.Or(message, p.promotedBy()))
	reason, text := "Promoted", fmt.Sprintf("Revision %s is stable: its pods have become the workload's own", st.Canary.Revision)
	switch {
	case result != v1alpha1.ResultPromoted:
		reason, text = "Superseded", fmt.Sprintf("Release %d of revision %s: %s", st.Release.Number, st.Canary.Revision, message)
	case message != "":
		text = fmt.Sprintf("Revision %s is stable: %s", st.Canary.Revision, message)
	}
	p.event(EventNormal, reason, "Finish", text)
	st.Stable = v1alpha1.RevisionStatus{}
	if s != nil {
		st.Stable = v1alpha1.RevisionStatus{Revision: s.Hash, Replicas: s.Size, AvailableReplicas: s.Available}
		p.rename(s)
	}
	st.Canary = v1alpha1.RevisionStatus{}
	st.Release.Stage, st.Release.Gates = v1alpha1.StageIdle, nil
	st.Record.DesiredWeight, st.Record.DesiredExtras = 0, ""
	p.sawTarget()
	p.look()
	p.planIdle()
}
