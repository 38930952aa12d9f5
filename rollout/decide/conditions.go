package decide

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// shortWait is how long a wait that ends by itself may last before it is
// recorded for people to see.
const shortWait = 30 * time.Second

// maxReason is how long status.analysis.reason may be.
const maxReason = 64

// display brings what people read up to date: always together with a decision,
// and by itself only when a wait begins that people care about.
func (p *pass) display() {
	if p.deleting() && p.st == p.old {
		return
	}
	if p.st.ObservedGeneration != p.in.Rollout.Generation {
		p.edit()
	}
	if p.st == p.old && !p.worthRecording() {
		return
	}
	if p.stableDown() && !p.saidStableDown() {
		p.event(EventWarning, "StableUnavailable", "Observe",
			fmt.Sprintf("Stable revision %s has no available pod; the release goes on: %s", p.st.Stable.Revision, p.promoteText()))
	}
	st := p.edit()
	st.ObservedGeneration = p.in.Rollout.Generation
	st.WaitingFor = p.waitingFor()
	st.Workload.Hold = p.in.Target.Hold
	if p.walking() {
		st.Record.StepsGeneration = p.in.Rollout.Generation
	}
	if p.gates != nil {
		st.Release.Gates = gateStatuses(p.gates)
	}
	p.displayRelease()
	p.displayExposure()
	p.displayAnalysis()
	p.setConditions()
}

// kind of a wait: whether it is recorded at once, after a while, or only when
// the conditions change by it.
func (r WaitReason) kind() waitKind {
	switch r {
	case WaitApproval, WaitHold, WaitAnalysis, WaitMissingData, WaitTimedOut, WaitShare, WaitPaused,
		WaitObstacle, WaitStuck, WaitScaledToZero, WaitProblem, WaitHoldBypassed, WaitFirst:
		return waitsLong
	case WaitNothing, WaitRevert:
		return atRest
	default:
		return waitsShortly
	}
}

type waitKind int

const (
	waitsShortly waitKind = iota
	waitsLong
	atRest
)

// worthRecording says whether the display alone is worth a write.
func (p *pass) worthRecording() bool {
	if p.walking() && p.stableDown() != p.saidStableDown() || p.evidenceChanged() || p.drainOver() {
		return true
	}
	switch p.waiting.Reason.kind() {
	case waitsShortly:
		since := p.waitsSince()
		if since.IsZero() || p.waitingFor() == p.st.WaitingFor {
			return false
		}
		shown := since.Add(shortWait)
		p.wake(shown)
		return !p.in.Now.Before(shown)
	case waitsLong:
		if p.waitingFor() != p.st.WaitingFor || p.approversChanged() {
			return true
		}
	default:
	}
	return p.conditionsChanged()
}

// drainOver says whether the recorded wait for a drain is over, and something else
// is waited for: a time that is past tells nobody what.
func (p *pass) drainOver() bool {
	return p.waiting.Reason != WaitDrain && strings.HasPrefix(p.st.WaitingFor, drainText)
}

// evidenceChanged says whether an analysis that a step waits for says something
// else than what is recorded, other than by its numbers. What it says at the
// beginning of a step passes by itself, and is not worth a write.
func (p *pass) evidenceChanged() bool {
	v, a := p.stepVerdict(), &p.st.Analysis
	if v == nil || v.Value == a.Verdict && clip(v.Reason, maxReason) == a.Reason || !p.awaitsEvidence() {
		return false
	}
	shown := p.st.Release.VerifiedAt.Add(shortWait)
	p.wake(shown)
	return !p.in.Now.Before(shown)
}

// awaitsEvidence says whether the analysis keeps the step from ending.
func (p *pass) awaitsEvidence() bool {
	for i := range p.gates {
		if g := &p.gates[i]; g.Type == v1alpha1.GateAnalysis {
			return g.State == v1alpha1.GateWaiting
		}
	}
	return false
}

// saidStableDown says whether the recorded message warns of stable without pods.
func (p *pass) saidStableDown() bool {
	r := p.recordedCondition(v1alpha1.ConditionReady)
	return r != nil && strings.Contains(r.Message, stableDownText)
}

// waitsSince is since when the release has been on the way to where it waits; it
// is zero when that is not known.
func (p *pass) waitsSince() time.Time {
	rel := &p.st.Release
	switch {
	case rel.DrainUntil != nil:
		return rel.DrainUntil.Time
	case rel.Deadline != nil:
		return rel.Deadline.Add(-p.progressDeadline())
	default:
		return time.Time{}
	}
}

