package sim

import (
	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
)

// check reads the object that the effect in hand writes, and then looks at its
// preconditions, live. That order matters: whatever changes after the first
// read fails the write.
func (p *process) check() {
	w := p.w
	e := &p.decision.Effects[p.effect]
	p.on = p.basis(e)
	ref, ok := w.reference(p, e, &p.on)
	if w.cfg.ConfirmFirst {
		// The wrong order: what was confirmed may be long past at the read.
		ok = w.confirmed(p, e)
	} else {
		ok = ok && w.fits(p, e, &p.on) && (p.confirms(e, ref) || w.confirmed(p, e))
	}
	if !ok {
		w.log("%s: %s is not possible any more", p.term, e.Kind)
		p.giveUp()
		return
	}
	p.ref = ref
	p.phase = writing
}

// write performs the effect in hand, by compare-and-swap.
func (p *process) write() {
	w := p.w
	e := &p.decision.Effects[p.effect]
	live := w.liveBasis()
	ref, ok := w.reference(p, e, &live)
	if w.cfg.ConfirmFirst {
		p.ref, p.on, ok = ref, live, ok && w.fits(p, e, &live)
	}
	if (!ok || ref != p.ref) && w.cfg.Mutant != NoCAS {
		w.log("%s: conflict, %s is not written", p.term, e.Kind)
		p.giveUp()
		return
	}
	if !ok {
		p.giveUp()
		return
	}
	if w.cfg.Mutant == NoCAS {
		p.on = live
	}
	w.beforeWrite(p, e)
	w.perform(p, e)
	w.touched = true
	w.ledger.writes++
	w.log("%s: %s", p.term, describe(e, p))
	w.afterWrite(p, e)
	w.trackExposure()
	if p.lost() {
		return
	}
	p.acted = p.acted || onWorkload(e.Kind)
	if e.Kind == decide.EffectSetWeight || e.Kind == decide.EffectRestoreRoute {
		if p.route++; p.route < w.routes.live().n {
			p.phase = checking
			return
		}
		p.route = 0
	}
	if p.effect++; p.effect < len(p.decision.Effects) {
		p.phase = checking
		return
	}
	p.finish()
}

// onWorkload says whether an effect may change what was read of the workload and
// its Services.
func onWorkload(k decide.EffectKind) bool {
	switch k {
	case decide.EffectAddFinalizer, decide.EffectRemoveFinalizer, decide.EffectSetWeight, decide.EffectRestoreRoute:
		return false
	default:
		return true
	}
}

// reference is the resourceVersion of the object that an effect writes; false
// when the object does not exist, or exists when it is to be created.
func (w *World) reference(p *process, e *decide.Effect, on *basis) (int64, bool) {
	switch e.Kind {
	case decide.EffectAddFinalizer, decide.EffectRemoveFinalizer:
		return int64(w.rollout.head), w.rollout.live().exists
	case decide.EffectLabel, decide.EffectUnlabel, decide.EffectPause, decide.EffectUnpause, decide.EffectRevertTemplate,
		decide.EffectBeginHandOver, decide.EffectEndHandOver:
		return int64(on.targetVersion), on.target.uid != 0
	case decide.EffectPin, decide.EffectWiden:
		return int64(w.services.live().user.rv), true
	case decide.EffectEnsureBackend:
		return int64(w.services.live().canary.rv), true
	case decide.EffectDeleteBackend:
		return int64(w.services.live().canary.rv), w.services.live().canary.exists
	case decide.EffectShowPreview, decide.EffectDeletePreview:
		return int64(w.services.live().preview.rv), e.Kind == decide.EffectShowPreview || w.services.live().preview.exists
	case decide.EffectSetWeight, decide.EffectRestoreRoute:
		return int64(w.routes.live().list[p.route].rv), p.route < w.routes.live().n
	case decide.EffectCreateCanary:
		return 0, w.sets.live().find(hashNamed(e.Revision)) == nil
	default:
		s := on.named(e)
		if s == nil {
			return 0, false
		}
		return int64(s.id)<<32 | int64(s.rv), true
	}
}

// fits checks the preconditions of an effect: those on the workload by what it
// rests on, the others by the live objects.
func (w *World) fits(p *process, e *decide.Effect, on *basis) bool {
	switch e.Kind {
	case decide.EffectAddFinalizer, decide.EffectRemoveFinalizer, decide.EffectRevertTemplate:
		return w.fitsRollout(e)
	case decide.EffectPause, decide.EffectUnpause, decide.EffectBeginHandOver, decide.EffectEndHandOver:
		return w.fitsTarget(e, on)
	case decide.EffectPin, decide.EffectEnsureBackend, decide.EffectDeleteBackend:
		return w.fitsService(p, e)
	case decide.EffectSetWeight, decide.EffectRestoreRoute:
		return w.fitsRoute(p, e)
	case decide.EffectCreateCanary:
		return on.revision() == e.Revision && w.safe(e)
	case decide.EffectLabel, decide.EffectUnlabel, decide.EffectWiden:
		return true
	case decide.EffectShowPreview, decide.EffectDeletePreview:
		return w.services.live().preview.stamp <= p.seq
	default:
		return w.fitsSet(p, e, on)
	}
}

