package sim

import (
	"math"
	"slices"

	"github.com/weir-dev/weir/rollout/decide"
)

// deploymentController is the controller of Deployments in
// kube-controller-manager, modelled line by line as to which ReplicaSet it
// prefers, scales, creates and deletes. It reads caches; its writes carry the
// resourceVersion that it read.
type deploymentController struct {
	target, sets version
	// retry says that its last write failed, or was refused.
	retry bool
	// seen are the versions of its last pass.
	seenTarget, seenSets version
}

// pending says whether it has anything to look at.
func (d *deploymentController) pending() bool {
	return d.retry || d.seenTarget != d.target || d.seenSets != d.sets
}

// dcPass is one sync of one Deployment.
type dcPass struct {
	w    *World
	d    target
	all  [2 * maxTemplates]set
	n    int
	fail bool
}

// syncDeployment is one pass over the Deployment.
func (w *World) syncDeployment() {
	w.dc.seenTarget, w.dc.seenSets, w.dc.retry = w.dc.target, w.dc.sets, false
	p := dcPass{w: w, d: *w.target.at(w.dc.target)}
	if p.d.uid == 0 || w.target.live().uid != p.d.uid {
		return
	}
	cached := w.sets.at(w.dc.sets)
	for i := range cached.n {
		s := cached.list[i]
		if !s.labelled || s.owner != decide.OwnerTarget && s.owner != decide.OwnerWeir || s.ownerUID != p.d.uid {
			continue
		}
		if s.owner != decide.OwnerTarget && !p.write(&s, "adopts", func(s *set) { s.owner = decide.OwnerTarget }) {
			w.dc.retry = true
			return
		}
		p.all[p.n] = s
		p.n++
	}
	p.sync()
	w.dc.retry = w.dc.retry || p.fail
}

func (p *dcPass) sync() {
	if p.d.actsPaused != p.d.paused {
		// Its condition is written first, with the resourceVersion of its cache.
		if p.w.target.head != p.w.dc.target {
			p.fail = true
			return
		}
		p.w.target.next().actsPaused = p.d.paused
		p.w.touched = true
		p.w.log("deployment controller sees paused %t", p.d.paused)
		p.w.dc.target = p.w.target.head
	}
	if p.d.paused || p.isScalingEvent() {
		newSet := p.newSet(false)
		if p.fail {
			return
		}
		p.scale(newSet)
		if !p.fail && p.d.paused {
			p.cleanup(newSet)
		}
		p.status()
		return
	}
	newSet := p.newSet(true)
	if p.fail {
		return
	}
	if p.reconcileNew(newSet) {
		p.status()
		return
	}
	if p.reconcileOld(newSet) {
		p.status()
		return
	}
	if newSet != nil && newSet.size == p.d.replicas && newSet.available == p.d.replicas && p.total() == p.d.replicas {
		p.cleanup(newSet)
	}
	p.status()
}

// write changes a ReplicaSet by compare-and-swap, both the live one and the copy.
func (p *dcPass) write(s *set, what string, change func(*set)) bool {
	live := p.w.sets.live().byID(s.id)
	if live == nil || live.rv != s.rv {
		p.fail = true
		return false
	}
	before := *live
	change(s)
	s.rv++
	ns := p.w.sets.next().byID(s.id)
	change(ns)
	ns.rv++
	p.w.touched = true
	p.w.log("deployment controller %s %s: size %d", what, s.hash, ns.size)
	p.w.checkDeploymentWrite(&before, ns)
	return true
}

// status records that the generation was acted on.
func (p *dcPass) status() {
	if p.fail {
		return
	}
	live := p.w.target.live()
	pods := int32(0)
	for i := range p.n {
		pods += p.all[i].pods
	}
	if live.observed >= p.d.generation && live.statusReplicas == pods {
		return
	}
	t := p.w.target.next()
	t.observed = max(t.observed, p.d.generation)
	t.statusReplicas = pods
	p.w.touched = true
}

// byAge sorts as the controller does: by creation, then by name.
func byAge(a, b *set) int {
	if a.created != b.created {
		return int(a.created - b.created)
	}
	if a.hash.name() < b.hash.name() {
		return -1
	}
	return 1
}

