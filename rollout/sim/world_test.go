package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
)

// version numbers the states of one kind of objects.
type version uint32

// depth is how many versions of a kind are kept: a cache lags at most one less.
const depth = 8

// history is the newest states of one kind of objects. The newest is the API
// server's; caches see an older one.
type history[T any] struct {
	ring [depth]T
	head version
}

// live is the newest state. It must not be changed.
func (h *history[T]) live() *T { return &h.ring[h.head%depth] }

// next makes a new version, to be changed.
func (h *history[T]) next() *T {
	now := h.live()
	h.head++
	h.ring[h.head%depth] = *now
	return h.live()
}

// at is the state that a cache sees, or the oldest one that is kept.
func (h *history[T]) at(v version) *T {
	if h.head-v >= depth {
		v = h.head - depth + 1
	}
	return &h.ring[v%depth]
}

// kind of objects, each with a cache of its own.
type kind int

const (
	kindRollout kind = iota
	kindTarget
	kindSets
	kindRoutes
	kindServices
	kindSlices
	kindApprovals
	kinds
)

// template of the workload: 0 is none, then A, B, C and so on.
type template uint8

// maxTemplates bounds the templates, and with them the ReplicaSets.
const maxTemplates = 5

// hash of a ReplicaSet: of the Deployment's own scheme, or of Weir's.
type hash struct {
	template template
	weir     bool
}

var hashNames = func() (names [2][maxTemplates + 1]string) {
	for t := range template(maxTemplates + 1) {
		names[0][t] = "d" + string('A'+rune(t)-1)
		names[1][t] = "w" + string('A'+rune(t)-1)
	}
	return names
}()

var setNames = func() (names [2][maxTemplates + 1]string) {
	for i := range names {
		for t := range names[i] {
			names[i][t] = "web-" + hashNames[i][t]
		}
	}
	return names
}()

func (h hash) index() int {
	if h.weir {
		return 1
	}
	return 0
}

// String is the value of the label pod-template-hash.
func (h hash) String() string { return hashNames[h.index()][h.template] }

// name of the ReplicaSet with this hash.
func (h hash) name() string { return setNames[h.index()][h.template] }

// hashNamed is the hash of a revision.
func hashNamed(revision string) hash {
	for i := range hashNames {
		for t := 1; t <= maxTemplates; t++ {
			if hashNames[i][t] == revision {
				return hash{template: template(t), weir: i == 1}
			}
		}
	}
	return hash{}
}

func (t template) String() string { return string('A' + rune(t) - 1) }

// target is the Deployment.
type target struct {
	uid                  int
	generation, observed int64
	template             template
	replicas             int32
	paused, vetoed       bool
	// actsPaused is the condition by which the controller says what it has seen.
	actsPaused bool
	labelled   bool
	// author of the newest change, and the number of changes of the template.
	author  string
	changes int
	// statusReplicas as the controller last wrote it.
	statusReplicas int32
}

// set is a ReplicaSet.
type set struct {
	id    int32
	rv    int32
	hash  hash
	owner decide.Owner
	// labelled: its labels match the Deployment's selector.
	labelled, vetoed      bool
	size, pods, available int32
	created               int64
	stamp                 int64
	desired, max          int32 // annotations of the Deployment controller, -1 when absent
	crash                 bool
	obstacle              bool
	ownerUID              int
}

// sets is all ReplicaSets.
type sets struct {
	list [2 * maxTemplates]set
	n    int
}

// find gives the set of a hash, nil if there is none.
func (s *sets) find(h hash) *set {
	for i := range s.n {
		if s.list[i].hash == h {
			return &s.list[i]
		}
	}
	return nil
}

func (s *sets) byID(id int32) *set {
	for i := range s.n {
		if s.list[i].id == id {
			return &s.list[i]
		}
	}
	return nil
}

func (s *sets) remove(id int32) {
	for i := range s.n {
		if s.list[i].id == id {
			copy(s.list[i:], s.list[i+1:s.n])
			s.n--
			return
		}
	}
}

// route is one route with one rule.
type route struct {
	rv     int32
	split  bool
	weight int32
	// extras by their ID.
	extras string
	// session is the weight at which users are drawn, 0 for none.
	session int32
	stamp   int64
	// generation, and the one that the gateway has accepted. served is the weight
	// that its data plane sends to the canary, and servedExtras what else it does.
	generation, accepted int32
	served               int32
	servedExtras         string
	servedGeneration     int32
	foreign              bool
}

// routes is all routes; n is 0 for the native provider.
type routes struct {
	list [2]route
	n    int
}

// service is one Service: the user's or the canary's.
type service struct {
	rv     int32
	exists bool
	// pin is the revision that it is narrowed to.
	pin   hash
	stamp int64
	// ownerUID is the Deployment with which the canary's Service goes.
	ownerUID int
	// ownerRollout is the Rollout with which the preview goes.
	ownerRollout types.UID
}

