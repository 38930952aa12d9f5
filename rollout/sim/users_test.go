package sim

import (
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
)

// userTarget lets somebody other than Weir write the Deployment, through the
// hold policy.
func (w *World) userTarget(change func(*target)) {
	before := *w.target.live()
	if before.uid == 0 {
		return
	}
	t := w.target.next()
	change(t)
	policy := w.cfg.Hold == v1alpha1.HoldAdmissionPolicy && (before.labelled || t.labelled)
	if policy && (t.template != before.template || before.paused && !t.paused) {
		t.paused = true
	}
	if t.template != before.template || t.replicas != before.replicas || t.paused != before.paused {
		t.generation++
	}
	if t.template != before.template {
		t.changes++
	}
	// The veto holds a template only if the workload has no set of it.
	held := t.paused || t.vetoed && !w.hasOwnSet(t.template)
	if !held && (t.template != before.template || before.paused) && t.template != hashNamed(w.status().Stable.Revision).template {
		// Nothing holds it: it is the user's own doing.
		w.ledger.blessed[t.template] = true
		w.ledger.bypassed = true
	}
	if w.stage() == v1alpha1.StageAdopting && w.followsWorkload(w.status()) {
		w.ledger.scaledInRoll = w.ledger.scaledInRoll || t.replicas != before.replicas
		w.ledger.changedInRoll = w.ledger.changedInRoll || t.template != before.template
	}
	if before.replicas == 0 && t.replicas > 0 {
		w.ledger.scaledUp = w.now
		w.ledger.wasZero = true
	}
	w.touched = true
	w.log("user: template %s, replicas %d, paused %t", t.template, t.replicas, t.paused)
}

// hasOwnSet says whether the workload has a set of a template, if only in its
// history.
func (w *World) hasOwnSet(t template) bool {
	all := w.sets.live()
	for i := range all.n {
		if s := &all.list[i]; s.owner == decide.OwnerTarget && s.hash.template == t {
			return true
		}
	}
	return false
}

// deploy writes a template.
func (w *World) deploy(t template, author string) {
	w.userTarget(func(d *target) { d.template, d.author = t, author })
}

// scale writes the number of replicas, as an HPA does.
func (w *World) scale(n int32) { w.userTarget(func(d *target) { d.replicas = n }) }

// userRollout lets somebody write the Rollout.
func (w *World) userRollout(change func(*v1alpha1.Rollout)) {
	if !w.rollout.live().exists {
		return
	}
	n := w.rollout.next()
	change(&n.Rollout)
	n.Generation++
	w.touched = true
}

// setPaused writes spec.paused.
func (w *World) setPaused(paused bool) {
	w.userRollout(func(r *v1alpha1.Rollout) { r.Spec.Paused = paused })
	w.log("user: spec.paused %t", paused)
	if !paused {
		w.ledger.resumed = w.now
	}
}

// deleteRollout deletes the Rollout, which waits for its finalizer.
func (w *World) deleteRollout() {
	ro := w.rollout.live()
	if !ro.exists || ro.DeletionTimestamp != nil {
		return
	}
	n := w.rollout.next()
	w.touched = true
	w.log("user: deletes the Rollout")
	if len(n.Finalizers) == 0 {
		n.exists = false
		return
	}
	at := metav1.NewTime(w.now)
	n.DeletionTimestamp = &at
	n.Generation++
}

// deleteByForce takes the finalizer off a Rollout that is being deleted, which is
// gone then, whatever is left of it.
func (w *World) deleteByForce() {
	n := w.rollout.next()
	n.Finalizers, n.exists = nil, false
	w.ledger.forced = true
	w.touched = true
	w.log("user: takes the finalizer off")
}

// recreateRollout makes a Rollout of the same name.
func (w *World) recreateRollout() {
	n := w.rollout.next()
	uid := n.UID + "x"
	*n = rolloutObject{exists: true}
	n.Name, n.UID, n.Generation = "web", uid, 1
	n.Spec = w.cfg.spec()
	w.ledger.forget()
	w.touched = true
	w.log("user: creates the Rollout again")
}

