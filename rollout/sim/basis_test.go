package sim

import (
	"time"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
)

const (
	// decidedAge is how old what was read for a decision may be for an effect of
	// it to rest on that.
	decidedAge = 2 * time.Second
	// recordAge is for how long a record confirms what was read before it.
	recordAge = time.Second
)

// basis is what the check of an effect rests on: the Rollout as it was recorded,
// and the workload with its sets, as they are or as they were read for the
// decision.
type basis struct {
	status        *v1alpha1.RolloutStatus
	target        target
	sets          sets
	targetVersion version
}

// liveBasis is what the API server has.
func (w *World) liveBasis() basis {
	return basis{status: w.status(), target: *w.target.live(), sets: *w.sets.live(), targetVersion: w.target.head}
}

// keep what was read for a decision.
func (p *process) keep(fresh bool) {
	p.acted, p.recordedAt, p.decidedOn = false, time.Time{}, nil
	if !fresh {
		return
	}
	p.kept = basis{target: *p.w.target.at(p.read[kindTarget]), sets: *p.w.sets.at(p.read[kindSets]), targetVersion: p.read[kindTarget]}
	p.decidedOn = &p.kept
}

// restsOn is what was read for the decision, nil if that is no longer of use.
func (p *process) restsOn() *basis {
	if p.decidedOn == nil || p.acted || p.w.now.Sub(p.readAt) > decidedAge {
		return nil
	}
	p.decidedOn.status = &p.w.rollout.at(p.rv).Status
	return p.decidedOn
}

// basis of an effect. What raises in the handover reads the workload anew and
// those of its sets that have a size, one by one.
func (p *process) basis(e *decide.Effect) basis {
	live, decided := p.w.liveBasis(), p.restsOn()
	if decided == nil {
		return live
	}
	switch e.Kind {
	case decide.EffectPause, decide.EffectUnpause, decide.EffectEndHandOver,
		decide.EffectCreateCanary, decide.EffectScaleCanary, decide.EffectSealCanary, decide.EffectDeleteCanary:
		return *decided
	case decide.EffectUnveto:
		b := *decided
		b.target, b.targetVersion = live.target, live.targetVersion
		return b
	case decide.EffectBeginHandOver, decide.EffectAdopt:
		b := *decided
		b.target, b.targetVersion = live.target, live.targetVersion
		for i := range b.sets.n {
			s := &b.sets.list[i]
			if now := live.sets.byID(s.id); s.size > 0 && now != nil {
				*s = *now
			} else if s.size > 0 {
				s.size, s.available = 0, 0 // It is gone, which refuses the effect.
			}
		}
		return b
	default:
		return live
	}
}

// confirms says whether the record of the pass is confirmation enough of a change
// to an object that is still as it was read for the decision.
func (p *process) confirms(e *decide.Effect, ref int64) bool {
	switch e.Kind {
	case decide.EffectSetWeight:
		return !e.Raise // Lowering is fenced by the stamp alone.
	case decide.EffectLabel, decide.EffectUnlabel, decide.EffectPause, decide.EffectUnpause, decide.EffectEndHandOver,
		decide.EffectSealCanary, decide.EffectScaleCanary, decide.EffectShrinkSet, decide.EffectExpelSet, decide.EffectUnveto:
	default:
		return false
	}
	decided := p.restsOn()
	if e.Raise || decided == nil || p.recordedAt.IsZero() || p.w.now.Sub(p.recordedAt) > recordAge {
		return false
	}
	if kept := decided.sets.find(hashNamed(e.Revision)); e.Kind == decide.EffectExpelSet && (kept == nil || kept.size == 0) {
		return false // The set is deleted, which is always confirmed.
	}
	have, ok := p.w.reference(p, e, decided)
	return ok && have == ref
}

// named is the set of an effect, nil when it is not there.
func (b *basis) named(e *decide.Effect) *set {
	for i := range b.sets.n {
		if b.sets.list[i].hash.name() == e.Name {
			return &b.sets.list[i]
		}
	}
	return nil
}

// revision of the workload's template.
func (b *basis) revision() string {
	n := namer{status: b.status, all: &b.sets, uid: b.target.uid}
	return n.revision(b.target.template)
}
