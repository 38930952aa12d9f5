package sim

import (
	"fmt"
	"time"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
)

// Race is a race that nothing can exclude, since Kubernetes has no transaction
// over two objects. Each is one write, and the next pass undoes it.
type Race int

const (
	// RaceInFlight says that a raise was checked before a lowering was recorded, and
	// written before its seal.
	RaceInFlight Race = iota
	// RacePods says that pods were lost between the live check of a raise and its write.
	RacePods
	// RaceReplicas says that the workload was scaled between check and write.
	RaceReplicas
	// RaceTemplate says that the template changed between check and write.
	RaceTemplate
	// RaceRoute says that a route changed between check and write.
	RaceRoute
	// RaceLateCreate says that a deposed process made a set after its release had ended.
	RaceLateCreate
	// RaceRevived says that a paused workload that was scaled up from zero revived
	// another set than the stable one.
	RaceRevived
	// RaceUnseen says that a pause or a scaling to zero was too short for any pass to see.
	RaceUnseen
	races
)

// String names the race.
func (r Race) String() string {
	return [...]string{"write in flight", "pods lost after the check", "scaled after the check", "template changed after the check",
		"route changed after the check", "late create", "revived from zero", "too short to be seen"}[r]
}

// shown is a verdict that a process was given.
type shown struct {
	release int64
	start   time.Time
	overall v1alpha1.VerdictValue
	step    v1alpha1.VerdictValue
}

// ledger is what the invariants remember of a schedule: the truth, not what
// Weir has recorded.
type ledger struct {
	violations []string
	races      [races]int

	writes, records, releases, promoted, answers, said int

	// blessed are the templates that may run at full size.
	blessed [maxTemplates + 1]bool
	// What users and others did, that excuses some states.
	bypassed, stripped, rewritten, vandalised, recreated, wasZero, inFlight bool
	// scaledInRoll and changedInRoll say that somebody scaled the workload, or changed
	// its template, after it was handed the canary and before it ran that alone.
	scaledInRoll, changedInRoll bool
	// revived says that the workload's controller, by an old view, has given pods to
	// another set than the one that runs.
	revived bool
	// forced says that the Rollout was deleted by force.
	forced bool
	// stampedLate says that a stopped process has stamped a route after a newer
	// record, perhaps when the Rollout was on its way out.
	stampedLate                    bool
	changesAtStart                 int
	scaledUp, resumed, deadlineSet time.Time
	everSaid                       []v1alpha1.ApprovalSpec
	verdicts                       []shown

	// exposedSince is since when the exposure is what the record wants, zero
	// while it is not; exposedWeight the one it was.
	exposedSince time.Time
	// lastSince is what it was before it was lost, with routes at lostAt, by the
	// version lostBy of the routes.
	lastSince, lostAt time.Time
	lostBy            version
	exposedWeight     int32
	exposedExtras     string
	exposedStep       int32
	podsUp            bool
	served            bool // the data plane has sent the release's canary traffic
	// firstWrite says that a rollback was recorded and that its first write is
	// still to come.
	firstWrite bool
	sawCrash   bool
}

// forget is called when the Rollout is made again.
func (l *ledger) forget() {
	l.firstWrite, l.inFlight, l.served, l.stampedLate = false, false, false, false
	l.everSaid = nil
}

// show remembers a verdict.
func (l *ledger) show(v *decide.Verdict) {
	for i := range l.verdicts {
		s := &l.verdicts[i]
		if s.release == v.Release && s.start.Equal(v.StepStart) && s.overall == v.Value && s.step == v.Step {
			return
		}
	}
	l.verdicts = append(l.verdicts, shown{v.Release, v.StepStart, v.Value, v.Step})
}

// violate notes that an invariant does not hold.
func (w *World) violate(code, format string, args ...any) {
	text := code + ": " + fmt.Sprintf(format, args...)
	w.ledger.violations = append(w.ledger.violations, text)
	w.log("VIOLATION %s", text)
}

// race counts a race.
func (w *World) race(r Race) {
	w.ledger.races[r]++
	w.log("race: %s", r)
}

// percent prints a weight.
func percent(weight int32) string { return v1alpha1.FormatWeight(weight) }