// approversChanged says whether people have been asked or have answered since
// the last record.
func (p *pass) approversChanged() bool {
	for i := range p.gates {
		g := &p.gates[i]
		if g.Type != v1alpha1.GateApproval {
			continue
		}
		r := p.recorded(g.Type, g.Name)
		if r == nil || len(r.Approvers) != len(g.Approvers) || (r.AskedAt == nil) != (g.AskedAt == nil) {
			return true
		}
	}
	return false
}

// displayRelease shows where the release stands.
func (p *pass) displayRelease() {
	st, n := p.st, p.in.Target.Replicas
	if s := p.stableSet(); s != nil {
		st.Stable.Replicas, st.Stable.AvailableReplicas = s.Size, s.Available
	}
	switch c := p.canary; {
	case c != nil:
		st.Canary.Replicas, st.Canary.AvailableReplicas = c.Size, c.Available
	case st.Canary.Revision != "" && n >= 0:
		st.Canary.Replicas, st.Canary.AvailableReplicas = 0, 0
	}
	switch p.stage() {
	case v1alpha1.StageIdle:
		st.Release.Position = ""
	case v1alpha1.StageProgressing:
		st.Release.Position = p.position()
	default:
	}
}

// displayExposure shows what is allowed, configured, accepted and measured.
func (p *pass) displayExposure() {
	x := &p.st.Exposure
	if p.stage() == v1alpha1.StageIdle {
		*x = v1alpha1.ExposureStatus{}
		return
	}
	before := x.Configured
	x.Desired = v1alpha1.FormatWeight(p.shownWeight())
	switch r := p.in.Route; {
	case r != nil:
		x.Configured = v1alpha1.FormatWeight(r.Weight) + p.extrasMark()
		if r.Accepted {
			x.Accepted = x.Configured
		}
	case !p.routed:
		x.Configured = v1alpha1.FormatWeight(p.shareOfPods())
		x.Accepted = x.Configured
	}
	switch m, since := p.in.Measured, p.old.Release.VerifiedAt; {
	case m != nil && m.Total > 0 && since != nil && !m.Start.Before(since.Time):
		x.Measured = v1alpha1.FormatWeight(int32(m.Canary * 10000 / m.Total))
		x.MeasuredRequests = m.Total
	case p.walking() && x.Configured != before:
		// What was measured at another weight says nothing about this one.
		x.Measured, x.MeasuredRequests = "", 0
	}
}

// extrasMark is how extras that the routes carry are shown beside the weight.
func (p *pass) extrasMark() string {
	r, e := p.in.Route, p.step().extras
	switch {
	case r.Extras == "" || r.Extras != e.ID():
		return ""
	case e.Mirror != nil:
		return " + mirror"
	default:
		return " + match"
	}
}

// shownWeight is what the canary may have: after a rollback nothing, whatever the
// step allowed that it was at.
func (p *pass) shownWeight() int32 {
	if s := p.stage(); s == v1alpha1.StageRollingBack || s == v1alpha1.StageAborted {
		return 0
	}
	return p.allowed()
}

// shareOfPods is the canary's share of the available pods.
func (p *pass) shareOfPods() int32 {
	all, canary := int64(0), int64(p.available())
	for i := range p.in.Sets {
		all += int64(p.in.Sets[i].Available)
	}
	if all == 0 {
		return 0
	}
	return int32(canary * int64(v1alpha1.FullWeight) / all)
}

// displayAnalysis shows the evidence that the record rests on.
func (p *pass) displayAnalysis() {
	v := p.verdict()
	if v == nil {
		return
	}
	a := &p.st.Analysis
	a.Verdict, a.Reason, a.Message = v.Value, clip(v.Reason, maxReason), clip(v.Message, 1024)
	a.Metrics, a.WindowEnd = v.Metrics, nil
	if !v.WindowEnd.IsZero() {
		a.WindowEnd = second(v.WindowEnd)
	}
}

// conditions are the three conditions, as kstatus reads them.
type conditions struct {
	ready, reconciling, stalled metav1.ConditionStatus
	reason, message             string
}

