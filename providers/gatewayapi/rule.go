package gatewayapi

import (
	"slices"

	"github.com/weir-dev/weir/providers"
)

// ref is one entry of a rule's backendRefs.
type ref struct {
	// service is the name of a Service in the route's namespace, empty for any
	// other kind of backend.
	service string
	weight  int64
	raw     map[string]any
}

// rule of a route, as it is.
type rule struct {
	index int
	name  string
	refs  []ref
	raw   map[string]any
}

// share of a rule's traffic: one entry of the user's, and the canary's entry
// that was split off it, if any. Indexes point into rule.refs.
type share struct {
	user, canary int // canary is -1 where there is none
	pair         *providers.Pair
	// orphan: the entry names the canary Service and has no partner, because
	// someone took the user's entry away.
	orphan bool
}

// view is a rule as one owner sees it.
type view struct {
	rule
	shares []share // one for each entry of the user's, in order
}

// readRules of a route's spec. Anything that is not of the expected form is
// passed over: the API server's schema admits none of it.
func readRules(spec map[string]any, namespace string) []rule {
	list, _ := spec["rules"].([]any)
	rules := make([]rule, 0, len(list))
	for i, item := range list {
		raw, _ := item.(map[string]any)
		name, _ := raw["name"].(string)
		refs, _ := raw["backendRefs"].([]any)
		r := rule{index: i, name: name, raw: raw}
		for _, b := range refs {
			entry, _ := b.(map[string]any)
			r.refs = append(r.refs, readRef(entry, namespace))
		}
		rules = append(rules, r)
	}
	return rules
}

// readRef reads one entry, with the API's defaults.
func readRef(raw map[string]any, namespace string) ref {
	out := ref{raw: raw, weight: 1}
	if w, ok := raw["weight"].(int64); ok {
		out.weight = w
	}
	text := func(key, absent string) string {
		if s, ok := raw[key].(string); ok {
			return s
		}
		return absent
	}
	if text("group", "") == "" && text("kind", "Service") == "Service" && text("namespace", namespace) == namespace {
		out.service = text("name", "")
	}
	return out
}

// viewOf pairs the entries of a rule: of each pair of Services, the first
// entry of stable with the first of canary, and so on.
func viewOf(r rule, pairs []providers.Pair) view {
	v := view{rule: r}
	waiting := map[string][]int{} // entries of each canary Service, in order
	for i, b := range r.refs {
		if canaryOf(pairs, b.service) != nil {
			waiting[b.service] = append(waiting[b.service], i)
		}
	}
	for i, b := range r.refs {
		if canaryOf(pairs, b.service) != nil {
			continue
		}
		s := share{user: i, canary: -1, pair: stableOf(pairs, b.service)}
		if s.pair != nil && len(waiting[s.pair.Canary]) > 0 {
			s.canary = waiting[s.pair.Canary][0]
			waiting[s.pair.Canary] = waiting[s.pair.Canary][1:]
		}
		v.shares = append(v.shares, s)
	}
	for _, list := range waiting {
		for _, i := range list {
			v.shares = append(v.shares, share{user: i, canary: -1, pair: canaryOf(pairs, r.refs[i].service), orphan: true})
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

// total is what an entry of the user's and its canary weigh together.
func (v view) total(s share) int64 {
	w := v.refs[s.user].weight
	if s.canary >= 0 {
		w += v.refs[s.canary].weight
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
// entries of the pairs. Entries that carry no traffic at all do not count.
func (v view) exposure(hint int32) (lowest, highest int32) {
	lowest = -1
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
			canary = v.refs[s.canary].weight
		}
		w := shareOf(canary, total, hint)
		highest = max(highest, w)
		if lowest < 0 || w < lowest {
			lowest = w
		}
	}
	return max(lowest, 0), highest
}

// base is the user's weights of the rule. Of a rule with a split they are those
// of the record that fits it best: same name, same place, any other. Without
// one they are inferred.
func (v view) base(records []original, hint int32) []int64 {
	totals, owned := v.totals()
	if !v.split() {
		return totals
	}
	best, bestRank := totals, 0
	for _, r := range records {
		if !fits(r.Weights, totals) {
			continue
		}
		rank := 1
		if r.Rule == v.index {
			rank = 2
		}
		if r.Name == v.name && v.name != "" {
			rank = 3
		}
		if rank > bestRank {
			best, bestRank = r.Weights, rank
		}
	}
	if bestRank == 0 {
		_, highest := v.exposure(hint)
		return unscale(totals, owned, int64(highest))
	}
	return best
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