// services: the user's, its twin, and the preview.
type services struct {
	user, canary, preview service
}

// slice is the EndpointSlices of one Service.
type slice struct {
	seen  hash
	ready [2 * maxTemplates]struct {
		hash  hash
		ready int32
	}
	n int
}

func (s *slice) count(h hash) int32 {
	for i := range s.n {
		if s.ready[i].hash == h {
			return s.ready[i].ready
		}
	}
	return 0
}

type slicesOf struct {
	user, canary, preview slice
}

// rolloutObject is the Rollout, or none once it is deleted.
type rolloutObject struct {
	exists bool
	v1alpha1.Rollout
}

// World is the cluster.
type World struct {
	// Seed that the schedule is made from.
	Seed uint64
	cfg  Config
	rng  *rand.Rand
	now  time.Time

	rollout   history[rolloutObject]
	target    history[target]
	sets      history[sets]
	routes    history[routes]
	services  history[services]
	slices    history[slicesOf]
	approvals history[[]v1alpha1.Approval]

	lastID    int32
	quality   [maxTemplates + 1]quality
	metricsUp bool
	calm      bool
	// resting says that nothing moves any more.
	resting bool

	dc      deploymentController
	procs   []*process
	leader  *process
	terms   int
	ledger  ledger
	tracing bool
	trace   strings.Builder
	// touched says that something changed since the last look at the state.
	touched bool
}

// epoch is when every schedule begins.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// newWorld makes a cluster with one Deployment at template A, all up, and its
// Rollout.
func newWorld(seed uint64, cfg Config) *World {
	w := &World{Seed: seed, cfg: cfg, rng: rand.New(rand.NewPCG(seed, 0x5eed)), now: epoch, metricsUp: true}
	n := cfg.Replicas
	*w.target.next() = target{uid: 1, generation: 1, observed: 1, template: 1, replicas: n, statusReplicas: n, labelled: cfg.Labelled}
	s := w.sets.next()
	if !cfg.Fresh {
		w.lastID++
		s.list[0] = set{id: w.lastID, rv: 1, hash: hash{template: 1}, owner: decide.OwnerTarget, labelled: true, ownerUID: 1,
			size: n, pods: n, available: n, created: w.now.Unix(), desired: n, max: n + cfg.Surge}
		s.n = 1
	} else {
		w.target.live().observed = 0
		w.target.live().statusReplicas = 0
	}
	r := w.routes.next()
	r.n = cfg.Routes
	for i := range r.n {
		r.list[i] = route{rv: 1, generation: 1, accepted: 1, servedGeneration: 1}
	}
	w.services.next().user = service{rv: 1, exists: true}
	w.slices.next()
	w.approvals.next()
	ro := w.rollout.next()
	ro.exists = true
	ro.Name, ro.UID, ro.Generation = "web", "u1", 1
	ro.CreationTimestamp = metav1.NewTime(w.now)
	ro.Spec = cfg.spec()
	w.ledger.blessed[1] = true
	w.syncSlices()
	w.dc.target, w.dc.sets = w.target.head, w.sets.head
	w.newLeader()
	return w
}

// routed says whether the traffic is split by routes.
func (w *World) routed() bool { return w.cfg.Routes > 0 }

// provider of the traffic.
func (w *World) provider() v1alpha1.TrafficProvider {
	if w.routed() {
		return v1alpha1.ProviderGatewayAPI
	}
	return v1alpha1.ProviderKubernetes
}

// status is the newest recorded status.
func (w *World) status() *v1alpha1.RolloutStatus { return &w.rollout.live().Status }

// stage is the newest recorded stage.
func (w *World) stage() v1alpha1.Stage {
	if s := w.status().Release.Stage; s != "" {
		return s
	}
	return v1alpha1.StageIdle
}

// chance is true with a probability of n in m.
func (w *World) chance(n, m int) bool { return w.rng.IntN(m) < n }

// log adds a line to the trace.
func (w *World) log(format string, args ...any) {
	if w.tracing {
		fmt.Fprintf(&w.trace, "%8s  ", w.now.Sub(epoch).Round(time.Millisecond))
		fmt.Fprintf(&w.trace, format, args...)
		w.trace.WriteByte('\n')
	}
}

// head is the newest version of a kind.
func (w *World) head(k kind) version {
	switch k {
	case kindRollout:
		return w.rollout.head
	case kindTarget:
		return w.target.head
	case kindSets:
		return w.sets.head
	case kindRoutes:
		return w.routes.head
	case kindServices:
		return w.services.head
	case kindSlices:
		return w.slices.head
	default:
		return w.approvals.head
	}
}