// assess derives the conditions from the stage and the wait.
func (p *pass) assess() conditions {
	moving := conditions{ready: metav1.ConditionUnknown, reconciling: metav1.ConditionTrue, stalled: metav1.ConditionFalse}
	stalled := conditions{ready: metav1.ConditionFalse, reconciling: metav1.ConditionFalse, stalled: metav1.ConditionTrue}
	if len(p.in.Problems) > 0 && p.stage() != v1alpha1.StageRollingBack {
		stalled.reason, stalled.message = p.in.Problems[0].Reason, clip(p.in.Problems[0].Message, 1024)
		return stalled
	}
	switch p.stage() {
	case v1alpha1.StageAborted:
		stalled.reason, stalled.message = v1alpha1.ReasonRolledBack, p.rolledBackText()
		return stalled
	case v1alpha1.StageIdle:
		return p.assessIdle(moving)
	default:
	}
	moving.reason, moving.message = p.movingReason(), p.releaseText()
	return moving
}

// assessIdle derives the conditions between releases. Stable is said only at
// rest: whoever waits for it may then rely on the hold, and finds nothing of the
// last release left.
func (p *pass) assessIdle(moving conditions) conditions {
	moving.reason = v1alpha1.ReasonReleasing
	switch p.waiting.Reason {
	case WaitFirst:
		moving.message = "Waiting for " + p.waiting.Message
		return moving
	case WaitHoldBypassed:
		moving.message = "The hold was bypassed: the workload rolls to its template by itself"
		return moving
	case WaitPaused:
		moving.reason, moving.message = v1alpha1.ReasonPaused, "A new template waits: spec.paused is true"
		return moving
	case WaitNothing:
		if p.in.Target.Label == p.in.Rollout.Name {
			return conditions{
				ready: metav1.ConditionTrue, reconciling: metav1.ConditionFalse, stalled: metav1.ConditionFalse,
				reason: v1alpha1.ReasonStable, message: "Revision " + p.st.Stable.Revision + " is stable",
			}
		}
		moving.message = "The workload is being labelled, so that its new templates are held"
		return moving
	default:
	}
	if p.st.Release.Cause != "" {
		moving.reason = v1alpha1.ReasonRollingBack
	}
	moving.message = "Waiting for " + p.waiting.Message
	return moving
}

// movingReason is the state of a release under way, as people read it.
func (p *pass) movingReason() string {
	switch p.stage() {
	case v1alpha1.StageRollingBack:
		return v1alpha1.ReasonRollingBack
	case v1alpha1.StageAdopting:
		return v1alpha1.ReasonPromoting
	default:
	}
	switch p.waiting.Reason {
	case WaitApproval:
		return v1alpha1.ReasonWaitingForApproval
	case WaitAnalysis, WaitShare:
		return v1alpha1.ReasonWaitingForEvidence
	case WaitMissingData, WaitTimedOut, WaitObstacle:
		return v1alpha1.ReasonHeld
	case WaitPaused:
		return v1alpha1.ReasonPaused
	default:
	}
	if p.stage() == v1alpha1.StagePromoting {
		return v1alpha1.ReasonPromoting
	}
	return v1alpha1.ReasonReleasing
}

// setConditions writes the conditions. The time of a transition moves only with
// the status.
func (p *pass) setConditions() {
	c := p.assess()
	p.st.Conditions = []metav1.Condition{
		p.condition(v1alpha1.ConditionReady, c.ready, c.reason, c.message),
		p.condition(v1alpha1.ConditionReconciling, c.reconciling, c.reason, c.message),
		p.condition(v1alpha1.ConditionStalled, c.stalled, c.reason, c.message),
	}
}

// condition is one condition, with the time of the recorded one where its
// status is the same.
func (p *pass) condition(kind string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	c := metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: clip(message, 1024),
		ObservedGeneration: p.in.Rollout.Generation, LastTransitionTime: *second(p.in.Now),
	}
	if r := p.recordedCondition(kind); r != nil && r.Status == status {
		c.LastTransitionTime = r.LastTransitionTime
	}
	return c
}

// recordedCondition is a condition as it was read, nil if it was not there.
func (p *pass) recordedCondition(kind string) *metav1.Condition {
	for i := range p.old.Conditions {
		if c := &p.old.Conditions[i]; c.Type == kind {
			return c
		}
	}
	return nil
}

// conditionsChanged says whether the Ready condition would say something else.
func (p *pass) conditionsChanged() bool {
	r := p.recordedCondition(v1alpha1.ConditionReady)
	if r != nil && p.walking() && len(p.in.Problems) == 0 {
		// What else the message says changes only with a record.
		return r.Reason != p.movingReason() || r.Status != metav1.ConditionUnknown
	}
	c := p.assess()
	return r == nil || r.Status != c.ready || r.Reason != c.reason || r.Message != clip(c.message, 1024)
}