// say creates an Approval about the newest release.
func (w *World) say(action v1alpha1.ApprovalAction, gate, user string, change func(*v1alpha1.ApprovalSpec)) {
	if !w.rollout.live().exists {
		return
	}
	st := w.status()
	if st.Release.Number == 0 {
		return
	}
	all := *w.approvals.live()
	w.ledger.said++
	name := "say-" + strconv.Itoa(w.ledger.said)
	a := v1alpha1.Approval{}
	a.Name, a.UID, a.CreationTimestamp = name, types.UID(name), metav1.NewTime(w.now.Truncate(time.Second))
	a.Spec = v1alpha1.ApprovalSpec{
		TargetRef: v1alpha1.ApprovalTarget{Kind: "Rollout", Name: "web", UID: w.rollout.live().UID},
		Release:   st.Release.Number, Revision: st.Canary.Revision, Action: action, Gate: gate,
		Approver: &v1alpha1.Approver{Username: user}, Reason: "as said",
	}
	if a.Spec.Revision == "" {
		a.Spec.Revision = "none"
	}
	if change != nil {
		change(&a.Spec)
	}
	out := make([]v1alpha1.Approval, len(all), len(all)+1)
	copy(out, all)
	*w.approvals.next() = append(out, a)
	w.ledger.everSaid = append(w.ledger.everSaid, a.Spec)
	w.touched = true
	w.log("user: %s says %s %s to release %d", user, action, gate, a.Spec.Release)
}

// randomSay lets somebody say something, sometimes about what is long past.
func (w *World) randomSay(action v1alpha1.ApprovalAction) {
	users := [...]string{"alice", "bob", "carol"}
	gates := [...]string{"go", "sre", "qa", "sre", "nope"}
	gate := ""
	if action == v1alpha1.ActionApprove {
		gate = gates[w.rng.IntN(len(gates))]
		if w.chance(1, 12) {
			action = v1alpha1.ActionReject
		}
	}
	var change func(*v1alpha1.ApprovalSpec)
	switch w.rng.IntN(12) {
	case 0:
		change = func(s *v1alpha1.ApprovalSpec) { s.Release = max(1, s.Release-1) }
	case 1:
		change = func(s *v1alpha1.ApprovalSpec) { s.Revision = "wE" }
	}
	w.say(action, gate, users[w.rng.IntN(len(users))], change)
}

// applyRoutes is a GitOps tool that writes the routes as they are in Git. With
// the split policy the weights survive.
func (w *World) applyRoutes(replace bool) {
	if !w.routed() {
		return
	}
	rs := w.routes.next()
	for i := range rs.n {
		r := &rs.list[i]
		r.generation++
		r.rv++
		switch {
		case !r.split:
		case !w.cfg.SplitPolicy:
			r.split, r.weight, r.extras, r.session, r.foreign = false, 0, "", 0, true
			w.ledger.rewritten = true
		case r.extras != "" && w.chance(1, 2): // The policy leaves them out where the rules in Git have changed.
			r.extras, r.foreign = "", true
			w.ledger.rewritten = true
		}
		if r.session > 0 && w.chance(1, 2) {
			r.session = 0
		}
		if replace && !w.cfg.SplitPolicy {
			r.stamp = 0
		}
	}
	w.touched = true
	w.log("gitops: applies the routes")
	w.trackExposure()
}

// applyService is a GitOps tool that writes the Service as it is in Git.
func (w *World) applyService() {
	if !w.routed() || w.cfg.PinPolicy || w.services.live().user.pin == (hash{}) {
		return
	}
	s := w.services.next()
	s.user.pin = hash{}
	s.user.rv++
	w.ledger.stripped = true
	w.touched = true
	w.log("gitops: takes the pin off the Service")
}

// dropLabel is a write that drops Weir's label.
func (w *World) dropLabel() {
	w.userTarget(func(d *target) { d.labelled = false })
}

