package sim

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
)

// sameDecision compares two decisions whole.
func sameDecision(a, b decide.Decision) bool { return reflect.DeepEqual(a, b) }

// logSubject begins a trace with what it is about.
func (w *World) logSubject() {
	if !w.tracing {
		return
	}
	c := &w.cfg
	w.log("%d replicas, surge %d, %d routes, hold %s, %d steps, analysis %t, onFailure %q, deletionPolicy %q, callers %q, quota %d, pin policy %t, split policy %t",
		c.Replicas, c.Surge, c.Routes, c.Hold, len(c.Steps), c.Analysis != nil, c.OnFailure, c.DeletionPolicy, c.OtherCallers, c.Quota, c.PinPolicy, c.SplitPolicy)
	w.log("qualities %v", w.quality)
}

// describe prints an effect.
func describe(e *decide.Effect, p *process) string {
	var b strings.Builder
	b.WriteString(string(e.Kind))
	switch e.Kind {
	case decide.EffectSetWeight:
		if e.Raise {
			b.WriteString(" up")
		}
		fmt.Fprintf(&b, " %s%s on route %d", percent(e.Weight), extrasNote(e.Extras), p.route)
	case decide.EffectRestoreRoute:
		fmt.Fprintf(&b, " %d", p.route)
	case decide.EffectCreateCanary:
		fmt.Fprintf(&b, " %s size %d", e.Revision, e.Size)
	case decide.EffectScaleCanary, decide.EffectShrinkSet:
		fmt.Fprintf(&b, " %s to %d", e.Name, e.Size)
	default:
		if e.Name != "" {
			b.WriteString(" " + e.Name)
		}
		if e.Revision != "" && !strings.HasSuffix(e.Name, e.Revision) {
			b.WriteString(" " + e.Revision)
		}
	}
	return b.String()
}

func (w *World) logDecision(p *process, fresh bool, d *decide.Decision) {
	if d.Status == nil && len(d.Effects) == 0 {
		w.log("%s waits (%s): %s", p.term, d.Waiting.Reason, d.Waiting.Message)
		return
	}
	view := "caches"
	if fresh {
		view = "live reads"
	}
	kinds := make([]string, len(d.Effects))
	for i := range d.Effects {
		kinds[i] = string(d.Effects[i].Kind)
	}
	w.log("%s decides on %s: record %t, effects %v", p.term, view, d.Status != nil, kinds)
}

func (w *World) logRecord(p *process, now *v1alpha1.RolloutStatus) {
	if !w.tracing {
		return
	}
	w.log("%s records %d: %s", p.term, now.Record.Seq, summary(now))
	for _, e := range p.decision.Events {
		w.log("  event %s %s: %s", e.Type, e.Reason, e.Message)
	}
}

// summary prints what a status says.
func summary(st *v1alpha1.RolloutStatus) string {
	var b strings.Builder
	r := &st.Release
	fmt.Fprintf(&b, "%s", stageOf(st))
	if r.Cause != "" {
		fmt.Fprintf(&b, " %s", r.Cause)
	}
	fmt.Fprintf(&b, " release %d stable %s canary %s", r.Number, st.Stable.Revision, st.Canary.Revision)
	switch stageOf(st) {
	case v1alpha1.StageProgressing, v1alpha1.StagePromoting:
		fmt.Fprintf(&b, " step %s at %s", r.Position, percent(st.Record.DesiredWeight))
	default:
	}
	if st.Record.Lowered {
		fmt.Fprintf(&b, " lowered (%d)", st.Record.Lowerings)
	}
	if r.VerifiedAt != nil {
		fmt.Fprintf(&b, " verified %s", sinceEpoch(r.VerifiedAt.Time))
	}
	if r.Deadline != nil {
		fmt.Fprintf(&b, " deadline %s", sinceEpoch(r.Deadline.Time))
	}
	if r.DrainUntil != nil {
		fmt.Fprintf(&b, " drain until %s", sinceEpoch(r.DrainUntil.Time))
	}
	if len(st.Conditions) > 0 {
		fmt.Fprintf(&b, " [%s %s]", st.Conditions[0].Reason, st.Conditions[0].Status)
	}
	if st.WaitingFor != "" {
		fmt.Fprintf(&b, " waiting for %s", st.WaitingFor)
	}
	return b.String()
}
