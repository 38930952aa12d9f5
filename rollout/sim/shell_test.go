package sim

import (
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
)

// phase is where a process stands in its pass.
type phase uint8

const (
	resting phase = iota
	reading
	recording
	checking
	writing
)

// maxAge is how old a decision may be when it is recorded.
const maxAge = 10 * time.Second

// process is one controller process: the shell around the core. One is the
// leader; those that were deposed may wake up once more.
type process struct {
	w     *World
	term  string
	cache [kinds]version
	// read is what the decision in hand rests on.
	read  [kinds]version
	skew  time.Duration
	phase phase
	// dirty says that something changed since the last pass; live that the next
	// pass reads live from its start.
	dirty, live bool
	// again says that the pass before came to nothing, so that this one reads the
	// Rollout live; wrote is its version after the last write of the process.
	again   bool
	wrote   version
	wakeAt  time.Time
	deposed bool
	left    int // micro-steps that a deposed process still makes

	decision decide.Decision
	// decided is when it was made.
	decided time.Time
	// rv and seq of the Rollout that effects rest on.
	rv     version
	seq    int64
	effect int
	route  int
	// ref is the version of the object that the effect in hand is about to write,
	// and on is what its check rested on.
	ref int64
	on  basis
	// decidedOn is what was read live for the decision in hand, at readAt; nil if
	// it is one of the caches. acted says that an effect of the pass has changed
	// that. recordedAt is when the pass wrote the Rollout, zero if it has not.
	kept       basis
	decidedOn  *basis
	readAt     time.Time
	acted      bool
	recordedAt time.Time

	verdict  decide.Verdict
	looked   bool
	sets     [2 * maxTemplates]decide.Set
	backends [2]decide.Backend
	preview  decide.Backend
	view     decide.Route
	crashes  [2 * maxTemplates]decide.Crash
	passes   int
	// weightAtCheck and so on are what the live check of a raise saw.
	seenAvailable int32
}

// newLeader starts a process, with caches just filled.
func (w *World) newLeader() {
	w.terms++
	term := "term-" + strconv.Itoa(w.terms)
	if w.cfg.Mutant == NoTerm {
		term = "term"
	}
	p := &process{w: w, term: term, dirty: true}
	for k := range kinds {
		p.cache[k] = w.head(k)
	}
	w.leader = p
	w.log("%s leads", term)
}

// clock of the process.
func (p *process) clock() time.Time { return p.w.now.Add(p.skew) }

// due says whether the process has a reason for a pass.
func (p *process) due() bool {
	return p.phase != resting || p.dirty || !p.wakeAt.IsZero() && !p.clock().Before(p.wakeAt)
}

// advance brings one cache closer to the API server. It is false when it is
// there.
func (p *process) advance(k kind, by version) bool {
	head := p.w.head(k)
	if p.cache[k] == head {
		return false
	}
	p.cache[k] = min(p.cache[k]+by, head)
	p.dirty = true
	return true
}

// step makes one micro-step of a pass: a read, a record, a check, a write. What
// others do may come between any two. It is false when there is nothing to do.
func (p *process) step() bool {
	if !p.due() {
		return false
	}
	switch p.phase {
	case resting:
		p.dirty = false
		p.passes++
		p.read = p.cache
		p.read[kindRollout] = p.newest()
		p.again = false
		if p.live {
			p.live = false
			p.readLive()
			return true
		}
		p.decide(p.w.cfg.Mutant == NoLiveRead)
	case reading:
		for k := kinds / 2; k < kinds; k++ {
			p.readKind(k)
		}
		p.decide(true)
	case recording:
		p.record()
	case checking:
		p.check()
	case writing:
		p.write()
	}
	return true
}

// newest is the Rollout from the cache, or as the process wrote it last if that
// is newer. After a pass that came to nothing, and where the cache has none, it is
// read live.
func (p *process) newest() version {
	if p.again || !p.w.rollout.at(p.cache[kindRollout]).exists {
		return p.w.head(kindRollout)
	}
	return max(p.cache[kindRollout], p.wrote)
}