// vandal deletes something of Weir's, or an Approval.
func (w *World) vandal() {
	switch w.rng.IntN(4) {
	case 0:
		all := w.sets.live()
		for i := range all.n {
			if s := &all.list[i]; s.owner == decide.OwnerWeir {
				w.log("user: deletes %s", s.hash)
				w.sets.next().remove(s.id)
				w.ledger.vandalised = true
				w.touched = true
				return
			}
		}
	case 1:
		if w.services.live().canary.exists {
			s := w.services.next()
			s.canary = service{rv: s.canary.rv + 1}
			w.ledger.vandalised = true
			w.touched = true
			w.log("user: deletes the canary's Service")
		}
	case 2:
		w.losePreview()
	default:
		if all := *w.approvals.live(); len(all) > 0 {
			out := make([]v1alpha1.Approval, len(all)-1)
			copy(out, all[1:])
			*w.approvals.next() = out
			w.touched = true
			w.log("user: deletes %s", all[0].Name)
		}
	}
}

// recreate deletes the Deployment and makes it again.
func (w *World) recreate() {
	before := *w.target.live()
	if before.uid == 0 || before.uid+1 >= len(uids) {
		return
	}
	t := w.target.next()
	*t = target{uid: before.uid + 1, changes: before.changes, generation: 1, template: before.template, replicas: before.replicas, labelled: before.labelled}
	w.ledger.blessed[before.template] = true
	w.ledger.recreated = true
	w.touched = true
	w.log("user: deletes the workload and creates it again")
}

// look lets the evaluator of a process look at the release.
func (p *process) look() bool {
	w := p.w
	ro := w.rollout.at(p.cache[kindRollout])
	st := &ro.Status
	s := st.Release.Stage
	if !ro.exists || ro.Spec.Analysis == nil || s != v1alpha1.StageProgressing && s != v1alpha1.StagePromoting {
		return false
	}
	v := decide.Verdict{Release: st.Release.Number, Revision: st.Canary.Revision, WindowEnd: p.clock(), NextLook: p.clock().Add(15 * time.Second)}
	if at := st.Release.VerifiedAt; at != nil {
		v.StepStart = at.Time
	}
	v.Value, v.Step = w.opinion(p, st, v.StepStart)
	v.Message = "5 of 100 requests failed"
	if v.Value == v1alpha1.VerdictNoData {
		v.MissingSince, v.Message = epoch, "no series"
	}
	w.ledger.show(&v)
	if p.looked && p.verdict.Release == v.Release && p.verdict.Revision == v.Revision && p.verdict.StepStart.Equal(v.StepStart) && p.verdict.Value == v.Value && p.verdict.Step == v.Step {
		return false
	}
	p.verdict, p.looked = v, true
	p.dirty = true
	w.log("%s: analysis of release %d says %s, step %s", p.term, v.Release, v.Value, v.Step)
	return true
}

// opinion is the verdict on the release and on its step. In the storm metrics
// vanish, and they lie.
func (w *World) opinion(p *process, st *v1alpha1.RolloutStatus, verified time.Time) (overall, step v1alpha1.VerdictValue) {
	if !w.metricsUp {
		return v1alpha1.VerdictNoData, v1alpha1.VerdictNoData
	}
	lies := !w.calm && w.chance(w.cfg.Weather.lie, 1000)
	long := !verified.IsZero() && p.clock().Sub(verified) >= 20*time.Second
	switch {
	case lies, w.quality[hashNamed(st.Canary.Revision).template] == failing && long:
		return v1alpha1.VerdictFail, v1alpha1.VerdictFail
	case long:
		return v1alpha1.VerdictPass, v1alpha1.VerdictPass
	case !w.calm && w.chance(1, 3):
		return v1alpha1.VerdictInconclusive, v1alpha1.VerdictInconclusive
	default:
		return v1alpha1.VerdictNoFailure, v1alpha1.VerdictNoFailure
	}
}