// trackExposure follows what the data plane does, whatever Weir believes.
func (w *World) trackExposure() {
	l, st := &w.ledger, w.status()
	if w.stage() != v1alpha1.StageProgressing {
		l.exposedSince = time.Time{}
		return
	}
	want, extras := st.Record.DesiredWeight, st.Record.DesiredExtras
	if st.Record.Lowered {
		want, extras = 0, ""
	}
	in := true
	if w.routed() {
		rs := w.routes.live()
		for i := range rs.n {
			in = in && rs.list[i].served == want && rs.list[i].servedExtras == extras
			l.served = l.served || rs.list[i].served > 0 || rs.list[i].servedExtras != ""
		}
	} else {
		// Without routes a loss of all pods stops the clock once it is recorded.
		c := w.sets.live().find(hashNamed(st.Canary.Revision))
		l.podsUp = c != nil && (l.podsUp || c.available > 0)
		in = l.podsUp || want == 0
	}
	switch {
	case !in:
		if !l.exposedSince.IsZero() {
			l.lastSince, l.lostAt, l.lostBy = l.exposedSince, w.now, w.routes.head
		}
		l.exposedSince = time.Time{}
	case l.exposedSince.IsZero() || w.routed() && (l.exposedWeight != want || l.exposedExtras != extras):
		l.exposedSince, l.exposedWeight, l.exposedExtras, l.exposedStep = w.now, want, extras, st.Release.StepIndex
	case l.exposedStep != st.Release.StepIndex:
		// A step at the same exposure begins when it is decided, which is before it
		// is recorded. An edit of the steps at the same exposure begins nothing.
		l.exposedStep = st.Release.StepIndex
		if v := st.Release.VerifiedAt; v == nil || !v.Time.Before(w.leader.decided.Add(-w.leader.skew-time.Second)) {
			l.exposedSince = w.leader.decided
		}
	}
}

// recorded checks the invariants of a record.
func (w *World) recorded(p *process, old, now *v1alpha1.RolloutStatus) {
	l := &w.ledger
	l.records++
	l.writes++
	if now.Record.Seq <= old.Record.Seq || now.Record.Seq > max(old.Record.Seq, w.newestStamp(p))+1 {
		w.violate("H8", "record %d follows record %d", now.Record.Seq, old.Record.Seq)
	}
	defer w.noteDeadline(old, now)
	if !w.routed() && now.Record.Lowered && !old.Record.Lowered {
		l.exposedSince, l.podsUp = time.Time{}, false
	}
	from, to := stageOf(old), stageOf(now)
	if now.Stable.Revision != old.Stable.Revision {
		l.blessed[hashNamed(now.Stable.Revision).template] = true
	}
	if to == v1alpha1.StageIdle || to == v1alpha1.StageAborted {
		l.bypassed, l.inFlight = false, false
	}
	if now.Release.Number != old.Release.Number {
		w.started(p, old, now)
		return
	}
	if to != from {
		w.transition(p, old, now, from, to)
	}
	w.moved(p, old, now, from, to)
}

// newestStamp is the newest one that a process has read.
func (w *World) newestStamp(p *process) int64 {
	sv, rs, all := w.services.at(p.read[kindServices]), w.routes.at(p.read[kindRoutes]), w.sets.at(p.read[kindSets])
	newest := max(sv.user.stamp, sv.canary.stamp, sv.preview.stamp)
	for i := range rs.n {
		newest = max(newest, rs.list[i].stamp)
	}
	for i := range all.n {
		newest = max(newest, all.list[i].stamp)
	}
	return newest
}

// noteDeadline remembers when the deadline began to run.
func (w *World) noteDeadline(old, now *v1alpha1.RolloutStatus) {
	if d := now.Release.Deadline; d != nil && (old.Release.Deadline == nil || !d.Equal(old.Release.Deadline)) {
		w.ledger.deadlineSet = w.now
	}
}

func stageOf(st *v1alpha1.RolloutStatus) v1alpha1.Stage {
	if st.Release.Stage == "" {
		return v1alpha1.StageIdle
	}
	return st.Release.Stage
}

// started checks the start of a release.
func (w *World) started(p *process, old, now *v1alpha1.RolloutStatus) {
	l := &w.ledger
	if now.Release.Number != old.Release.Number+1 {
		w.violate("H8", "release %d follows release %d", now.Release.Number, old.Release.Number)
	}
	if stageOf(now) != v1alpha1.StageProgressing {
		return // promoted at once, without pods
	}
	l.releases++
	l.forced, l.stampedLate = false, false // What was left has been cleared before.
	rs := w.routes.live()
	for i := range rs.n {
		if r := &rs.list[i]; r.served > 0 || r.weight > 0 || r.extras != "" || r.servedExtras != "" {
			w.violate("H8", "release %d starts while route %d sends %s to a canary", now.Release.Number, i, percent(rs.list[i].served))
		}
	}
	l.changesAtStart = w.target.at(p.read[kindTarget]).changes
	l.verdicts = l.verdicts[:0]
	l.served, l.firstWrite, l.inFlight, l.rewritten, l.vandalised, l.sawCrash = false, false, false, false, false, false
	l.podsUp = false
	l.exposedSince = time.Time{}
	l.wasZero = w.target.live().replicas == 0
}