// sorted are the sets for which keep is true, in an order.
func (p *dcPass) sorted(keep func(*set) bool, order func(a, b *set) int) []*set {
	list := make([]*set, 0, p.n)
	for i := range p.n {
		if keep(&p.all[i]) {
			list = append(list, &p.all[i])
		}
	}
	slices.SortStableFunc(list, order)
	return list
}

func active(s *set) bool { return s.size > 0 }

// newSet finds the oldest set with the Deployment's template, or makes one.
func (p *dcPass) newSet(create bool) *set {
	var found *set
	for i := range p.n {
		if s := &p.all[i]; s.hash.template == p.d.template && (found == nil || byAge(s, found) < 0) {
			found = s
		}
	}
	if found != nil {
		// It copies the Deployment's annotations to the set.
		if p.d.vetoed && !found.vetoed {
			p.write(found, "annotates", func(s *set) { s.vetoed = true })
		}
		return found
	}
	if !create {
		return nil
	}
	return p.create()
}

// create makes the new set, unless the veto refuses it.
func (p *dcPass) create() *set {
	h := hash{template: p.d.template}
	if p.d.vetoed {
		p.w.log("deployment controller may not create %s: vetoed", h)
		p.fail = true
		return nil
	}
	if p.w.sets.live().find(h) != nil {
		p.fail = true
		return nil
	}
	// As the real one does, in one write with the size that the rolling update
	// allows.
	size := max(0, min(p.d.replicas+p.w.cfg.Surge-p.total(), p.d.replicas))
	p.w.lastID++
	s := set{id: p.w.lastID, rv: 1, hash: h, owner: decide.OwnerTarget, labelled: true, ownerUID: p.d.uid,
		size: size, created: p.w.now.Unix(), desired: p.d.replicas, max: p.d.replicas + p.w.cfg.Surge}
	ns := p.w.sets.next()
	ns.list[ns.n] = s
	ns.n++
	p.all[p.n] = s
	p.n++
	p.w.touched = true
	p.w.log("deployment controller creates %s with size %d", h, size)
	p.w.checkDeploymentWrite(&set{hash: h}, &s)
	return &p.all[p.n-1]
}

// total is the size of all sets.
func (p *dcPass) total() int32 {
	n := int32(0)
	for i := range p.n {
		n += p.all[i].size
	}
	return n
}

// scaleTo sets the size of a set, with the annotations about the Deployment.
func (p *dcPass) scaleTo(s *set, size int32) {
	d, m := p.d.replicas, p.d.replicas+p.w.cfg.Surge
	if p.d.replicas == 0 {
		m = p.w.cfg.Surge
	}
	if s.size == size && s.desired == d && s.max == m {
		return
	}
	p.write(s, "scales", func(s *set) { s.size, s.desired, s.max = size, d, m })
}

// isScalingEvent: the Deployment's replicas have changed.
func (p *dcPass) isScalingEvent() bool {
	for i := range p.n {
		if s := &p.all[i]; active(s) && s.desired >= 0 && s.desired != p.d.replicas {
			return true
		}
	}
	return false
}

// scale sizes the sets while the Deployment is paused or is being scaled.
func (p *dcPass) scale(newSet *set) {
	if one := p.activeOrLatest(newSet); one != nil {
		if one.size != p.d.replicas {
			p.scaleTo(one, p.d.replicas)
		}
		return
	}
	if newSet != nil && newSet.size == p.d.replicas && newSet.desired == p.d.replicas && newSet.available == p.d.replicas {
		for i := range p.n {
			if s := &p.all[i]; s != newSet && active(s) && !p.fail {
				p.scaleTo(s, 0)
			}
		}
		return
	}
	p.proportion()
}

// activeOrLatest is the only active set; without any the new one, else the
// newest.
func (p *dcPass) activeOrLatest(newSet *set) *set {
	var only, latest *set
	n := 0
	for i := range p.n {
		s := &p.all[i]
		if active(s) {
			n, only = n+1, s
		}
		if latest == nil || s.created > latest.created {
			latest = s
		}
	}
	switch {
	case n == 1:
		return only
	case n > 1:
		return nil
	case newSet != nil:
		return newSet
	default:
		return latest
	}
}

