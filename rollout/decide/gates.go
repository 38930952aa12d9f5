package decide

import (
	"fmt"
	"math"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// terms are what a step waits for, with what the spec leaves out filled in.
type terms struct {
	hold time.Duration
	// implied says that nobody wrote the hold.
	implied bool
	// require is empty when the step needs no verdict.
	require   v1alpha1.RequiredVerdict
	timeout   time.Duration
	onTimeout v1alpha1.TimeoutAction
	approvals []v1alpha1.ApprovalGate
}

// termsOf gives what a step waits for.
func (p *pass) termsOf(s step) terms {
	var t terms
	var written *v1alpha1.AnalysisGate
	if s.gates != nil {
		t.hold = s.gates.Hold.Or(0)
		t.approvals = s.gates.Approvals
		written = s.gates.Analysis
	}
	// Where nothing is exposed there is nothing to analyse, unless asked for.
	exposed := s.exposes(p.in.Target.Replicas, p.routed)
	if p.in.Rollout.Spec.Analysis != nil && (written != nil || exposed) {
		// A step that was edited to all of the traffic is not there yet.
		below := p.routed && p.st.Record.DesiredWeight < v1alpha1.FullWeight
		p.analysisTerms(&t, written, exposed && (below || !s.isFull(p.routed)))
	}
	if s.gates == nil && t.require == "" && !s.appended {
		t.hold, t.implied = impliedHold, true
	}
	return t
}

// analysisTerms fills in what a step needs of the analysis: what is written at
// the step, else what is written for all steps, else what is implied.
func (p *pass) analysisTerms(t *terms, written *v1alpha1.AnalysisGate, partial bool) {
	a := p.in.Rollout.Spec.Analysis
	t.require = v1alpha1.RequireNoFailure
	if partial {
		t.require = v1alpha1.RequirePass
	}
	t.timeout = a.Timeout.Or(defaultAnalysisTimeout)
	t.onTimeout = orHold(a.OnTimeout)
	if written == nil {
		return
	}
	t.require = orVerdict(written.Require, t.require)
	t.timeout = written.Timeout.Or(t.timeout)
	if written.OnTimeout != "" {
		t.onTimeout = written.OnTimeout
	}
}

func orHold(a v1alpha1.TimeoutAction) v1alpha1.TimeoutAction {
	if a == "" {
		return v1alpha1.OnTimeoutHold
	}
	return a
}

func orVerdict(v, def v1alpha1.RequiredVerdict) v1alpha1.RequiredVerdict {
	if v == "" {
		return def
	}
	return v
}

// gate is one gate of the current step, as it stands.
type gate struct {
	v1alpha1.GateStatus
	// wait is why it has not passed.
	wait Waiting
}

// judge says whether every gate of the step has passed. It starts the clock of
// the step, if there is anything to wait for.
func (p *pass) judge() bool {
	t := p.termsOf(p.step())
	if p.st.Release.VerifiedAt == nil {
		if t.hold == 0 && t.require == "" && p.approvedAlready(t.approvals) {
			return true
		}
		st := p.edit()
		st.Release.VerifiedAt, st.Release.Deadline = micro(p.in.Now), nil
	}
	p.weighGates(t)
	for i := range p.gates {
		switch g := &p.gates[i]; g.State {
		case v1alpha1.GatePassed:
		case v1alpha1.GateFailed:
			p.rollBack(ending{cause: v1alpha1.CauseFailed, message: g.Message})
			p.planRollingBack()
			return false
		default:
			p.waiting = g.wait
			return false
		}
	}
	return true
}

// weighGates looks at every gate of the step, at people last.
func (p *pass) weighGates(t terms) {
	p.gates = make([]gate, 0, 2+len(t.approvals))
	passed := true
	for _, look := range [...]func(terms) (gate, bool){p.holdGate, p.analysisGate} {
		if g, there := look(t); there {
			p.gates = append(p.gates, g)
			passed = passed && g.State == v1alpha1.GatePassed
		}
	}
	for i := range t.approvals {
		p.gates = append(p.gates, p.approvalGate(&t.approvals[i], passed))
	}
}

// approvedAlready says whether people have answered before they were asked.
func (p *pass) approvedAlready(gates []v1alpha1.ApprovalGate) bool {
	for i := range gates {
		if len(p.approvers(&gates[i])) < int(max(gates[i].MinApprovals, 1)) {
			return false
		}
	}
	return true
}

// recorded is a gate of the current step as it was recorded, nil if it was not.
func (p *pass) recorded(kind v1alpha1.GateType, name string) *v1alpha1.GateStatus {
	gates := p.st.Release.Gates
	for i := range gates {
		if g := &gates[i]; g.Type == kind && g.Name == name {
			return g
		}
	}
	return nil
}

// holdGate passes when the exposure has lasted long enough.
func (p *pass) holdGate(t terms) (gate, bool) {
	if t.hold == 0 {
		return gate{}, false
	}
	until := p.st.Release.VerifiedAt.Add(t.hold)
	g := gate{GateStatus: v1alpha1.GateStatus{Type: v1alpha1.GateHold, State: v1alpha1.GatePassed, Deadline: second(until)}}
	if p.in.Now.Before(until) {
		p.wake(until)
		g.State = v1alpha1.GateWaiting
		g.Message = "until " + clock(until)
		if t.implied {
			g.Message += ", since the step has no gates and there is no analysis"
		}
		g.wait = Waiting{Reason: WaitHold, Message: "hold until " + clock(until)}
	}
	return g, true
}

// analysisGate passes when the verdict over this step is what it needs.
func (p *pass) analysisGate(t terms) (gate, bool) {
	if t.require == "" {
		return gate{}, false
	}
	g := gate{GateStatus: v1alpha1.GateStatus{Type: v1alpha1.GateAnalysis, State: v1alpha1.GatePassed}}
	if r := p.recorded(v1alpha1.GateAnalysis, ""); r != nil && r.State == v1alpha1.GatePassed {
		g.Message = r.Message
		return g, true
	}
	value, v := v1alpha1.VerdictValue(""), p.stepVerdict()
	if v != nil {
		value = v.Step
		p.wake(v.NextLook)
	}
	if meets(value, t.require) {
		if share := p.shareOff(); share != "" {
			p.wake(p.in.Now.Add(shareInterval)) // The runner tells of other verdicts, not of each count.
			g.State, g.Message = v1alpha1.GateWaiting, "has passed, but waits for "+share
			g.wait = Waiting{Reason: WaitShare, Message: share}
			return g, true
		}
		g.Message = "the verdict is " + string(value)
		return g, true
	}
	g.State = v1alpha1.GateWaiting
	g.Message, g.wait = undecided(v, t.require)
	g.Message = p.unmet() + g.Message
	if due := p.st.Release.VerifiedAt.Add(t.timeout); p.in.Now.Before(due) {
		p.wake(due)
		return g, true
	}
	switch {
	case v == nil: // A process that has begun just now is still to look.
	case value == v1alpha1.VerdictNoData:
		p.missData(&g, t, v)
	default:
		p.timeOut(&g, t)
	}
	return g, true
}

// shareInterval is how often a measured share is looked at that is not yet the
// allowed one.
const shareInterval = 5 * time.Second

// stepVerdict is the verdict on the current step, nil while there is none.
func (p *pass) stepVerdict() *Verdict {
	v, since := p.verdict(), p.st.Release.VerifiedAt
	if v == nil || since == nil || !v.StepStart.Equal(since.Time) {
		return nil
	}
	return v
}

// undecided says what an analysis has said instead of what a step needs.
func undecided(v *Verdict, need v1alpha1.RequiredVerdict) (string, Waiting) {
	message, wait := "needs the verdict "+string(need), Waiting{Reason: WaitAnalysis, Message: "analysis " + string(need)}
	switch {
	case v == nil:
		return message, wait
	case v.Step == v1alpha1.VerdictNoData:
		missing := "missing" + since(v.MissingSince)
		return "needs metrics, " + missing + because(v.Message), Waiting{Reason: WaitMissingData, Message: "metrics, " + missing}
	default:
		return fmt.Sprintf("%s, it is %s%s", message, v.Step, because(v.Message)), wait
	}
}

// meets says whether a verdict is what a step needs. Too few data for a verdict
// are no evidence that the version is bad; missing data are neither.
func meets(v v1alpha1.VerdictValue, need v1alpha1.RequiredVerdict) bool {
	switch v {
	case v1alpha1.VerdictPass:
		return true
	case v1alpha1.VerdictNoFailure, v1alpha1.VerdictInconclusive:
		return need == v1alpha1.RequireNoFailure
	default:
		return false
	}
}

// missData decides about metrics that are missing when a step's time is over. Without
// data nothing advances; what ends the release is that they have been missing for
// all that time, and not that the newest look at them failed.
func (p *pass) missData(g *gate, t terms, v *Verdict) {
	from := v.MissingSince
	if from.IsZero() {
		from = p.st.Release.VerifiedAt.Time
	}
	g.Message, g.wait = "has no data"+since(from), Waiting{Reason: WaitMissingData, Message: "metrics, missing" + since(from)}
	if p.in.Rollout.Spec.Analysis.OnMissingData != v1alpha1.HoldActionRollback {
		return
	}
	if until := from.Add(t.timeout); p.in.Now.Before(until) {
		p.wake(until)
		return
	}
	g.State, g.Message = v1alpha1.GateFailed, "the analysis has had no data for "+t.timeout.String()
}

// timeOut decides about an analysis that has not said what the step needs in time.
func (p *pass) timeOut(g *gate, t terms) {
	after := " within " + t.timeout.String()
	switch t.onTimeout {
	case v1alpha1.OnTimeoutAdvance:
		g.State, g.Message = v1alpha1.GatePassed, "no verdict"+after+", and onTimeout is Advance"
	case v1alpha1.OnTimeoutRollback:
		g.State, g.Message = v1alpha1.GateFailed, "the analysis did not reach the verdict "+string(t.require)+after
	default:
		late := "no verdict " + string(t.require) + after
		g.Message = "has come to " + late
		g.wait = Waiting{Reason: WaitTimedOut, Message: fmt.Sprintf("a verdict, %s or %s: %s", p.hint("promote"), p.hint("abort"), late)}
	}
}

// shareOff says in words that the measured share of this step is not the
// allowed one, beyond chance and a tenth of it. Empty when it agrees or nobody
// knows.
func (p *pass) shareOff() string {
	m, w := p.in.Measured, p.allowed()
	if m == nil || m.Total < 100 || m.Start.Before(p.st.Release.VerifiedAt.Time) || !p.shareKnown() {
		return ""
	}
	want := float64(w) / float64(v1alpha1.FullWeight)
	if stable := p.stableSet(); p.sharedCallers() && stable != nil && stable.Available > 0 {
		// The stable backend is the wide Service, with the canary's pods in it.
		pods := float64(p.available()) / float64(p.available()+stable.Available)
		want += (1 - want) * pods
	}
	got := float64(m.Canary) / float64(m.Total)
	if math.Abs(got-want) <= 5*math.Sqrt(want*(1-want)/float64(m.Total))+want/10 {
		return ""
	}
	return fmt.Sprintf("the measured share to be %s, it is %s", v1alpha1.FormatWeight(int32(want*1e4)), v1alpha1.FormatWeight(int32(got*1e4)))
}

// unmet says in words that no request meets the canary, though a share of them ought
// to: then no analysis ever comes to an end. Empty when some do or nobody knows.
func (p *pass) unmet() string {
	if p.shareOff() == "" || p.in.Measured.Canary > 0 {
		return ""
	}
	return "no request meets the canary: do the callers pass the route? In a mesh those without its proxy do not; "
}

// shareKnown says whether the allowed weight is the share that is to be measured:
// who matches, and what is mirrored, comes on top of it. With sessions it is the share
// of the users, each of whom sends requests of their own number: that the data plane
// has accepted the weight has to do, and the measured share is only shown.
func (p *pass) shareKnown() bool {
	w := p.allowed()
	return p.routed && w > 0 && w < v1alpha1.FullWeight && p.allowedExtras() == "" && !p.sessions()
}

// approvalGate passes when enough people have approved. They are asked when the
// other gates have passed, unless the gate says at once.
func (p *pass) approvalGate(a *v1alpha1.ApprovalGate, others bool) gate {
	people, need := p.approvers(a), int(max(a.MinApprovals, 1))
	g := gate{GateStatus: v1alpha1.GateStatus{Type: v1alpha1.GateApproval, Name: a.Name, State: v1alpha1.GatePassed, Approvers: people}}
	if r := p.recorded(v1alpha1.GateApproval, a.Name); r != nil {
		g.AskedAt, g.Deadline = r.AskedAt, r.Deadline
	}
	if len(people) >= need {
		return g
	}
	if g.AskedAt == nil && (others || a.Ask == v1alpha1.AskImmediately) {
		g.AskedAt = second(p.in.Now)
		if timeout := a.Timeout.Or(0); timeout > 0 {
			g.Deadline = second(g.AskedAt.Add(timeout))
		}
	}
	counted := fmt.Sprintf("approval %s %d/%d", a.Name, len(people), need)
	g.wait = Waiting{Reason: WaitApproval, Message: counted}
	g.State, g.Message = v1alpha1.GateWaiting, fmt.Sprintf("approved by %d of %d", len(people), need)
	if g.AskedAt == nil {
		g.State = v1alpha1.GatePending
		return g
	}
	if late(g.Deadline, p.in.Now) {
		if a.OnTimeout == v1alpha1.HoldActionRollback {
			g.State, g.Message = v1alpha1.GateFailed, fmt.Sprintf("gate %s was not approved within %s", a.Name, a.Timeout)
			return g
		}
		g.Message = "not approved within " + string(a.Timeout)
		g.wait = Waiting{Reason: WaitTimedOut,
			Message: fmt.Sprintf("%s or %s: gate %s was %s", p.hint("promote"), p.hint("abort"), a.Name, g.Message)}
		return g
	}
	if g.Deadline != nil {
		p.wake(g.Deadline.Time)
	}
	return g
}

// late says whether a deadline has passed.
func late(deadline *metav1.Time, now time.Time) bool {
	return deadline != nil && !now.Before(deadline.Time)
}

// failGates marks what failed, for the record of a rollback.
func (p *pass) failGates(e ending) {
	if p.gates == nil {
		return
	}
	for i := range p.gates {
		if g := &p.gates[i]; g.State != v1alpha1.GatePassed && g.Message == e.message {
			g.State = v1alpha1.GateFailed
		}
	}
}

// gateStatuses are the gates for the record.
func gateStatuses(gates []gate) []v1alpha1.GateStatus {
	out := make([]v1alpha1.GateStatus, len(gates))
	for i := range gates {
		out[i] = gates[i].GateStatus
		out[i].Message = clip(out[i].Message, 256)
	}
	return out
}
