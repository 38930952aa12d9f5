package decide

import (
	"iter"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// pass is one decision in the making.
type pass struct {
	in *Input
	// old is the status as it was read; st is the one to be recorded. They are
	// the same object until the first change.
	old, st *v1alpha1.RolloutStatus
	// lowered says that the guard has changed the status.
	lowered bool
	// needLive says that the guard saw something that only live reads can show.
	needLive bool

	routed bool
	plan   plan
	// canary is the set of the canary's hash, nil when there is none. twin is a
	// set with the canary's template that the workload has made itself.
	canary, twin *Set
	// active is the number of sets of the workload with a size; lone is the one,
	// when it is one.
	active int
	lone   *Set

	effects []Effect
	events  []Event
	waiting Waiting
	wakeAt  time.Time
	gates   []gate
}

// newPass derives what decisions need from the input.
func newPass(in *Input) *pass {
	p := &pass{in: in, old: &in.Rollout.Status, st: &in.Rollout.Status}
	p.look()
	return p
}

// look derives the view; again after a change of provider or revisions.
func (p *pass) look() {
	provider := p.in.Provider
	if p.stage().UnderWay() && p.st.Traffic.Provider != "" {
		provider = p.st.Traffic.Provider
	}
	p.routed = provider != v1alpha1.ProviderKubernetes
	p.plan = planOf(&p.in.Rollout.Spec, p.routed)
	p.canary, p.twin, p.lone, p.active = nil, nil, nil, 0
	for i := range p.in.Sets {
		p.lookAt(&p.in.Sets[i])
	}
	if p.active != 1 {
		p.lone = nil
	}
	if p.stage() == v1alpha1.StageAdopting && p.canary == nil && p.twin == nil {
		p.twin = p.emptyTwin()
	}
}

// emptyTwin is the workload's own set of the canary's template, though it is
// scaled to zero: the workload has rolled to it, and was scaled down since.
func (p *pass) emptyTwin() *Set {
	for i := range p.in.Sets {
		if s := &p.in.Sets[i]; s.Owner == OwnerTarget && s.Revision == p.st.Canary.Revision {
			return s
		}
	}
	return nil
}

// lookAt finds the place of one set in the release.
func (p *pass) lookAt(s *Set) {
	if s.active() {
		p.active++
		p.lone = s
	}
	canary := p.st.Canary.Revision
	switch {
	case canary == "" || s.Revision != canary:
	case s.Hash != canary:
		if s.active() {
			p.twin = s
		}
	case s.Owner == OwnerTarget && s.Size == 0 && p.stage() != v1alpha1.StageAdopting:
		// It stands in the history, from an earlier release of this template.
	default:
		p.canary = s
	}
}

// active says whether a set is one that the workload runs.
func (s *Set) active() bool { return s.Owner == OwnerTarget && s.Size > 0 }

// services are the user's Services, or the canary's.
func (p *pass) services(canary bool) iter.Seq[*Backend] {
	return func(yield func(*Backend) bool) {
		for i := range p.in.Backends {
			if b := &p.in.Backends[i]; b.Canary == canary && !yield(b) {
				return
			}
		}
	}
}

// edit gives the status to be changed: a copy, with the next number.
func (p *pass) edit() *v1alpha1.RolloutStatus {
	if p.st == p.old {
		st := *p.old
		st.Record.Seq++
		p.st = &st
	}
	return p.st
}

// stage of the release, Idle when there never was one.
func (p *pass) stage() v1alpha1.Stage {
	if s := p.st.Release.Stage; s != "" {
		return s
	}
	return v1alpha1.StageIdle
}

// deleting says whether the Rollout is being deleted.
func (p *pass) deleting() bool { return p.in.Rollout.DeletionTimestamp != nil }

// step is the current step.
func (p *pass) step() step { return p.plan.at(p.st.Release.StepIndex) }

// allowed is the weight that the canary may have now.
func (p *pass) allowed() int32 { return AllowedWeight(p.st) }

// AllowedWeight is the weight that the canary may have by a Rollout's record, in parts
// per 10,000.
func AllowedWeight(status *v1alpha1.RolloutStatus) int32 {
	if status.Record.Lowered {
		return 0
	}
	return status.Record.DesiredWeight
}

// allowedExtras name what the canary may have beside the weight now.
func (p *pass) allowedExtras() string {
	if p.st.Record.Lowered {
		return ""
	}
	return p.st.Record.DesiredExtras
}

// lowering is the effect that leaves the routes no more than is allowed.
func (p *pass) lowering(why string) Effect {
	return Effect{Kind: EffectSetWeight, Weight: p.allowed(), Extras: p.allowedExtras(), Why: why}
}

// size is the size that the canary ought to have now.
func (p *pass) size() int32 {
	n := p.in.Target.Replicas
	if s := p.stage(); s == v1alpha1.StagePromoting || s == v1alpha1.StageAdopting {
		return n
	}
	return p.step().size(p.st.Record.DesiredWeight, n, p.routed)
}

// available is the number of available pods of the canary.
func (p *pass) available() int32 {
	if p.canary == nil {
		return 0
	}
	return p.canary.Available
}

// handedOver says whether the canary's pods have become the workload's, or are
// about to: its labels match.
func (p *pass) handedOver() bool {
	return p.twin != nil || p.canary != nil && (p.canary.Owner == OwnerTarget || p.canary.Labelled)
}

// stableDown says whether stable, which serves what the canary does not, has no
// pod left. Nothing is held or lowered for it: that could only make it worse.
func (p *pass) stableDown() bool {
	s := p.stableSet()
	return p.walking() && s != nil && s.Size > 0 && s.Available == 0
}

// observed says whether the workload's controller has acted on its newest
// generation.
func (p *pass) observed() bool {
	return p.in.Target.ObservedGeneration >= p.in.Target.Generation
}

// sharedCallers says whether callers beside the routes may meet the canary.
func (p *pass) sharedCallers() bool {
	t := p.in.Rollout.Spec.Traffic
	return t != nil && t.OtherCallers == v1alpha1.OtherCallersShared
}

// sessions says whether users are kept with the version that they met.
func (p *pass) sessions() bool {
	t := p.in.Rollout.Spec.Traffic
	return t != nil && t.SessionAffinity != nil
}

// do adds an effect, unless it is there already.
func (p *pass) do(e Effect) {
	for i := range p.effects {
		if p.effects[i] == e {
			return
		}
	}
	p.effects = append(p.effects, e)
}

// wait says why the pass does no more. It gives false, so that callers can end
// with it.
func (p *pass) wait(reason WaitReason, message string) bool {
	p.waiting = Waiting{Reason: reason, Message: message}
	return false
}

// wake asks for another pass at t; the earliest wins.
func (p *pass) wake(t time.Time) {
	if t.After(p.in.Now) && (p.wakeAt.IsZero() || t.Before(p.wakeAt)) {
		p.wakeAt = t
	}
}

// event adds an event, which is sent only if the pass also records something.
func (p *pass) event(kind EventType, reason, action, message string) {
	p.events = append(p.events, Event{Type: kind, Reason: reason, Action: action, Message: message})
}

// micro is a time as it can be recorded and read again without loss.
func micro(t time.Time) *metav1.MicroTime {
	m := metav1.NewMicroTime(t.Truncate(time.Microsecond))
	return &m
}

// second is a time as it can be recorded and read again without loss.
func second(t time.Time) *metav1.Time {
	m := metav1.NewTime(t.Truncate(time.Second))
	return &m
}