// proportion spreads the replicas over several active sets.
func (p *dcPass) proportion() {
	allowed := int32(0)
	if p.d.replicas > 0 {
		allowed = p.d.replicas + p.w.cfg.Surge
	}
	add := allowed - p.total()
	order := func(a, b *set) int { // newer first on a tie
		if a.size != b.size {
			return int(b.size - a.size)
		}
		return byAge(b, a)
	}
	if add < 0 {
		order = func(a, b *set) int { // older first on a tie
			if a.size != b.size {
				return int(b.size - a.size)
			}
			return byAge(a, b)
		}
	}
	list := p.sorted(active, order)
	var want [2 * maxTemplates]int32
	added := int32(0)
	for i, s := range list {
		want[i] = s.size
		if add != 0 {
			share := p.share(s, add, added)
			want[i] += share
			added += share
		}
	}
	for i, s := range list {
		if i == 0 && add != 0 {
			want[0] = max(0, want[0]+add-added)
		}
		if !p.fail {
			p.scaleTo(s, want[i])
		}
	}
}

// share of a set in what is added or taken.
func (p *dcPass) share(s *set, add, added int32) int32 {
	if s.size == 0 || add == added {
		return 0
	}
	fraction := int32(0)
	if p.d.replicas == 0 {
		fraction = -s.size
	} else {
		before := s.max
		if before <= 0 {
			before = p.d.statusReplicas
		}
		if before > 0 {
			fraction = int32(math.Round(float64(s.size)*float64(p.d.replicas+p.w.cfg.Surge)/float64(before))) - s.size
		}
	}
	if add > 0 {
		return min(fraction, add-added)
	}
	return max(fraction, add-added)
}

// growth is the size that the rolling update allows the new set.
func (p *dcPass) growth(s *set) int32 {
	room := p.d.replicas + p.w.cfg.Surge - p.total()
	if room <= 0 {
		return s.size
	}
	return s.size + min(room, p.d.replicas-s.size)
}

// reconcileNew sizes the new set; true if it did.
func (p *dcPass) reconcileNew(s *set) bool {
	switch {
	case s == nil || s.size == p.d.replicas:
		return false
	case s.size > p.d.replicas:
		p.scaleTo(s, p.d.replicas)
		return true
	}
	if n := p.growth(s); n != s.size {
		p.scaleTo(s, n)
		return true
	}
	return false
}

// reconcileOld takes pods of old sets away; true if it did.
func (p *dcPass) reconcileOld(newSet *set) bool {
	old := p.sorted(func(s *set) bool { return s != newSet && active(s) }, byAge)
	if len(old) == 0 || newSet == nil {
		return false
	}
	least := p.d.replicas - p.w.cfg.Unavailable
	room := p.total() - least - (newSet.size - newSet.available)
	if room <= 0 {
		return false
	}
	scaled, cleaned := false, int32(0)
	for _, s := range old {
		if n := min(room-cleaned, s.size-s.available); n > 0 && !p.fail {
			p.scaleTo(s, s.size-n)
			cleaned += n
			scaled = true
		}
	}
	available := int32(0)
	for i := range p.n {
		available += p.all[i].available
	}
	take := available - least
	for _, s := range old {
		if n := min(take, s.size); n > 0 && !p.fail {
			p.scaleTo(s, s.size-n)
			take -= n
			scaled = true
		}
	}
	return scaled
}

// cleanup deletes the oldest empty sets beyond the history limit.
func (p *dcPass) cleanup(newSet *set) {
	old := p.sorted(func(s *set) bool { return s != newSet }, byAge)
	excess := len(old) - p.w.cfg.HistoryLimit
	for _, s := range old {
		if excess <= 0 {
			return
		}
		excess--
		live := p.w.sets.live().byID(s.id)
		if s.size != 0 || s.pods != 0 || live == nil || live.rv != s.rv {
			continue
		}
		p.w.sets.next().remove(s.id)
		p.w.touched = true
		p.w.log("deployment controller deletes %s from the history", s.hash)
	}
}