// confirmed reads the Rollout again, and for a raise the workload.
func (w *World) confirmed(p *process, e *decide.Effect) bool {
	ro := w.rollout.live()
	if w.cfg.Mutant == NoCAS || w.cfg.Mutant == NoCheckBeforeRaise && e.Raise {
		return ro.exists
	}
	if !ro.exists || w.rollout.head != p.rv {
		return false
	}
	return !e.Raise || ro.DeletionTimestamp == nil && w.liveRevision() == ro.Status.Canary.Revision
}

// safe says whether canary pods may exist: no user's Service selects them,
// unless that is wanted.
func (w *World) safe(e *decide.Effect) bool {
	if !w.routed() || w.cfg.OtherCallers == v1alpha1.OtherCallersShared || w.cfg.Mutant == PodsBeforePin ||
		e.Kind == decide.EffectScaleCanary && w.stage() == v1alpha1.StageAdopting {
		return true
	}
	stable := hashNamed(w.status().Stable.Revision)
	return w.services.live().user.pin == stable && w.slices.live().user.seen == stable
}

func (w *World) fitsRollout(e *decide.Effect) bool {
	ro := w.rollout.live()
	switch e.Kind {
	case decide.EffectAddFinalizer:
		return ro.DeletionTimestamp == nil
	case decide.EffectRevertTemplate:
		return ro.DeletionTimestamp != nil && w.sets.live().find(hashNamed(e.Revision)) != nil
	default:
	}
	if w.routed() && (w.services.live().canary.exists || w.services.live().user.pin != hash{}) || w.anySplit() || w.target.live().vetoed {
		return false
	}
	for i := range w.sets.live().n {
		if w.sets.live().list[i].owner == decide.OwnerWeir {
			return false
		}
	}
	return true
}

func (w *World) anySplit() bool {
	rs := w.routes.live()
	for i := range rs.n {
		if rs.list[i].split {
			return true
		}
	}
	return false
}

func (w *World) allAccepted() bool {
	rs := w.routes.live()
	for i := range rs.n {
		if rs.list[i].accepted != rs.list[i].generation {
			return false
		}
	}
	return true
}

func (w *World) fitsTarget(e *decide.Effect, on *basis) bool {
	t, all := &on.target, &on.sets
	switch e.Kind {
	case decide.EffectPause:
		return on.revision() == e.Revision
	case decide.EffectUnpause:
		return (on.revision() == e.Revision || w.cfg.Mutant == UnpauseAnything) && (e.Size < 0 || t.replicas == e.Size)
	case decide.EffectEndHandOver:
		for i := range all.n {
			if s := &all.list[i]; s.labelled && s.owner == decide.OwnerWeir {
				return false
			}
		}
		return true
	default:
	}
	c := all.find(hashNamed(e.Revision))
	if c == nil || on.revision() != e.Revision || t.observed < t.generation || c.size != t.replicas || c.available != t.replicas || !on.evenSets() {
		return false
	}
	for i := range all.n {
		if s := &all.list[i]; s != c && s.hash.template == c.hash.template && w.cfg.Mutant != NoPruning {
			return false
		}
	}
	if w.cfg.Mutant == NoRestoreBeforeHandover {
		return true
	}
	return !w.routed() || !w.anySplit() && w.allAccepted() && w.services.live().user.pin == hash{}
}

// evenSets says whether every active set of the workload has its size.
func (b *basis) evenSets() bool {
	t, all := &b.target, &b.sets
	for i := range all.n {
		if s := &all.list[i]; s.owner == decide.OwnerTarget && s.size > 0 && s.size != t.replicas {
			return false
		}
	}
	return true
}

func (w *World) fitsService(p *process, e *decide.Effect) bool {
	all, sv := w.sets.live(), w.services.live()
	switch e.Kind {
	case decide.EffectPin:
		n, only := 0, hash{}
		for i := range all.n {
			if s := &all.list[i]; s.owner == decide.OwnerTarget && s.size > 0 {
				n, only = n+1, s.hash
			}
		}
		return n == 1 && only == hashNamed(e.Revision)
	case decide.EffectEnsureBackend:
		if sv.canary.stamp > p.seq {
			return false
		}
		if sv.canary.exists && sv.canary.pin != hashNamed(e.Revision) && w.anyWeight() {
			return false
		}
		return true
	default:
		return !w.anySplit() && (sv.canary.stamp <= p.seq || w.cfg.Mutant == NoBackendStamp)
	}
}

