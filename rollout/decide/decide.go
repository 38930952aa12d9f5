package decide

import (
	"fmt"
	"time"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// Decide says what to record and to do, given what was observed. It is pure:
// equal inputs give equal decisions, and the input is not changed.
func Decide(in Input) Decision {
	if d, outdated := ignore(&in); outdated {
		return d
	}
	seen := in
	p := newPass(&seen)
	p.run()
	if p.needsTerm() {
		seen = in
		p = newPass(&seen)
		p.takeTerm()
		p.run()
	}
	return p.decision()
}

// ignore turns an observation away that is older than what the record rests on.
// It may miss anything.
func ignore(in *Input) (Decision, bool) {
	w := &in.Rollout.Status.Workload
	if in.Target.UID != w.UID || in.Target.Generation >= w.ObservedGeneration {
		return Decision{}, false
	}
	return Decision{
		ReadLive: !in.Fresh,
		Waiting:  Waiting{Reason: WaitNewerRead, Message: "a newer read of the workload: this one is older than what was recorded"},
	}, true
}

// maxStamp is beyond what any release comes to, and within what JSON can say.
const maxStamp = 1 << 53

// outrun makes the record newer than the stamps that are found. Within the life
// of a Rollout no stamp is newer; but one that was force-deleted and made again,
// or restored from a backup, finds what it has stamped before. Where somebody
// else has recorded since the Rollout was read, the record fails.
func (p *pass) outrun() {
	if !p.in.Fresh {
		return
	}
	newest := int64(0)
	for i := range p.in.Sets {
		newest = max(newest, p.in.Sets[i].Stamp)
	}
	for i := range p.in.Backends {
		newest = max(newest, p.in.Backends[i].Stamp)
	}
	if r := p.in.Route; r != nil {
		newest = max(newest, r.HighestStamp)
	}
	if v := p.in.Preview; v != nil {
		newest = max(newest, v.Stamp)
	}
	if newest > p.st.Record.Seq && newest < maxStamp {
		p.edit().Record.Seq = newest + 1
	}
}

// run is one pass: guard, planner, display.
func (p *pass) run() {
	p.outrun()
	if found, wrong := p.plan.check(); wrong && len(p.in.Problems) == 0 {
		p.in.Problems = []Problem{found}
	}
	if p.takenOut() && len(p.in.Problems) == 0 {
		p.in.Problems = []Problem{{Reason: v1alpha1.ReasonUnsupported, Message: p.takenOutText()}}
	}
	p.guard()
	if !p.in.Fresh && p.st == p.old && len(p.effects) > 0 {
		// Nothing but less weight, on what the caches say: the rest can wait for
		// live reads.
		p.wait(WaitExposure, "the data plane to accept the routes")
		return
	}
	p.planStage()
	p.label()
	if !p.needLive {
		p.display()
	}
}

// takenOut says whether somebody has taken the workload out of Weir's hands, or
// given it to another Rollout: its label has another value.
func (p *pass) takenOut() bool {
	t := &p.in.Target
	return t.UID != "" && t.Label != "" && t.Label != p.in.Rollout.Name
}

func (p *pass) takenOutText() string {
	return fmt.Sprintf("the workload has the label %s=%s, so it is not in the hands of this Rollout: take the label off to put it there again",
		v1alpha1.RolloutLabel, p.in.Target.Label)
}

// problemInterval is how often a Rollout with a problem is looked at again: what
// repairs it may be an object that nobody watches.
const problemInterval = time.Minute

// removalInterval is how often it is looked whether what was deleted is gone: of
// an empty set the cache does not know to whom it belongs.
const removalInterval = 2 * time.Second

// needsTerm says whether this process is about to act on a release for the first
// time. What only lowers need not wait for that.
func (p *pass) needsTerm() bool {
	if !p.stage().UnderWay() && p.st.Release.Stage == p.old.Release.Stage || p.st.Record.Term == p.in.Term {
		return false
	}
	if p.st != p.old {
		return true
	}
	for i := range p.effects {
		if !lowers(&p.effects[i]) {
			return true
		}
	}
	return false
}

// lowers says whether an effect may rest on caches: it takes exposure away from
// whatever is there, or only stamps.
func lowers(e *Effect) bool {
	return e.Kind == EffectSetWeight && !e.Raise || e.Kind == EffectSealCanary
}

// decision turns the pass into its result. What rests on caches may only lower;
// everything else is decided again on live reads.
func (p *pass) decision() Decision {
	if len(p.in.Problems) > 0 {
		p.wake(p.in.Now.Add(problemInterval))
	}
	if p.waiting.Reason == WaitRemoval {
		p.wake(p.in.Now.Add(removalInterval))
	}
	d := Decision{Waiting: p.waiting, WakeAt: p.wakeAt}
	p.wakeAtDeadline(&d)
	if !p.in.Fresh && !p.cacheable() {
		return Decision{ReadLive: true, Waiting: Waiting{Reason: WaitLiveRead, Message: p.waiting.Message}}
	}
	d.Effects = p.effects
	if p.st != p.old {
		d.Status, d.Events = p.st, p.events
	}
	if p.in.Fresh {
		d.Answers = p.answers()
	}
	return d
}

// cacheable says whether a decision that rests on caches may be used. It keeps
// the effects that lower, which come first. Without a record a mere stamp is not
// worth an effect: the caches may be old, and the stamp may be there.
func (p *pass) cacheable() bool {
	recorded, kept := p.st != p.old, 0
	for kept < len(p.effects) && lowers(&p.effects[kept]) && (recorded || p.takesWeight(&p.effects[kept])) {
		kept++
	}
	rest := len(p.effects) - kept
	p.effects = p.effects[:kept]
	switch {
	case p.needLive || recorded && !p.lowered:
		return false
	case recorded || kept > 0:
		return true
	default:
		return rest == 0 && len(p.answers()) == 0
	}
}

// takesWeight says whether an effect takes something off routes that have more.
func (p *pass) takesWeight(e *Effect) bool {
	return e.Kind == EffectSetWeight && p.in.Route.exceeds(e.Weight, e.Extras)
}

// wakeAtDeadline adds the deadline of a release that goes up.
func (p *pass) wakeAtDeadline(d *Decision) {
	if dl := p.st.Release.Deadline; dl != nil && p.walking() && !p.obstructed() && !p.in.Rollout.Spec.Paused {
		p.wake(dl.Time)
	}
	d.WakeAt = p.wakeAt
}

// label keeps the label by which the policies know the workload. It comes after
// all that lowers, and before what raises.
func (p *pass) label() {
	t := &p.in.Target
	if t.UID == "" || t.Label == p.in.Rollout.Name || p.deleting() || len(p.in.Problems) > 0 {
		return
	}
	e := Effect{Kind: EffectLabel, Why: "the policies know a managed workload by its label"}
	at := len(p.effects)
	for i := range p.effects {
		if p.effects[i].Raise {
			at = i
			break
		}
	}
	p.effects = append(p.effects, Effect{})
	copy(p.effects[at+1:], p.effects[at:])
	p.effects[at] = e
}
