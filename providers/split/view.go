package split

import (
	"slices"

	"github.com/weir-dev/weir/providers"
)

// share of a rule's traffic: one entry of the user's, and the canary's entry
// that was split off it, if any. Indexes point into Rule.Backends.
type share struct {
	user, canary int // canary is -1 where there is none
	pair         *providers.Pair
	// orphan: the entry names the canary Service and has no partner, because
	// someone took the user's entry away.
	orphan bool
}

// view is a rule as one owner sees it.
type view struct {
	Rule
	// index of the rule among all of the object.
	index  int
	shares []share // one for each entry of the user's, in order
	pairs  []providers.Pair
}

// viewOf pairs the entries of a rule: of each pair of Services, the first
// entry of stable with the first of canary, and so on.
func viewOf(r Rule, index int, pairs []providers.Pair) view {
	v := view{Rule: r, index: index, pairs: pairs}
	waiting := map[string][]int{} // entries of each canary Service, in order
	for i, b := range r.Backends {
		if canaryOf(pairs, b.Service) != nil {
			waiting[b.Service] = append(waiting[b.Service], i)
		}
	}
	for i, b := range r.Backends {
		if canaryOf(pairs, b.Service) != nil {
			continue
		}
		s := share{user: i, canary: -1, pair: stableOf(pairs, b.Service)}
		if s.pair != nil && len(waiting[s.pair.Canary]) > 0 {
			s.canary = waiting[s.pair.Canary][0]
			waiting[s.pair.Canary] = waiting[s.pair.Canary][1:]
		}
		v.shares = append(v.shares, s)
	}
	for _, list := range waiting {
		for _, i := range list {
			v.shares = append(v.shares, share{user: i, canary: -1, pair: canaryOf(pairs, r.Backends[i].Service), orphan: true})
		}
	}
	slices.SortFunc(v.shares, func(a, b share) int { return a.user - b.user })
	return v
}

// stableOf is the pair whose stable Service this is, or nil.
func stableOf(pairs []providers.Pair, service string) *providers.Pair {
	i := slices.IndexFunc(pairs, func(p providers.Pair) bool { return service != "" && p.Stable == service })
	if i < 0 {
		return nil
	}
	return &pairs[i]
}

// canaryOf is the pair whose canary Service this is, or nil.
func canaryOf(pairs []providers.Pair, service string) *providers.Pair {
	i := slices.IndexFunc(pairs, func(p providers.Pair) bool { return service != "" && p.Canary == service })
	if i < 0 {
		return nil
	}
	return &pairs[i]
}

// ours is true when the rule has a backend of the pairs.
func (v view) ours() bool {
	return slices.ContainsFunc(v.shares, func(s share) bool { return s.pair != nil })
}

// split is true when the rule carries a backend of Weir's.
func (v view) split() bool {
	return slices.ContainsFunc(v.shares, func(s share) bool { return s.canary >= 0 || s.orphan })
}

// mirrored is true when the rule mirrors to a canary of the pairs.
func (v view) mirrored() bool {
	return slices.ContainsFunc(v.Mirrors, func(m Mirror) bool { return canaryOf(v.pairs, m.Service) != nil })
}

// total is what an entry of the user's and its canary weigh together.
func (v view) total(s share) int64 {
	w := v.Backends[s.user].Weight
	if s.canary >= 0 {
		w += v.Backends[s.canary].Weight
	}
	return w
}

// totals of all shares, and which of them are split.
func (v view) totals() (totals []int64, owned []bool) {
	for _, s := range v.shares {
		totals = append(totals, v.total(s))
		owned = append(owned, s.pair != nil)
	}
	return totals, owned
}

// weighs is true when an entry of the pairs carries traffic.
func (v view) weighs() bool {
	return slices.ContainsFunc(v.shares, func(s share) bool { return s.pair != nil && v.total(s) > 0 })
}

// exposure is the lowest and the highest share of the canary in the rule's
// entries of the pairs. Entries that carry no traffic at all do not count. hint
// is the share that was asked for, -1 for none.
func (v view) exposure(hint int32) (lowest, highest int32) {
	lowest = -1
	if !v.coarse() {
		hint = -1
	}
	for _, s := range v.shares {
		total := v.total(s)
		if s.pair == nil || total == 0 {
			continue
		}
		canary := int64(0)
		switch {
		case s.orphan:
			canary = total
		case s.canary >= 0:
			canary = v.Backends[s.canary].Weight
		}
		w := shareOf(canary, total, hint)
		highest = max(highest, w)
		if lowest < 0 || w < lowest {
			lowest = w
		}
	}
	return max(lowest, 0), highest
}

// coarse is true when the rule's weights are as large as they may be, so that not
// every share of them is a whole number. In a rule that Weir wrote, all other
// shares are exact, and one that is not is not what was asked for.
func (v view) coarse() bool {
	totals, _ := v.totals()
	return 2*slices.Max(append(totals, 0)) > maxWeight
}

// base is the user's weights of the rule. Of a rule with a split they are those
// of the record that fits it best: same name, same place, any other. Without
// one they are inferred.
func (v view) base(records []original, hint int32) original {
	if !v.split() {
		return v.asWritten()
	}
	totals, owned := v.totals()
	as := original{Rule: v.index, Name: v.Name, Weights: totals}
	bestRank := 0
	for _, r := range records {
		if !fits(r.Weights, totals) {
			continue
		}
		rank := 1
		if r.Rule == v.index {
			rank = 2
		}
		if r.Name == v.Name && v.Name != "" {
			rank = 3
		}
		if rank > bestRank {
			as.Weights, as.Unset, as.Zero, bestRank = r.Weights, r.Unset, r.Zero, rank
		}
	}
	if bestRank == 0 {
		_, highest := v.exposure(hint)
		as.Weights = unscale(totals, owned, int64(highest))
	}
	return as
}

// asWritten is the user's weights of a rule without a split.
func (v view) asWritten() original {
	as := original{Rule: v.index, Name: v.Name}
	for i, s := range v.shares {
		b := v.Backends[s.user]
		as.Weights = append(as.Weights, b.Weight)
		if b.Unset {
			as.Unset = append(as.Unset, i)
		}
		if b.Zero {
			as.Zero = append(as.Zero, i)
		}
	}
	return as
}

// fits is true when totals are the weights times one factor.
func fits(weights, totals []int64) bool {
	if len(weights) != len(totals) {
		return false
	}
	var factor int64
	for i, w := range weights {
		if w == 0 && totals[i] == 0 {
			continue
		}
		if w <= 0 || totals[i]%w != 0 || factor != 0 && totals[i]/w != factor {
			return false
		}
		factor = totals[i] / w
	}
	return true
}