func (w *World) anyWeight() bool {
	rs := w.routes.live()
	for i := range rs.n {
		if rs.list[i].weight > 0 || rs.list[i].extras != "" {
			return true
		}
	}
	return false
}

func (w *World) fitsRoute(p *process, e *decide.Effect) bool {
	r := &w.routes.live().list[p.route]
	if r.stamp > p.seq && w.cfg.Mutant != NoStamp {
		return false
	}
	c := w.sets.live().find(hashNamed(w.status().Canary.Revision))
	switch {
	case e.Kind == decide.EffectRestoreRoute:
		return c == nil || c.available == 0 || w.stage() == v1alpha1.StageAdopting
	case !e.Raise:
		return true
	case r.accepted != r.generation || c == nil || !w.safe(e):
		return false
	}
	p.seenAvailable = c.available
	if w.cfg.Mutant == NoCheckBeforeRaise {
		return true
	}
	return c.available >= e.Size && w.slices.live().canary.count(c.hash) > 0 && w.services.live().canary.exists &&
		(c.stamp >= w.status().Record.TermSeq || w.cfg.Mutant == NoTakeoverStamps)
}

func (w *World) fitsSet(p *process, e *decide.Effect, on *basis) bool {
	t, s := &on.target, on.named(e)
	if s.stamp > p.seq && w.cfg.Mutant != NoStamp && e.Kind != decide.EffectUnveto {
		return false
	}
	ours := s.owner == decide.OwnerWeir && !s.labelled
	switch e.Kind {
	case decide.EffectScaleCanary:
		return ours && (!e.Raise || w.safe(e) && (s.stamp >= on.status.Record.TermSeq || w.cfg.Mutant == NoTakeoverStamps))
	case decide.EffectSealCanary:
		return s.owner == decide.OwnerWeir
	case decide.EffectDeleteCanary:
		return s.owner == decide.OwnerWeir && (w.allAccepted() && !w.anyWeight() || s.hash.String() != on.status.Canary.Revision && w.services.live().canary.pin != s.hash)
	case decide.EffectDeleteTwin:
		return s.owner == decide.OwnerTarget && s.size == 0 && s.pods == 0
	case decide.EffectShrinkSet:
		c := on.sets.find(hashNamed(e.Revision))
		return s.owner == decide.OwnerTarget && t.paused && e.Size < s.size && c != nil && c.owner == decide.OwnerTarget &&
			(!on.awaited() || t.template != s.hash.template && t.template != c.hash.template)
	case decide.EffectExpelSet:
		c := on.sets.find(hashNamed(e.Revision))
		return s.owner == decide.OwnerTarget && t.paused && c != nil && c.owner == decide.OwnerTarget && (c.size > 0 || s.available == 0)
	case decide.EffectAdopt:
		return ours && t.vetoed && !t.paused && !t.actsPaused && on.revision() == e.Revision && s.size == t.replicas && s.available == t.replicas && on.evenSets()
	default: // Unveto
		return !t.vetoed
	}
}

// awaited says whether the workload's template is stable's or the canary's, to
// which the workload only needs to be resumed.
func (b *basis) awaited() bool {
	r := b.revision()
	return r == b.status.Stable.Revision || r == b.status.Canary.Revision
}

// perform writes.
func (w *World) perform(p *process, e *decide.Effect) {
	switch e.Kind {
	case decide.EffectAddFinalizer, decide.EffectRemoveFinalizer:
		w.performRollout(p, e)
	case decide.EffectPin, decide.EffectWiden, decide.EffectEnsureBackend, decide.EffectDeleteBackend:
		w.performService(p, e)
	case decide.EffectShowPreview, decide.EffectDeletePreview:
		w.performPreview(p, e)
	case decide.EffectSetWeight, decide.EffectRestoreRoute:
		w.performRoute(p, e)
	case decide.EffectCreateCanary:
		all := w.sets.next()
		w.lastID++
		all.list[all.n] = set{id: w.lastID, rv: 1, hash: hashNamed(e.Revision), owner: decide.OwnerWeir, ownerUID: w.target.live().uid,
			size: e.Size, created: w.now.Unix(), stamp: p.seq, desired: -1, max: -1}
		all.n++
	case decide.EffectLabel, decide.EffectUnlabel, decide.EffectPause, decide.EffectUnpause, decide.EffectRevertTemplate,
		decide.EffectBeginHandOver, decide.EffectEndHandOver:
		w.performTarget(e, &p.on)
	default:
		w.performSet(p, e)
	}
}

