package sim

import "github.com/weir-dev/weir/rollout/decide"

// quality is how the pods of a template behave.
type quality uint8

const (
	// good pods come up at once and answer well.
	good quality = iota
	// slow pods come up one at a time.
	slow
	// failing pods come up and answer badly.
	failing
	// stuck pods never become available.
	stuck
	// crashing pods do not stay up.
	crashing
	qualities
)

// stepPods lets the ReplicaSet controller and the kubelets act on one set. It is
// false when they have nothing to do.
func (w *World) stepPods(i int) bool {
	s := w.sets.live().list[i]
	room := s.size
	if q := w.cfg.Quota; q > 0 && s.size > s.pods {
		for j := range w.sets.live().n {
			if j != i {
				q -= w.sets.live().list[j].pods
			}
		}
		room = max(min(room, q), s.pods)
	}
	obstacle := room < s.size
	pods := min(room, s.size)
	available := min(s.available, pods)
	crash := s.crash
	switch w.quality[s.hash.template] {
	case good, failing:
		available = pods
	case slow:
		if s.pods == pods {
			available = min(pods, available+1)
		}
	case crashing:
		available = 0
		crash = crash || pods > 0 && s.pods == pods
	case stuck:
		available = 0
	default:
	}
	if s.pods != pods {
		// Pods are created first and become available later.
		available = min(s.available, pods)
	}
	if pods == s.pods && available == s.available && crash == s.crash && obstacle == s.obstacle {
		return false
	}
	n := &w.sets.next().list[i]
	n.pods, n.available, n.crash, n.obstacle = pods, available, crash, obstacle
	n.rv++
	w.touched = true
	w.log("pods of %s: %d of %d available%s", n.hash, n.available, n.size, crashNote(n))
	w.trackExposure()
	return true
}

func crashNote(s *set) string {
	switch {
	case s.crash:
		return ", crashing"
	case s.obstacle:
		return ", quota"
	}
	return ""
}

// killPod lets one pod of a set fail for a while.
func (w *World) killPod(i int) {
	if w.sets.live().list[i].available == 0 {
		return
	}
	n := &w.sets.next().list[i]
	n.available--
	n.rv++
	w.touched = true
	w.log("a pod of %s is lost: %d of %d available", n.hash, n.available, n.size)
	w.trackExposure()
}

// syncSlices lets the endpoint controller act on Services and pods. It is false
// when it has nothing to do.
func (w *World) syncSlices() bool {
	if !w.routed() {
		return false
	}
	var now slicesOf
	sv, all := w.services.live(), w.sets.live()
	now.user.seen, now.canary.seen, now.preview.seen = sv.user.pin, sv.canary.pin, sv.preview.pin
	for i := range all.n {
		s := &all.list[i]
		if s.available == 0 {
			continue
		}
		if sv.user.pin == (hash{}) || sv.user.pin == s.hash {
			now.user.add(s.hash, s.available)
		}
		if sv.canary.exists && sv.canary.pin == s.hash {
			now.canary.add(s.hash, s.available)
		}
		if sv.preview.exists && (sv.preview.pin == (hash{}) || sv.preview.pin == s.hash) {
			now.preview.add(s.hash, s.available)
		}
	}
	if *w.slices.live() == now {
		return false
	}
	*w.slices.next() = now
	w.touched = true
	return true
}

func (s *slice) add(h hash, ready int32) {
	s.ready[s.n].hash, s.ready[s.n].ready = h, ready
	s.n++
}

// stepGateway lets the gateway act on one route: it programs its data plane, and
// later says so. It is false when it has nothing to do.
func (w *World) stepGateway(i int) bool {
	r := w.routes.live().list[i]
	switch {
	case r.servedGeneration != r.generation:
		n := &w.routes.next().list[i]
		n.servedGeneration, n.served, n.servedExtras = r.generation, r.weight, r.extras
		w.log("gateway serves route %d: canary %s%s", i, percent(n.served), extrasNote(n.servedExtras))
	case r.accepted != r.generation:
		n := &w.routes.next().list[i]
		n.accepted = r.generation
		n.rv++
		w.log("gateway accepts route %d", i)
	default:
		return false
	}
	w.touched = true
	w.trackExposure()
	return true
}

// collect is the garbage collector: sets and the canary's Service go with the
// Deployment that owns them.
func (w *World) collect() bool {
	if w.collectPreview() {
		return true
	}
	uid := w.target.live().uid
	if sv := w.services.live(); sv.canary.exists && sv.canary.ownerUID != uid {
		s := w.services.next()
		s.canary = service{rv: s.canary.rv + 1}
		w.touched = true
		w.log("garbage collector deletes the canary's Service")
		return true
	}
	all := w.sets.live()
	for i := range all.n {
		if s := &all.list[i]; s.ownerUID != uid && s.owner != decide.OwnerNone {
			w.log("garbage collector deletes %s", s.hash)
			w.sets.next().remove(s.id)
			w.touched = true
			return true
		}
	}
	return false
}