// readKind reads one kind for a live pass: from the API server, but for the
// Rollout, which the pass has, and Approvals at stages at which none can end the
// release or hold it back.
func (p *process) readKind(k kind) {
	switch k {
	case kindRollout:
	case kindApprovals:
		st := stageOf(&p.w.rollout.at(p.read[kindRollout]).Status)
		if st == v1alpha1.StageProgressing || st == v1alpha1.StagePromoting {
			p.read[k] = p.w.head(k)
		}
	default:
		p.read[k] = p.w.head(k)
	}
}

// readLive reads from the API server, sometimes in two parts with something in
// between.
func (p *process) readLive() {
	p.readAt = p.w.now
	for k := range kinds {
		p.readKind(k)
	}
	if !p.w.calm && p.w.chance(p.w.cfg.Weather.splitRead, 1000) {
		p.phase = reading
		return
	}
	p.decide(true)
}

// decide asks the core, and takes its decision in hand.
func (p *process) decide(fresh bool) {
	w := p.w
	if ro := w.rollout.at(p.read[kindRollout]); !ro.exists {
		p.letGo(fresh)
		return
	}
	in := p.observe(fresh)
	w.mutateInput(&in)
	d := decide.Decide(in)
	if w.cfg.Twice {
		w.checkTwice(in, d)
	}
	w.mutateDecision(&in, &d)
	if d.ReadLive {
		if fresh {
			p.phase = resting
			return
		}
		p.readLive()
		return
	}
	p.decision, p.decided, p.wakeAt, p.effect, p.route = d, w.now, d.WakeAt, 0, 0
	p.rv, p.seq = p.read[kindRollout], in.Rollout.Status.Record.Seq
	p.keep(fresh)
	if w.tracing {
		w.logDecision(p, fresh, &d)
	}
	switch {
	case d.Status != nil:
		p.phase = recording
	case len(d.Effects) > 0:
		p.phase = checking
	default:
		p.finish()
	}
}

// letGo is what the shell does when the Rollout is gone: it takes its label off
// a workload that still carries it, so that no policy holds it for ever, and
// removes what is left, by a process that wrote too late or since the Rollout
// was deleted by force. As long as a route is split for it, all of that stays.
func (p *process) letGo(fresh bool) {
	w := p.w
	p.phase, p.wakeAt = resting, time.Time{}
	t, all := w.target.at(p.read[kindTarget]), w.sets.at(p.read[kindSets])
	sv, rs := w.services.at(p.read[kindServices]), w.routes.at(p.read[kindRoutes])
	labelled, stray := t.labelled && t.uid != 0, int32(0)
	for i := range all.n {
		if s := &all.list[i]; s.owner == decide.OwnerWeir && !s.labelled {
			stray = s.id
		}
	}
	split := false
	for i := range rs.n {
		split = split || rs.list[i].split
	}
	left := !split && (stray != 0 || sv.user.pin != hash{} || sv.canary.exists)
	switch {
	case !labelled && !left:
		return
	case !fresh:
		p.readLive()
		return
	case labelled:
		if w.target.head == p.read[kindTarget] {
			t := w.target.next()
			if t.vetoed && !t.paused {
				t.paused = true
				t.generation++
			}
			t.labelled, t.vetoed = false, false
			w.log("%s takes the label off the workload: its Rollout is gone", p.term)
		}
	case stray != 0:
		if w.sets.live().byID(stray) != nil {
			w.sets.next().remove(stray)
			w.log("%s deletes a set: its Rollout is gone", p.term)
		}
	default:
		n := w.services.next()
		n.user.pin = hash{}
		n.user.rv++
		n.canary = service{rv: n.canary.rv + 1}
		w.log("%s lets go of the Services: their Rollout is gone", p.term)
	}
	w.touched = true
	p.live, p.dirty = true, true
}