// transition checks a change of stage.
func (w *World) transition(p *process, old, now *v1alpha1.RolloutStatus, from, to v1alpha1.Stage) {
	l := &w.ledger
	walking := from == v1alpha1.StageProgressing || from == v1alpha1.StagePromoting
	if to != v1alpha1.StageAdopting && to != v1alpha1.StagePromoting && (walking || to == v1alpha1.StageRollingBack) {
		w.checkCause(old, now)
	}
	switch to {
	case v1alpha1.StageRollingBack:
		seen := w.sets.at(p.read[kindSets]).find(hashNamed(old.Canary.Revision)) != nil
		l.firstWrite = w.routed() && (w.anySplit() || seen && w.canaryOfWeir() != nil)
		if !seen && w.canaryOfWeir() != nil {
			w.race(RaceLateCreate)
		}
	case v1alpha1.StageAdopting:
		l.scaledInRoll, l.changedInRoll = false, false
		l.blessed[hashNamed(now.Canary.Revision).template] = true
		for _, a := range *w.approvals.at(p.read[kindApprovals]) {
			if a.Spec.Action == v1alpha1.ActionAbort && from != v1alpha1.StageRollingBack && w.about(&a, old) && !w.sawRoll(p, old) {
				w.violate("L2", "release %d is adopted in spite of %s", old.Release.Number, a.Name)
			}
		}
	case v1alpha1.StageIdle:
		if from == v1alpha1.StageAdopting && now.Stable.Revision == old.Canary.Revision {
			l.promoted++
		}
		if walking && now.Release.Cause == "" && !w.sawRoll(p, old) {
			w.violate("H8", "%s goes to Idle without a rollback", from)
		}
	case v1alpha1.StageProgressing, v1alpha1.StagePromoting:
		if from == v1alpha1.StageRollingBack || from == v1alpha1.StageAdopting {
			w.violate("H8", "%s is left to %s", from, to)
		}
	default:
	}
}

func (w *World) about(a *v1alpha1.Approval, st *v1alpha1.RolloutStatus) bool {
	return a.Spec.TargetRef.UID == w.rollout.live().UID && a.Spec.Release == st.Release.Number && a.Spec.Revision == st.Canary.Revision
}

// canaryOfWeir is the canary's set as long as Weir owns it.
func (w *World) canaryOfWeir() *set {
	c := w.sets.live().find(hashNamed(w.status().Canary.Revision))
	if c == nil || c.owner != decide.OwnerWeir || c.labelled {
		return nil
	}
	return c
}

// moved checks a step forward.
func (w *World) moved(p *process, old, now *v1alpha1.RolloutStatus, from, to v1alpha1.Stage) {
	edited := now.Record.StepsGeneration != old.Record.StepsGeneration
	if from == v1alpha1.StageProgressing && to == from {
		if now.Release.StepIndex < old.Release.StepIndex && !edited {
			w.violate("H8", "step %d follows step %d", now.Release.StepIndex, old.Release.StepIndex)
		}
		if now.Record.DesiredWeight < old.Record.DesiredWeight && !edited {
			w.violate("L3", "weight %s follows %s", percent(now.Record.DesiredWeight), percent(old.Record.DesiredWeight))
		}
	}
	if now.Record.Lowerings > 3 {
		w.violate("L3", "%d lowerings in one release", now.Record.Lowerings)
	}
	if from != v1alpha1.StageProgressing || now.Release.Cause != "" || now.Release.LastCommand != old.Release.LastCommand {
		return
	}
	raised := to != from || now.Release.StepIndex > old.Release.StepIndex && now.Record.DesiredWeight > old.Record.DesiredWeight ||
		now.Record.DesiredWeight > old.Record.DesiredWeight || now.Record.DesiredExtras != "" && now.Record.DesiredExtras != old.Record.DesiredExtras
	// The record that first follows an edit may leave a step that is not there any
	// more; at the same step it may not go to more weight.
	same := now.Release.StepIndex == old.Release.StepIndex && now.Release.StepName == old.Release.StepName
	more := now.Record.DesiredWeight > old.Record.DesiredWeight || now.Record.DesiredExtras != "" && now.Record.DesiredExtras != old.Record.DesiredExtras
	kept := edited && (!same || !more)
	if raised && !kept && !w.sawRoll(p, old) {
		w.checkGates(p, old)
	}
}

// followsWorkload says whether the workload rolls by itself.
func (w *World) followsWorkload(st *v1alpha1.RolloutStatus) bool {
	return follows(w.sets.live(), st)
}

// sawRoll says whether the workload rolls by itself, or did when a process read
// it. Its controller may have gone back since, for instance when it was scaled
// down, and nothing holds it.
func (w *World) sawRoll(p *process, st *v1alpha1.RolloutStatus) bool {
	return w.followsWorkload(st) || follows(w.sets.at(p.read[kindSets]), st)
}

func follows(all *sets, st *v1alpha1.RolloutStatus) bool {
	for i := range all.n {
		s := &all.list[i]
		if s.hash.template == hashNamed(st.Canary.Revision).template && (s.owner == decide.OwnerTarget && s.size > 0 || s.labelled && s.owner == decide.OwnerWeir) {
			return true
		}
	}
	return false
}
