package decide

import (
	"fmt"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// planIdle keeps the workload as it should be between releases, learns what is
// stable, and starts a release when there is a new template.
func (p *pass) planIdle() {
	t := &p.in.Target
	switch {
	case p.deleting():
		p.leave()
	case len(p.in.Problems) > 0:
		// Another Rollout may own what is found here: hands off.
		p.wait(WaitProblem, p.in.Problems[0].Message)
	case t.UID == "" && !p.in.Fresh:
		// A cache has only workloads with the label, and somebody may have taken
		// that off.
		p.needLive = true
		p.wait(WaitLiveRead, "live reads")
	case t.UID == "":
		p.wait(WaitWorkload, "the workload to exist")
	case !p.clear() || !p.keepPreview():
	default:
		p.meetTarget()
		p.settle()
	}
}

// meetTarget forgets what was known of another object of the same name, and
// records the generation that people and pipelines compare.
func (p *pass) meetTarget() {
	t, w := &p.in.Target, &p.st.Workload
	if t.UID != w.UID {
		st := p.edit()
		st.Workload = v1alpha1.WorkloadStatus{UID: t.UID}
		st.Stable = v1alpha1.RevisionStatus{}
	}
	if t.Generation > p.st.Workload.ObservedGeneration && p.observed() && t.Revision == p.st.Stable.Revision {
		p.edit()
		p.sawTarget()
	}
}

// settle goes through the rules of rest, in their order.
func (p *pass) settle() {
	if s := p.running(); s != nil && s.Hash != p.st.Stable.Revision && (p.st.Stable.Revision != "" || p.complete(s)) {
		p.follow(s)
	}
	t := &p.in.Target
	switch stable := p.st.Stable.Revision; {
	case stable == "":
		p.first()
	case t.Revision == stable:
		p.restAtStable()
	case !t.Paused:
		p.rollsByItself()
	case p.lostStable():
		// A roll of its own was under way when the template was held, or the
		// stable set is gone. What is stable will be known when it runs alone.
		p.edit().Stable = v1alpha1.RevisionStatus{}
		p.first()
	default:
		p.begin()
	}
}

// rollsByItself follows a workload that goes to a template without a release.
func (p *pass) rollsByItself() {
	if p.in.Target.Replicas > 0 {
		p.wait(WaitHoldBypassed, "the workload, which rolls to its template by itself since it was not held")
		return
	}
	// Caches have no empty sets, so only live reads show that it is done.
	p.needLive = !p.in.Fresh
	p.wait(WaitWorkload, "the workload to take its new template: it is scaled to zero")
}

// lostStable says whether the stable version does not run alone any more.
func (p *pass) lostStable() bool {
	return p.active > 1 || p.active == 0 && p.in.Target.Replicas > 0 && p.observed() && p.stableSet() == nil
}

// begin starts a release of a new template that is held.
func (p *pass) begin() {
	t := &p.in.Target
	switch {
	case p.st.Stable.Revision != p.old.Stable.Revision:
		// What a template is called depends on what is stable, so its name has to
		// be read again.
		p.wait(WaitWorkload, "a new read, now that another version is stable")
	case p.in.Rollout.Spec.Paused:
		p.wait(WaitPaused, "spec.paused to be false, as a new template is there")
	case !p.observed():
		p.wait(WaitWorkload, "the workload's controller to see its newest generation")
	case t.Replicas == 0:
		p.do(Effect{Kind: EffectUnpause, Revision: t.Revision, Size: 0, Why: "without pods a new template is promoted at once"})
		p.wait(WaitWorkload, "the workload to take its new template: it is scaled to zero, so there is nothing to release step by step")
	case p.active == 0:
		p.wait(WaitWorkload, "the workload to run its stable version")
	default:
		p.start("")
		p.planProgressing()
	}
}

// running is the set that the workload runs alone, once its controller has seen
// its newest generation; nil if there is none. Scaled to zero, it is the set of
// its template.
func (p *pass) running() *Set {
	t := &p.in.Target
	if !p.observed() {
		return nil
	}
	if p.active > 0 || t.Replicas > 0 || t.Paused {
		return p.lone
	}
	if s := p.stableSet(); s != nil && s.Revision == t.Revision {
		return s
	}
	for i := range p.in.Sets {
		if s := &p.in.Sets[i]; s.Owner == OwnerTarget && s.Revision == t.Revision {
			return s
		}
	}
	return nil
}

// complete says whether a set has all the pods of the workload, and may be taken
// for what is stable: the workload's template is its own, or another one is held.
// Whoever had it held, before this Rollout or its status was there, did not want
// it to roll by itself.
func (p *pass) complete(s *Set) bool {
	t := &p.in.Target
	return s.Size == t.Replicas && s.Available >= t.Replicas && (t.Paused || s.Revision == t.Revision)
}

// first waits for the first version, which has nothing to be compared with and
// is rolled out by the workload itself.
func (p *pass) first() {
	t := &p.in.Target
	if t.Paused {
		p.do(Effect{Kind: EffectUnpause, Revision: t.Revision, Size: -1, Why: "there is no stable version"})
	}
	p.wait(WaitFirst, "the first version to be up: there is no stable version to compare it with")
}

// follow records what runs as stable.
func (p *pass) follow(s *Set) {
	before := p.st.Stable.Revision
	st := p.edit()
	st.Stable = v1alpha1.RevisionStatus{Revision: s.Hash, Replicas: s.Size, AvailableReplicas: s.Available}
	p.rename(s)
	p.sawTarget()
	switch {
	case before == "":
		p.event(EventNormal, "StableFound", "Observe", fmt.Sprintf("Revision %s is the stable version", s.Hash))
	case p.in.Target.Replicas == 0:
		st.Release = v1alpha1.ReleaseStatus{Number: st.Release.Number + 1, Stage: v1alpha1.StageIdle, StartTime: second(p.in.Now)}
		st.Canary = v1alpha1.RevisionStatus{Revision: s.Hash}
		p.remember(v1alpha1.ResultPromoted, "promoted at once, since the workload was scaled to zero")
		st.Canary = v1alpha1.RevisionStatus{}
	default:
		p.event(EventWarning, "HoldBypassed", "Follow",
			fmt.Sprintf("The workload went from revision %s to %s without a release: it was not held", before, s.Hash))
	}
}

// rename calls the template of a set that has become stable by its new name, for
// the rest of the pass.
func (p *pass) rename(s *Set) {
	if p.in.Target.Revision == s.Revision {
		p.in.Target.Revision = s.Hash
	}
}

// restAtStable is where a Rollout spends its life. The workload is not paused
// then, except in the mode for clusters that cannot hold it otherwise.
func (p *pass) restAtStable() {
	t := &p.in.Target
	rests := p.runsStable()
	switch pauses := t.Hold == v1alpha1.HoldPaused; {
	case t.Paused && pauses && rests:
		p.wait(WaitNothing, "")
	case t.Paused:
		p.resumeStable()
	case !rests:
		p.wait(WaitWorkload, "the workload to run its stable template alone")
	case pauses:
		p.pauseStable()
	default:
		if p.hasFinalizer() {
			p.do(Effect{Kind: EffectRemoveFinalizer, Why: "nothing of a release is left"})
		}
		p.wait(WaitNothing, "")
	}
}

// runsStable says whether the workload runs its stable version alone.
func (p *pass) runsStable() bool {
	if p.active == 0 {
		return p.in.Target.Replicas == 0
	}
	return p.lone != nil && p.lone.Hash == p.st.Stable.Revision
}

// pauseStable pauses the workload at its stable template, where only the pause
// can hold a new one.
func (p *pass) pauseStable() {
	if !p.observed() {
		p.wait(WaitWorkload, "the workload's controller to see its newest generation")
		return
	}
	// Deleting the Rollout must resume the workload, hence the finalizer.
	p.guardDeletion()
	p.do(Effect{Kind: EffectPause, Revision: p.in.Target.Revision, Why: "without admission policies a new template is held by the pause"})
	p.wait(WaitNothing, "")
}

// resumeStable resumes the workload at its stable template.
func (p *pass) resumeStable() {
	p.do(Effect{Kind: EffectUnpause, Revision: p.in.Target.Revision, Size: -1, Why: "its template is the stable one"})
	p.wait(WaitWorkload, "the workload to be resumed at its stable template")
}
