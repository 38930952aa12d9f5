package decide

import "github.com/weir-dev/weir/apis/v1alpha1"

// leave lets go of the workload, as the Rollout is being deleted and nothing of
// a release is left. What was not promoted is not shipped, unless the user
// wants it.
func (p *pass) leave() {
	if !p.in.Fresh {
		p.needLive = true
		return
	}
	if !p.hasFinalizer() || !p.cleared() {
		return
	}
	t := &p.in.Target
	if t.UID != "" && !p.takenOut() && !p.resume() {
		return
	}
	if t.UID != "" && t.Label == p.in.Rollout.Name {
		p.do(Effect{Kind: EffectUnlabel, Why: "the Rollout is being deleted"})
	}
	p.do(Effect{Kind: EffectRemoveFinalizer, Why: "nothing of Weir's is left"})
	p.wait(WaitDeletion, "the Rollout to be gone")
}

// cleared is clear, but where the workload belongs to another Rollout by now: then
// routes and Services may be split and narrowed for that one, and what was this
// one's went when the workload did.
func (p *pass) cleared() bool {
	if p.takenOut() && p.in.Target.Label != v1alpha1.RolloutOff {
		return p.clearPods()
	}
	return p.clear()
}

// resume takes the workload out of the hold by the deletion policy. It is true
// when the workload is as it should be left.
func (p *pass) resume() bool {
	t := &p.in.Target
	if !t.Paused {
		return true
	}
	stable := p.st.Stable.Revision
	policy := p.in.Rollout.Spec.DeletionPolicy
	switch {
	case t.Revision != stable && policy == v1alpha1.DeletionKeepPaused:
		return true
	case t.Revision == stable || p.stableSet() == nil || policy == v1alpha1.DeletionRelease:
		p.do(Effect{Kind: EffectUnpause, Revision: t.Revision, Size: -1, Why: "the Rollout is being deleted"})
	default:
		p.do(Effect{Kind: EffectRevertTemplate, Revision: stable, Why: "a template that was not promoted is not left behind"})
	}
	return p.wait(WaitDeletion, "the workload to be given back")
}
