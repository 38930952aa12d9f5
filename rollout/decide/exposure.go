package decide

import (
	"fmt"
	"time"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// prepare makes everything ready that a canary needs before it may have pods,
// and keeps it so. It is true when nothing is left to do.
func (p *pass) prepare() bool {
	p.guardDeletion()
	if !p.held() {
		return false
	}
	if p.removeStrays() || p.removeTwins() || p.expelOthers() {
		return p.wait(WaitRemoval, "ReplicaSets that are in the way to be removed")
	}
	if !p.routed {
		return true
	}
	if p.in.Route == nil {
		return p.wait(WaitExposure, "the routes to be there")
	}
	return p.prepareBackends()
}

// held pauses the workload, where somebody has resumed it, so that it does not
// roll to a template that is on its way. The veto of a handover does the same.
func (p *pass) held() bool {
	t := &p.in.Target
	if t.Paused || t.Vetoed {
		return true
	}
	p.do(Effect{Kind: EffectPause, Revision: t.Revision, Why: "a release is under way"})
	return p.wait(WaitWorkload, "the workload to be paused, since a release is under way")
}

// guardDeletion keeps the Rollout from vanishing while something of the release
// is there.
func (p *pass) guardDeletion() {
	if !p.deleting() && !p.hasFinalizer() {
		p.do(Effect{Kind: EffectAddFinalizer, Why: "a release is under way"})
	}
}

// hasFinalizer says whether the Rollout carries Weir's finalizer.
func (p *pass) hasFinalizer() bool {
	for _, f := range p.in.Rollout.Finalizers {
		if f == v1alpha1.Finalizer {
			return true
		}
	}
	return false
}

// removeStrays deletes sets that Weir made for other releases: a create of an
// older process may land late, and nothing can fence it.
func (p *pass) removeStrays() bool {
	found := false
	for i := range p.in.Sets {
		s := &p.in.Sets[i]
		if s.Owner == OwnerWeir && !s.Labelled && s != p.canary {
			p.do(Effect{Kind: EffectDeleteCanary, Name: s.Name, Revision: s.Hash, Why: "it belongs to no release"})
			found = true
		}
	}
	return found
}

// removeTwins deletes empty sets of the workload's history that its controller
// would prefer to the canary (an older one with an equal template) or to the
// stable set (the newest one, when a paused workload is scaled up from zero).
func (p *pass) removeTwins() bool {
	stable := p.stableSet()
	found := false
	for i := range p.in.Sets {
		s := &p.in.Sets[i]
		if s.Owner != OwnerTarget || s.Size > 0 || s.Pods > 0 || s == stable || s == p.canary {
			continue
		}
		if s.Revision == p.st.Canary.Revision || stable != nil && !s.Created.Before(stable.Created) {
			p.do(Effect{Kind: EffectDeleteTwin, Name: s.Name, Revision: s.Hash, Why: "the workload's controller would prefer it"})
			found = true
		}
	}
	return found
}

// stableSet is the workload's set of the stable revision, nil if there is none.
func (p *pass) stableSet() *Set {
	for i := range p.in.Sets {
		if s := &p.in.Sets[i]; s.Owner == OwnerTarget && s.Hash == p.st.Stable.Revision {
			return s
		}
	}
	return nil
}

// prepareBackends makes the canary's Services and narrows the user's to stable.
// Before the endpoint controller has acted on that no canary pod may exist: the
// user's Services select it too.
func (p *pass) prepareBackends() bool {
	made := p.makeServices()
	switch {
	case p.sharedCallers():
		return made || p.wait(WaitPin, "the canary's Services to be made")
	case p.pin() && made:
		return p.pinSeen()
	case p.in.Target.Replicas == 0:
		return p.wait(WaitScaledToZero, "the workload to be scaled up from zero")
	default:
		return p.wait(WaitPin, "the Services to be narrowed to the stable version")
	}
}

// makeServices makes the canary's Services, or stamps those that an earlier
// release has left, and turns the preview to the canary. It is true when all are
// there.
func (p *pass) makeServices() bool {
	made := true
	for b := range p.services(true) {
		if !b.Exists || b.Revision != p.st.Canary.Revision || b.Stamp < p.st.Record.ReleaseSeq {
			p.do(Effect{Kind: EffectEnsureBackend, Name: b.Name, Revision: p.st.Canary.Revision, Why: "the canary needs a Service of its own"})
			made = false
		}
	}
	return p.previewCanary() && made
}

// pin narrows the user's Services to the stable version where they are not. It
// is true when all are.
func (p *pass) pin() bool {
	pinned := true
	stable := p.st.Stable.Revision
	for b := range p.services(false) {
		if b.Revision == stable {
			continue
		}
		pinned = false
		if p.lone != nil && p.lone.Hash == stable {
			p.do(Effect{Kind: EffectPin, Name: b.Name, Revision: stable, Why: "callers beside the routes get stable"})
		}
	}
	return pinned
}

// pinSeen says whether the endpoint controller has acted on the pins.
func (p *pass) pinSeen() bool {
	for b := range p.services(false) {
		if b.Seen != p.st.Stable.Revision {
			return p.wait(WaitPin, fmt.Sprintf("EndpointSlices of Service %s to show that it is narrowed to the stable version", b.Name))
		}
	}
	return true
}

// inForce says whether the exposure is exactly what is allowed. Before the
// clock of the step runs it must also be accepted by the data plane, or without
// routes the pods must be there. Later neither a new generation of the route
// that keeps the weight, nor rules for sessions that are gone, nor missing pods
// interrupt it.
func (p *pass) inForce() bool {
	switch {
	case p.st.Record.Lowered:
		return false
	case p.routed:
		return p.weightInForce(p.st.Release.VerifiedAt != nil)
	default:
		return p.sizeInForce(p.st.Release.VerifiedAt != nil)
	}
}

// weightInForce is inForce with routes.
func (p *pass) weightInForce(verified bool) bool {
	r, weight, extras := p.in.Route, p.allowed(), p.allowedExtras()
	switch {
	case !r.carries(weight, extras):
		return false
	case weight == 0 && extras == "":
		return !p.unsealed() && (r.Processed || verified)
	default:
		return r.Stamp >= p.st.Record.ExposureSeq && (r.Accepted && !r.Loose || verified)
	}
}

// unsealed says whether a write of an older record may still raise the routes: the
// exposure was changed since the release began, and they were not stamped since.
func (p *pass) unsealed() bool {
	r := &p.st.Record
	return r.ExposureSeq > r.ReleaseSeq && p.in.Route.Stamp < r.ExposureSeq
}

// outdated says whether a write of an older record or of an older process could
// still reach the routes.
func (p *pass) outdated() bool {
	r := p.in.Route
	return p.unsealed() || r.Split && r.Stamp < max(p.st.Record.TermSeq, p.st.Record.ExposureSeq)
}

// sizeInForce is inForce without routes.
func (p *pass) sizeInForce(verified bool) bool {
	size, c := p.size(), p.canary
	switch {
	case size == 0:
		return true
	case c == nil || c.Stamp < p.st.Record.ExposureSeq:
		return false
	default:
		return verified || c.Size == size && c.Available >= size
	}
}

// expose brings the canary to its size and then to its weight, one raise at
// most, and says what it waits for.
func (p *pass) expose() {
	if !p.fit() {
		return
	}
	if p.st.Record.Lowered && !p.restore() {
		return
	}
	switch {
	case p.routed:
		p.weigh()
	case p.available() < p.size():
		p.short()
	}
}

// fit brings the canary's set to its size. It is true when it has that size.
func (p *pass) fit() bool {
	size, c := p.size(), p.canary
	newest := max(p.st.Record.TermSeq, p.st.Record.ReleaseSeq)
	if !p.routed {
		newest = max(newest, p.st.Record.ExposureSeq)
	}
	switch {
	case c == nil && size == 0:
		return true
	case c == nil:
		p.do(Effect{Kind: EffectCreateCanary, Revision: p.st.Canary.Revision, Size: size, Raise: true, Why: p.stepText()})
		return p.short()
	case c.Size > size:
		p.shrink(size)
		return p.routed
	case c.Size < size && c.Stamp >= p.st.Record.TermSeq:
		p.do(Effect{Kind: EffectScaleCanary, Name: c.Name, Revision: c.Hash, Size: size, Raise: true, Why: p.stepText()})
		return p.short()
	case c.Stamp < newest:
		p.do(Effect{Kind: EffectSealCanary, Name: c.Name, Revision: c.Hash, Why: "writes of older records must not reach it"})
		p.wait(WaitExposure, "the canary's set to be stamped")
		return c.Size == size
	default:
		return true
	}
}

// shrink takes pods of the canary away, if that may be.
func (p *pass) shrink(size int32) {
	if c := p.canary; p.mayShrink() {
		p.do(Effect{Kind: EffectScaleCanary, Name: c.Name, Revision: c.Hash, Size: size, Why: "fewer pods are needed"})
	}
}

// mayShrink says whether pods may be taken away: without routes always, else
// when the data plane sends the canary no more than is allowed, and no older
// write can make it send more.
func (p *pass) mayShrink() bool {
	r := p.in.Route
	switch {
	case !p.routed:
		return true
	case r == nil || !r.Processed || r.exceeds(p.allowed(), p.allowedExtras()):
		return false
	case p.outdated():
		p.stampRoutes()
		return false
	default:
		return true
	}
}

// stampRoutes keeps writes of older records, and of older processes, from the
// routes.
func (p *pass) stampRoutes() {
	p.do(p.lowering("writes of older records must not reach the routes"))
}

// restore ends a lowering when the pods are back. It is true when it has ended.
func (p *pass) restore() bool {
	n := p.in.Target.Replicas
	if n == 0 {
		return p.wait(WaitScaledToZero, "the workload to be scaled up from zero")
	}
	if p.available() < p.needed(p.st.Record.DesiredWeight, p.st.Record.DesiredExtras) {
		return p.short()
	}
	st := p.edit()
	st.Record.Lowered = false
	st.Record.ExposureSeq = st.Record.Seq
	p.resetDeadline()
	p.event(EventNormal, "ExposureRestored", "RaiseExposure", "The canary has its pods again: the step starts anew")
	return true
}

// acceptInterval is how often a data plane is asked that does not tell by itself what
// it has accepted.
const acceptInterval = time.Second

// askAgain sees that the routes are looked at again, where no event will bring that
// about.
func (p *pass) askAgain() {
	if p.in.Route.Unannounced {
		p.wake(p.in.Now.Add(acceptInterval))
	}
}

// needed is the number of available pods that a weight and extras need.
func (p *pass) needed(weight int32, extras string) int32 {
	n := p.in.Target.Replicas
	need := sizeFor(weight, n, p.routed)
	if s := p.step(); extras != "" && extras == s.extras.ID() {
		need = max(need, s.extrasSize(n))
	}
	return need
}

// weigh brings the routes to the weight and the extras that are allowed.
func (p *pass) weigh() {
	r, weight, extras := p.in.Route, p.allowed(), p.allowedExtras()
	exact := r.carries(weight, extras) && !r.Loose
	switch {
	case !r.Accepted:
		p.askAgain()
		p.wait(WaitExposure, "the data plane to accept the routes"+because(r.Message))
	case r.exceeds(weight, extras):
		p.wait(WaitExposure, "the data plane to accept the routes")
	case exact && p.outdated():
		p.stampRoutes()
		p.wait(WaitExposure, "the data plane to accept the routes")
	case exact:
	case p.available() < p.needed(weight, extras):
		p.short()
	case p.canary.Stamp < p.st.Record.TermSeq:
		p.wait(WaitExposure, "the canary's set to be stamped")
	case !p.endpoints():
		p.wait(WaitEndpoints, "the canary's Services to have ready endpoints")
	default:
		p.do(Effect{Kind: EffectSetWeight, Weight: weight, Extras: extras, Size: p.needed(weight, extras), Raise: true, Why: p.stepText()})
		p.wait(WaitExposure, "the data plane to accept the routes")
	}
}

// tighten gives users their sessions back where somebody has taken rules for them out
// of a route that keeps its weight. It is true when nothing is left to do.
func (p *pass) tighten() bool {
	if !p.routed || !p.in.Route.Loose {
		return true
	}
	if p.seal() {
		p.weigh()
	}
	return p.wait(WaitExposure, "the rules that keep sessions to be back in the routes")
}

// endpoints says whether every Service of the canary has a ready endpoint.
func (p *pass) endpoints() bool {
	for b := range p.services(true) {
		if !b.Exists || b.ReadyCanary == 0 {
			return false
		}
	}
	return true
}

// seal stamps the objects of the release that no write of this process has
// touched yet, so that no write of an older process can reach them once the
// release goes on. It is true when all are stamped.
func (p *pass) seal() bool {
	sealed := true
	if c := p.canary; c != nil && c.Owner == OwnerWeir && c.Stamp < p.st.Record.TermSeq {
		p.do(Effect{Kind: EffectSealCanary, Name: c.Name, Revision: c.Hash, Why: "a new process has taken over"})
		sealed = false
	}
	if r := p.in.Route; r != nil && r.Split && r.Stamp < p.st.Record.TermSeq {
		p.do(p.lowering("a new process has taken over"))
		sealed = false
	}
	return sealed || p.wait(WaitExposure, "the objects of the release to be stamped by the new process")
}
