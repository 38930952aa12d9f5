package decide

import (
	"fmt"
	"time"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

const (
	// maxRestarts of one container are a crash loop, whatever Kubernetes calls
	// it.
	maxRestarts = 3
	// maxLowerings is the loss of exposure within one release that fails it.
	maxLowerings = 3
)

// guard reduces exposure where it must. It runs first in every pass and waits
// for nothing.
func (p *pass) guard() {
	switch p.stage() {
	case v1alpha1.StageProgressing, v1alpha1.StagePromoting:
	case v1alpha1.StageAdopting:
		if p.handedOver() {
			return
		}
	case v1alpha1.StageRollingBack:
		if p.deleting() && p.st.Release.Cause != v1alpha1.CauseDeleted {
			st := p.edit()
			st.Release.Cause = v1alpha1.CauseDeleted
		}
		return
	default:
		return
	}
	if end := p.ending(); end.cause != "" {
		if end.live && !p.in.Fresh {
			p.needLive = true
			return
		}
		p.rollBack(end)
		return
	}
	if p.stage() != v1alpha1.StageAdopting {
		p.lower()
	}
}

// ending is why a release has to be rolled back.
type ending struct {
	cause   v1alpha1.Cause
	message string
	// live says that only live reads can show it.
	live bool
	// command is the Approval that asked for it, if one did.
	command string
}

// ending finds why the release under way has to be rolled back, the first
// reason in the order of precedence.
func (p *pass) ending() ending {
	if e := p.endingByChange(); e.cause != "" || p.stage() == v1alpha1.StageAdopting {
		return e
	}
	if a := p.command(v1alpha1.ActionAbort); a != nil {
		return ending{cause: v1alpha1.CauseUserAbort, message: "aborted by " + a.Spec.Approver.Username + because(a.Spec.Reason), command: commandText(a)}
	}
	if e := p.endingByEvidence(); e.cause != "" {
		return e
	}
	if p.overdue() {
		return ending{cause: v1alpha1.CauseDeadlineExceeded, live: true,
			message: fmt.Sprintf("%s was not ready within progressDeadline %s, with %d of %s available",
				p.stepText(), p.progressDeadline(), p.available(), count(p.size(), "pod"))}
	}
	return ending{}
}

// unwatched is how late a deadline may be noticed. Later than that this
// controller was away, and has not seen whether the release was on its way.
const unwatched = 30 * time.Second

// overdue says whether the deadline has passed and the release is not where it
// ought to be. A deadline that nobody watched is given anew.
func (p *pass) overdue() bool {
	d := p.st.Release.Deadline
	if d == nil || p.in.Now.Before(d.Time) || p.in.Rollout.Spec.Paused || p.obstructed() || len(p.in.Problems) > 0 {
		return false
	}
	if p.in.Fresh && p.inForce() && p.available() >= p.size() {
		return false
	}
	if p.in.Now.Sub(d.Time) > unwatched {
		p.edit().Release.Deadline = p.deadline()
		return false
	}
	return true
}

// endingByChange looks at what people did to the Rollout and the workload.
func (p *pass) endingByChange() ending {
	t := &p.in.Target
	// A template is news only in a generation after the one that was recorded.
	// Names of revisions also rest on the sets, so in the same generation only
	// live reads count.
	news := t.Generation > p.st.Workload.ObservedGeneration
	switch {
	case p.deleting():
		return ending{cause: v1alpha1.CauseDeleted, message: "the Rollout is being deleted"}
	case t.UID == "":
		return ending{cause: v1alpha1.CauseTargetGone, message: "the workload does not exist any more", live: true}
	case t.UID != p.st.Workload.UID:
		return ending{cause: v1alpha1.CauseTargetGone, message: "the workload was deleted and created again", live: true}
	case p.takenOut():
		return ending{cause: v1alpha1.CauseUserAbort, message: p.takenOutText()}
	case t.Revision == p.st.Stable.Revision:
		return ending{cause: v1alpha1.CauseReverted, message: "the template is that of the stable version again", live: !news}
	case t.Revision != p.st.Canary.Revision:
		return ending{cause: v1alpha1.CauseSuperseded, message: "a newer template has taken its place", live: !news}
	case p.in.Provider != p.st.Traffic.Provider && len(p.in.Problems) == 0:
		return ending{cause: v1alpha1.CauseSuperseded, live: true,
			message: fmt.Sprintf("the traffic provider changed from %s to %s", p.st.Traffic.Provider, p.in.Provider)}
	case p.stage() == v1alpha1.StageAdopting && p.canary == nil:
		return ending{cause: v1alpha1.CauseFailed, message: "the canary's ReplicaSet was deleted", live: true}
	}
	return ending{}
}

// endingByEvidence looks at the canary: what its analysis and its pods say, and
// what a person has rejected.
func (p *pass) endingByEvidence() ending {
	if v := p.verdict(); v != nil && v.Value == v1alpha1.VerdictFail {
		return ending{cause: v1alpha1.CauseFailed, message: "the analysis failed: " + v.Message}
	}
	if a := p.rejection(); a != nil {
		return ending{cause: v1alpha1.CauseFailed,
			message: fmt.Sprintf("gate %s was rejected by %s%s", a.Spec.Gate, a.Spec.Approver.Username, because(a.Spec.Reason)), command: commandText(a)}
	}
	if c := p.crash(); c != nil {
		return ending{cause: v1alpha1.CauseFailed, message: crashText(c)}
	}
	if lost := p.exposureLost(); lost != "" && p.st.Record.Lowerings >= maxLowerings-1 {
		return ending{cause: v1alpha1.CauseFailed, live: true,
			message: fmt.Sprintf("the canary lost its exposure %d times, now since %s", maxLowerings, lost)}
	}
	return ending{}
}

// verdict of the analysis, if it is about this release.
func (p *pass) verdict() *Verdict {
	v := p.in.Verdict
	if v == nil || v.Release != p.st.Release.Number || v.Revision != p.st.Canary.Revision {
		return nil
	}
	return v
}

// crash is evidence that the canary's pods do not stay up. It counts only on a
// set that this release has made.
func (p *pass) crash() *Crash {
	if p.canary == nil || p.canary.Crash == nil || p.canary.Stamp < p.st.Record.ReleaseSeq {
		return nil
	}
	c := p.canary.Crash
	if c.Restarts >= maxRestarts || c.Reason == "CrashLoopBackOff" || c.Reason == "OOMKilled" {
		return c
	}
	return nil
}

// exposureLost says in words what the canary's traffic has lost: its pods, or a
// Service; empty if it has lost nothing.
func (p *pass) exposureLost() string {
	if p.podsLost() {
		return "it has no available pod"
	}
	if p.st.Record.Lowered || !p.in.Route.exposes() {
		return ""
	}
	for i := range p.in.Backends {
		if b := &p.in.Backends[i]; b.Canary && !b.Exists {
			return "its Service " + b.Name + " is gone"
		}
	}
	return ""
}

// podsLost says whether the canary serves traffic by the rules, yet has no
// available pod left.
func (p *pass) podsLost() bool {
	if p.st.Record.Lowered || p.available() > 0 || p.in.Target.Replicas == 0 {
		return false
	}
	if !p.routed {
		return p.st.Release.VerifiedAt != nil && p.st.Record.DesiredWeight > 0
	}
	return p.in.Route.exposes()
}

// exposes says whether any rule sends the canary anything.
func (r *Route) exposes() bool {
	return r != nil && (r.Weight > 0 || r.Extras != "" || r.Stray)
}

// exceeds says whether any rule sends the canary more than a weight and extras.
func (r *Route) exceeds(weight int32, extras string) bool {
	return r != nil && (r.Weight > weight || r.Stray || r.Extras != "" && r.Extras != extras)
}

// carries says whether every rule sends the canary exactly a weight and extras.
func (r *Route) carries(weight int32, extras string) bool {
	return r != nil && r.Weight == weight && r.LowestWeight == weight &&
		!r.Stray && r.Extras == extras && (extras == "" || r.Whole)
}

// rollBack records that the release is over. There is no way back from it.
func (p *pass) rollBack(e ending) {
	st := p.edit()
	r := &st.Release
	r.Stage, r.Cause, r.Message = v1alpha1.StageRollingBack, e.cause, clip(e.message, 1024)
	r.VerifiedAt, r.DrainUntil = nil, nil
	r.Deadline = p.deadline()
	if e.command != "" {
		r.LastCommand = clip(e.command, 256)
	}
	switch e.cause {
	case v1alpha1.CauseFailed, v1alpha1.CauseUserAbort, v1alpha1.CauseDeadlineExceeded, v1alpha1.CauseDeleted:
		r.FailedRevision = st.Canary.Revision
	default:
	}
	st.Record.DesiredWeight, st.Record.DesiredExtras = 0, ""
	st.Record.ExposureSeq = st.Record.Seq
	p.failGates(e)
	p.sawTarget()
	p.lowered = true
	kind := EventWarning
	if e.cause == v1alpha1.CauseSuperseded || e.cause == v1alpha1.CauseReverted || e.cause == v1alpha1.CauseDeleted {
		kind = EventNormal
	}
	p.event(kind, "RollingBack", "LowerExposure", fmt.Sprintf("Release %d of revision %s is rolled back: %s", r.Number, st.Canary.Revision, r.Message))
}

// lower takes exposure away within the release.
func (p *pass) lower() {
	zero := p.in.Target.Replicas == 0
	switch {
	case p.exposureLost() != "":
		// The caches of routes and sets may be of different times: the weight of
		// now beside the pods of before it.
		if !p.in.Fresh {
			p.needLive = true
			return
		}
		why := p.exposureLost()
		st := p.lowerTo(0)
		st.Record.Lowered = true
		st.Record.Lowerings++
		p.event(EventWarning, "ExposureLowered", "LowerExposure", "The canary's traffic goes to stable, since "+why)
	case zero && !p.st.Record.Lowered:
		st := p.lowerTo(0)
		st.Record.Lowered = true
		st.Release.Deadline = nil
	}
	p.followSteps()
	if p.in.Route.exceeds(p.allowed(), p.allowedExtras()) {
		p.do(p.lowering("the route carries more than is allowed"))
	}
}

// lowerTo records that the allowed exposure has gone down, which stops the
// clock of the step.
func (p *pass) lowerTo(weight int32) *v1alpha1.RolloutStatus {
	p.unverify()
	st := p.st
	if weight > 0 {
		st.Record.DesiredWeight = weight
	}
	st.Record.ExposureSeq = st.Record.Seq
	st.Release.Deadline = p.deadline()
	p.lowered = true
	return st
}

// followExtras takes away the extras of a step that says something else by now.
// What it says instead has to be reached by the gates, as more weight has.
func (p *pass) followExtras(s step) {
	if had := p.st.Record.DesiredExtras; had == "" || had == s.extras.ID() {
		return
	}
	st := p.lowerTo(0)
	st.Record.DesiredExtras = ""
	p.event(EventNormal, "StepsEdited", "LowerExposure", "The matches, mirror or fault of the current step were edited: the old ones are off at once, the new ones come when the step's gates have passed")
}

// followSteps finds the release's place in steps that were edited. A lower
// weight holds at once; a higher one has to be reached by the gates.
func (p *pass) followSteps() {
	if p.stage() != v1alpha1.StageProgressing || p.st.Record.StepsGeneration == p.in.Rollout.Generation {
		return
	}
	index := p.plan.locate(p.st.Release.StepName, p.st.Release.StepIndex, p.st.Record.DesiredWeight, p.in.Target.Replicas)
	s := p.plan.at(index)
	weight := min(p.st.Record.DesiredWeight, s.exposure(p.in.Target.Replicas, p.routed))
	if p.in.Target.Replicas == 0 && !p.routed {
		// Without routes a number of pods is a weight only beside others.
		weight = p.st.Record.DesiredWeight
	}
	if weight < p.st.Record.DesiredWeight {
		st := p.lowerTo(weight)
		st.Record.DesiredWeight = weight
		p.event(EventNormal, "StepsEdited", "LowerExposure", "The current step was edited to less exposure, which holds at once")
	}
	p.followExtras(s)
	if index != p.st.Release.StepIndex || s.name != p.st.Release.StepName {
		st := p.edit()
		st.Release.StepIndex, st.Release.StepName = index, s.name
	}
	if p.st != p.old {
		p.st.Record.StepsGeneration = p.in.Rollout.Generation
	}
}