func (w *World) performRollout(p *process, e *decide.Effect) {
	same := w.rollout.head == p.rv
	n := w.rollout.next()
	if e.Kind == decide.EffectAddFinalizer {
		n.Finalizers = []string{v1alpha1.Finalizer}
	} else {
		n.Finalizers = nil
		n.exists = n.DeletionTimestamp == nil
	}
	if same {
		p.rv, p.wrote, p.recordedAt = w.rollout.head, w.rollout.head, w.now
	}
}

func (w *World) performTarget(e *decide.Effect, on *basis) {
	t := w.target.next()
	before := *t
	switch e.Kind {
	case decide.EffectLabel:
		t.labelled = true
	case decide.EffectUnlabel:
		t.labelled = false
	case decide.EffectPause:
		t.paused = true
	case decide.EffectUnpause:
		t.paused = false
	case decide.EffectRevertTemplate:
		t.template = hashNamed(e.Revision).template
		t.paused = w.cfg.Hold == v1alpha1.HoldAdmissionPolicy && !w.cfg.ExemptRevert && t.template != before.template && t.labelled
	case decide.EffectBeginHandOver:
		t.vetoed, t.paused = true, false
	case decide.EffectEndHandOver:
		// To a template that no set of its own runs its controller would roll now.
		t.vetoed, t.paused = false, t.paused || !on.runs(t.template)
	default:
	}
	if t.paused != before.paused || t.template != before.template {
		t.generation++
	}
}

// runs says whether a set of the workload's own has pods of a template.
func (b *basis) runs(of template) bool {
	all := &b.sets
	for i := range all.n {
		if s := &all.list[i]; s.owner == decide.OwnerTarget && s.size > 0 && s.hash.template == of {
			return true
		}
	}
	return false
}

func (w *World) performService(p *process, e *decide.Effect) {
	s := w.services.next()
	switch e.Kind {
	case decide.EffectPin:
		s.user.pin = hashNamed(e.Revision)
		s.user.rv++
	case decide.EffectWiden:
		s.user.pin = hash{}
		s.user.rv++
	case decide.EffectEnsureBackend:
		s.canary.ownerUID = w.target.live().uid
		s.canary.exists, s.canary.pin, s.canary.stamp = true, hashNamed(e.Revision), p.seq
		s.canary.rv++
	case decide.EffectDeleteBackend:
		s.canary = service{rv: s.canary.rv + 1}
	default:
	}
}

func (w *World) performRoute(p *process, e *decide.Effect) {
	r := &w.routes.next().list[p.route]
	before := *r
	r.rv++
	defer func() {
		if !e.Raise && r.weight > before.weight {
			w.violate("H1", "a lowering raises route %d from %s to %s", p.route, percent(before.weight), percent(r.weight))
		}
		if !e.Raise && r.extras != before.extras && r.extras != "" {
			w.violate("H1", "a lowering gives route %d other extras", p.route)
		}
	}()
	switch {
	case e.Kind == decide.EffectRestoreRoute:
		r.split, r.weight, r.extras, r.session, r.stamp = false, 0, "", 0, 0
	case e.Raise:
		r.session = w.drawn(e.Weight)
		r.split, r.weight, r.extras, r.stamp, r.foreign = true, e.Weight, e.Extras, p.seq, false
	case w.cfg.Mutant == AbsoluteLowering:
		r.split, r.weight, r.stamp = true, e.Weight, p.seq
	case r.split:
		r.weight, r.stamp = min(r.weight, e.Weight), p.seq
		if r.extras != e.Extras {
			r.extras = ""
		}
		if r.session > e.Weight {
			r.session = 0
		}
	default:
		r.stamp = p.seq
	}
	if r.split != before.split || r.weight != before.weight || r.extras != before.extras || r.session != before.session {
		r.generation++
	}
}

func (w *World) performSet(p *process, e *decide.Effect) {
	id := p.on.named(e).id
	expelled := e.Kind == decide.EffectExpelSet && w.sets.live().find(hashNamed(e.Revision)).size == 0
	if expelled || e.Kind == decide.EffectDeleteCanary || e.Kind == decide.EffectDeleteTwin {
		w.sets.next().remove(id)
		return
	}
	s := w.sets.next().byID(id)
	s.rv++
	if e.Kind != decide.EffectUnveto {
		s.stamp = p.seq
	}
	switch e.Kind {
	case decide.EffectScaleCanary, decide.EffectShrinkSet, decide.EffectExpelSet:
		s.size = e.Size
	case decide.EffectAdopt:
		s.labelled = true
		// Scaled between the check and this write, the workload begins its roll with
		// sets of another size.
		w.ledger.scaledInRoll = w.ledger.scaledInRoll || w.target.live().replicas != s.size
	case decide.EffectUnveto:
		s.vetoed = false
	default:
	}
}