// record writes the status by compare-and-swap.
func (p *process) record() {
	w := p.w
	live := w.rollout.live()
	// The times in a status are made when it is decided; a process that was
	// stopped since then decides anew.
	if w.rollout.head != p.rv && w.cfg.Mutant != NoCAS || !live.exists || w.now.Sub(p.decided) > maxAge {
		w.log("%s: conflict on the status", p.term)
		p.giveUp()
		return
	}
	old := live.Status
	n := w.rollout.next()
	n.Status = *p.decision.Status
	p.rv, p.seq, p.recordedAt = w.rollout.head, n.Status.Record.Seq, w.now
	w.touched = true
	w.logRecord(p, &n.Status)
	w.recorded(p, &old, &n.Status)
	w.trackExposure()
	if p.lost() {
		return
	}
	p.wrote = p.rv
	p.phase = checking
	if len(p.decision.Effects) == 0 {
		p.finish()
	}
}

// lost lets the answer to a write get lost, though it was made. The pass ends.
func (p *process) lost() bool {
	if p.w.calm || !p.w.chance(p.w.cfg.Weather.flaky, 1000) {
		return false
	}
	p.w.log("%s: the answer is lost", p.term)
	p.giveUp()
	// Some such errors are tried again at once, others by a new pass.
	p.again = p.w.chance(1, 2)
	p.live = p.again
	return true
}

// giveUp ends the pass; the next one reads live at once.
func (p *process) giveUp() {
	p.phase = resting
	p.live, p.dirty, p.again = true, true, true
}

// finish ends the pass, and answers Approvals.
func (p *process) finish() {
	p.phase = resting
	w := p.w
	if len(p.decision.Answers) == 0 || p.recordedAt.IsZero() && (!w.rollout.live().exists || w.rollout.head != p.rv) {
		return
	}
	all := *w.approvals.live()
	out := make([]v1alpha1.Approval, len(all))
	copy(out, all)
	for _, answer := range p.decision.Answers {
		for i := range out {
			if out[i].UID == answer.UID {
				status := metav1.ConditionFalse
				if answer.Counted {
					status = metav1.ConditionTrue
				}
				out[i].Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionAccepted, Status: status, Reason: answer.Reason, Message: answer.Message}}
				w.log("%s answers %s: %s", p.term, out[i].Name, answer.Reason)
				w.ledger.answers++
			}
		}
	}
	*w.approvals.next() = out
	w.touched = true
}

// observe makes the input of a decision from what was read.
func (p *process) observe(fresh bool) decide.Input {
	w := p.w
	ro := w.rollout.at(p.read[kindRollout])
	t := w.target.at(p.read[kindTarget])
	all := w.sets.at(p.read[kindSets])
	in := decide.Input{
		Now: p.clock(), Term: p.term, Fresh: fresh,
		Rollout: &ro.Rollout, Provider: w.provider(),
		Approvals: *w.approvals.at(p.read[kindApprovals]),
	}
	names := namer{status: &ro.Status, all: all, uid: t.uid}
	if t.uid != 0 {
		in.Target = decide.Target{
			UID: types.UID(uids[t.uid%len(uids)]), Generation: t.generation, ObservedGeneration: t.observed,
			Revision: names.revision(t.template), Replicas: t.replicas, MaxUnavailable: w.cfg.Unavailable,
			Paused: t.paused, ActsPaused: t.actsPaused, Vetoed: t.vetoed, Hold: w.cfg.Hold, ChangeAuthor: t.author,
		}
		if t.labelled {
			in.Target.Label = "web"
		}
	} else {
		in.Problems = []decide.Problem{{Reason: v1alpha1.ReasonWorkloadNotFound, Field: "spec.workloadRef", Message: "Deployment web does not exist"}}
	}
	for i := range all.n {
		p.observeSet(&all.list[i], &p.sets[i], &p.crashes[i], &names)
	}
	in.Sets = p.sets[:all.n]
	if w.routed() {
		p.observeRoutes(&in)
	}
	if p.looked {
		in.Verdict = &p.verdict
	}
	return in
}

// uids of the Deployment's incarnations.
var uids = [...]string{"", "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9"}

