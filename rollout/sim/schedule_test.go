package sim

import (
	"math/rand/v2"
	"time"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// Events is the number of events of a storm, before the calm.
const Events = 400

// Result of one schedule.
type Result struct {
	Seed       uint64
	Violations []string
	Races      [races]int
	// Writes and Records of Weir, Releases started, and Promoted ones.
	Writes, Records, Releases, Promoted int
	// Trace is empty unless it was asked for.
	Trace string
}

// Run makes one schedule from a seed. With trace it keeps what happened. A
// mutant is a defect that is switched on.
func Run(seed uint64, mutant Mutant, trace bool) Result {
	cfg := randomConfig(rand.New(rand.NewPCG(seed, 0xc0f)))
	cfg.Mutant = mutant
	cfg.ConfirmFirst = mutant == ConfirmBeforeRead || mutant == NoStamp
	cfg.Twice = seed%64 == 0 && mutant == None
	w := newWorld(seed, cfg)
	w.tracing = trace
	for t := 1; t <= maxTemplates; t++ {
		if w.chance(1, 2) {
			w.quality[t] = quality(w.rng.IntN(int(qualities)))
		}
	}
	if !cfg.Fresh {
		w.quality[1] = good
	}
	w.logSubject()
	for range Events {
		w.event()
		if w.checkState(); len(w.ledger.violations) > 0 {
			return w.result()
		}
	}
	w.settle()
	return w.result()
}

func (w *World) result() Result {
	l := &w.ledger
	return Result{Seed: w.Seed, Violations: l.violations, Races: l.races, Writes: l.writes, Records: l.records,
		Releases: l.releases, Promoted: l.promoted, Trace: w.trace.String()}
}

// event lets one part of the world act, drawn at random among those that have
// something to do, by a few tries.
func (w *World) event() {
	for range 4 {
		if w.draw() {
			return
		}
	}
}

// draw lets one part of the world act. It is false when that part has nothing
// to do.
func (w *World) draw() bool {
	n := w.rng.IntN(1000)
	switch {
	case n < 390:
		return w.stepLeader()
	case n < 590:
		return w.advanceCache()
	case n < 670:
		pending := w.dc.pending()
		w.syncDeployment()
		return pending
	case n < 750:
		all := w.sets.live()
		return all.n > 0 && w.stepPods(w.rng.IntN(all.n))
	case n < 810:
		return w.routed() && w.stepGateway(w.rng.IntN(w.routes.live().n))
	case n < 850:
		return w.syncSlices()
	case n < 900:
		w.pass()
	case n < 920:
		return w.leader.look()
	case n < 925:
		return w.collect()
	case n < 925+w.cfg.Weather.quiet:
		return w.stepLeader()
	default:
		w.weather()
	}
	return true
}

// stepLeader lets the leader make a micro-step, or crash instead, or lose its
// lease.
func (w *World) stepLeader() bool {
	we := &w.cfg.Weather
	switch p := w.leader; {
	case p.due() && w.chance(we.crash, 1000):
		w.log("%s crashes", p.term)
		w.newLeader()
	case p.phase != resting && w.chance(we.depose, 200):
		w.log("%s is deposed in the middle of a pass", p.term)
		p.deposed = true
		p.left = 1 + w.rng.IntN(12)
		if len(w.procs) < 2 {
			w.procs = append(w.procs, p)
		}
		w.newLeader()
		if we.skew > 0 {
			w.leader.skew = time.Duration(w.rng.IntN(2*we.skew)-we.skew) * time.Millisecond
		}
	default:
		return p.step()
	}
	return true
}

// stepDeposed lets a deposed process, which does not know it yet, go on.
func (w *World) stepDeposed() {
	if len(w.procs) == 0 {
		return
	}
	i := w.rng.IntN(len(w.procs))
	p := w.procs[i]
	p.step()
	if p.left--; p.left <= 0 {
		w.procs = append(w.procs[:i], w.procs[i+1:]...)
	}
}

// advanceCache brings one cache of somebody closer to the API server.
func (w *World) advanceCache() bool {
	n := w.rng.IntN(int(kinds) + 2)
	if w.rng.IntN(10) < w.cfg.Weather.lag {
		return true
	}
	by := version(1 + w.rng.IntN(6))
	switch {
	case n < int(kinds):
		return w.leader.advance(kind(n), by)
	case n == int(kinds):
		before := w.dc.target
		w.dc.target = min(before+by, w.target.head)
		return w.dc.target != before
	default:
		before := w.dc.sets
		w.dc.sets = min(before+by, w.sets.head)
		return w.dc.sets != before
	}
}

// pass lets time pass, and sometimes a deposed process wakes up.
func (w *World) pass() {
	if w.chance(1, 3) {
		w.stepDeposed()
		return
	}
	span := []time.Duration{100 * time.Millisecond, time.Second, 5 * time.Second, 20 * time.Second, time.Minute}[w.rng.IntN(5)]
	if w.chance(1, 20) {
		span = 10 * time.Minute
	}
	w.now = w.now.Add(span)
}

// weather is a fault or a user.
func (w *World) weather() {
	we := &w.cfg.Weather
	rates := [...]int{
		we.killPod, we.metrics, we.deploy, we.revert, we.scale, we.zero, we.pause, we.abort, we.approve, we.retry,
		we.promote, we.steps, we.rewrite, we.strip, we.remove, we.resume, we.recreate, we.drift,
	}
	n := w.rng.IntN(120)
	for i, rate := range rates {
		if n -= rate; n < 0 {
			w.act(i)
			return
		}
	}
}

// act is what the i-th rate of weather is about.
func (w *World) act(i int) {
	switch i {
	case 0:
		if all := w.sets.live(); all.n > 0 {
			w.killPod(w.rng.IntN(all.n))
		}
	case 1:
		w.metricsUp = !w.metricsUp
		w.log("metrics are there: %t", w.metricsUp)
	case 2:
		w.deploy(template(1+w.rng.IntN(maxTemplates)), []string{"alice", "bob"}[w.rng.IntN(2)])
	case 3:
		if t := hashNamed(w.status().Stable.Revision).template; t != 0 {
			w.deploy(t, "alice")
		}
	case 4:
		w.scale(int32(1 + w.rng.IntN(int(w.cfg.Replicas)*2)))
	case 5:
		w.scale(0)
	case 6:
		w.setPaused(!w.rollout.live().Spec.Paused)
	case 7:
		w.randomSay(v1alpha1.ActionAbort)
	case 8:
		w.randomSay(v1alpha1.ActionApprove)
	case 9:
		w.randomSay(v1alpha1.ActionRetry)
	case 10:
		w.randomSay(v1alpha1.ActionPromote)
	default:
		w.actRarely(i)
	}
}

func (w *World) actRarely(i int) {
	switch i {
	case 11:
		if w.chance(1, 4) {
			w.togglePreview()
			return
		}
		lists := stepLists(w.routed())
		steps := lists[w.rng.IntN(len(lists))]
		w.userRollout(func(r *v1alpha1.Rollout) { r.Spec.Steps = steps })
		w.log("user: edits the steps")
	case 12:
		w.applyRoutes(w.chance(1, 2))
	case 13:
		if w.chance(1, 2) {
			w.applyService()
		} else {
			w.dropLabel()
		}
	case 14:
		switch ro := w.rollout.live(); {
		case !ro.exists:
			w.recreateRollout()
		case ro.DeletionTimestamp != nil:
			w.deleteByForce()
		default:
			w.deleteRollout()
		}
	case 15:
		w.userTarget(func(d *target) { d.paused = false })
	case 16:
		w.recreate()
	case 17:
		w.vandal()
	}
}