// observeSet shows one ReplicaSet.
func (p *process) observeSet(s *set, out *decide.Set, crash *decide.Crash, names *namer) {
	*out = decide.Set{
		Name: s.hash.name(), Revision: names.revision(s.hash.template), Hash: s.hash.String(), Owner: s.owner,
		Size: s.size, Pods: s.pods, Available: s.available, Created: time.Unix(s.created, 0),
		Stamp: s.stamp, Vetoed: s.vetoed, Labelled: s.labelled,
	}
	if s.owner == decide.OwnerTarget && s.ownerUID != names.uid {
		out.Owner = decide.OwnerNone
	}
	if s.crash {
		*crash = decide.Crash{Pod: "web-1", Container: "web", Restarts: 1, Reason: "CrashLoopBackOff"}
		out.Crash = crash
	}
	if s.obstacle {
		out.Obstacle = "exceeded quota: pods"
	}
}

// observeRoutes shows the routes, the worst of all, and the Services.
func (p *process) observeRoutes(in *decide.Input) {
	w := p.w
	rs := w.routes.at(p.read[kindRoutes])
	v := decide.Route{Accepted: true, Processed: true, LowestWeight: 10000, Stamp: 1 << 60}
	asked := askedExtras(in.Rollout)
	v.Whole = asked != ""
	allowed := in.Rollout.Status.Record.DesiredWeight
	if in.Rollout.Status.Record.Lowered {
		allowed = 0
	}
	for i := range rs.n {
		r := &rs.list[i]
		v.Split = v.Split || r.split
		v.Weight, v.LowestWeight = max(v.Weight, r.weight), min(v.LowestWeight, r.weight)
		if r.extras != "" && r.extras == asked {
			v.Extras = asked
		}
		v.Whole, v.Stray = v.Whole && r.extras == asked, v.Stray || r.extras != "" && r.extras != asked || r.session > w.drawn(allowed)
		v.Loose = v.Loose || r.session < w.drawn(allowed)
		v.Accepted = v.Accepted && r.accepted == r.generation
		v.Processed = v.Accepted
		v.Stamp, v.HighestStamp = min(v.Stamp, r.stamp), max(v.HighestStamp, r.stamp)
		if r.foreign {
			v.ForeignWriter = "gitops"
		}
	}
	p.view = v
	in.Route = &p.view
	sv, sl := w.services.at(p.read[kindServices]), w.slices.at(p.read[kindSlices])
	canary := hashNamed(in.Rollout.Status.Canary.Revision)
	p.backends[0] = decide.Backend{Name: "web", Exists: true, Revision: pinName(sv.user.pin), Seen: pinName(sl.user.seen),
		ReadyCanary: sl.user.count(canary)}
	p.backends[1] = decide.Backend{Name: "web-canary", Canary: true, Exists: sv.canary.exists, Revision: pinName(sv.canary.pin),
		Seen: pinName(sl.canary.seen), ReadyCanary: sl.canary.count(canary), Stamp: sv.canary.stamp}
	in.Backends = p.backends[:]
	p.observePreview(in)
}

func pinName(h hash) string {
	if h == (hash{}) {
		return ""
	}
	return h.String()
}

// namer gives templates their revisions, by the rules in the documentation of
// package decide.
type namer struct {
	status *v1alpha1.RolloutStatus
	all    *sets
	uid    int
}

func (n *namer) revision(t template) string {
	own := hash{template: t, weir: true}.String()
	if stable := hashNamed(n.status.Stable.Revision); stable.template == t && n.all.find(stable) != nil {
		return n.status.Stable.Revision
	}
	if own == n.status.Canary.Revision || own == n.status.Release.FailedRevision {
		return own
	}
	for i := range n.all.n {
		if s := &n.all.list[i]; s.hash.template == t && s.owner == decide.OwnerTarget && s.ownerUID == n.uid && s.size > 0 {
			return s.hash.String()
		}
	}
	return own
}

// liveRevision is the revision of the workload's template now.
func (w *World) liveRevision() string {
	n := namer{status: w.status(), all: w.sets.live(), uid: w.target.live().uid}
	return n.revision(w.target.live().template)
}
