package split

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
)

// unsupported finds what keeps the route from carrying a split at weight, in
// every rule that the owner asked for. Before the pairs are discovered only
// what does not depend on them is looked at.
func (r *route) unsupported(weight int32) error {
	var rules []Rule
	for _, v := range r.views {
		if r.selected(v) {
			rules = append(rules, v.Rule)
		}
	}
	if refusal := r.dialect.Refuse(r.object, rules); refusal != nil {
		return refusal.of(r.String())
	}
	if err := r.namedRules(); err != nil {
		return err
	}
	if len(r.pairs) == 0 {
		return nil
	}
	for _, v := range r.views {
		if !r.selected(v) {
			continue
		}
		if err := r.unsupportedRule(v, weight); err != nil {
			return err
		}
	}
	if len(rules) == 0 {
		return r.refuse(r.where(), "no rule has a backend among the Services "+r.stableNames(),
			"name one as a backend, or correct spec.traffic.routeRefs of the Rollout")
	}
	if err := r.tooManyRules(len(rules)); err != nil {
		return err
	}
	return r.tooManyMatches()
}

// tooManyRules says that there is no room for rules of Weir's own, where sessions or
// a step need some for each that is split.
func (r *route) tooManyRules(split int) error {
	most, each, what := r.dialect.Kind().MaxRules, 0, "matches out of the steps"
	if slices.ContainsFunc(r.planned, func(e *v1alpha1.Extras) bool { return len(e.Matches) > 0 }) {
		each++
	}
	if r.session != nil {
		each += len(kinds()) - 1
		what = "sessionAffinity out of spec.traffic"
	}
	if most == 0 || each == 0 || len(r.views)+split*each <= most {
		return nil
	}
	return r.refuse(r.where(), fmt.Sprintf("has %d rules, of which %d need %d of Weir's beside each for matches and sessions: a route has at most %d", len(r.views), split, each, most),
		"take "+what+", divide the route, or name fewer rules in ruleNames of the Rollout")
}

// tooManyMatches says that rules of Weir's own would have more matches with the user's
// than a route may have.
func (r *route) tooManyMatches() error {
	most, all := r.dialect.Kind().MaxMatches, 0
	for i := range r.views {
		own := len(matchesOf(&r.views[i], r.dialect.Kind().Matches))
		all += own
		if !r.selected(r.views[i]) {
			continue
		}
		if r.session != nil {
			all += own * (len(kinds()) - 1)
		}
		all += r.mostMatched(&r.views[i])
	}
	if most == 0 || all <= most {
		return nil
	}
	return r.refuse(r.where(), fmt.Sprintf("would have %d matches with those of Weir's rules for matches and sessions: a route has at most %d", all, most),
		"take matches out of the steps, or sessionAffinity out of spec.traffic, or divide the route")
}

// mostMatched is the most matches that the rule for a planned step has beside one of
// the user's.
func (r *route) mostMatched(v *view) int {
	most := 0
	for _, e := range r.planned {
		if len(e.Matches) == 0 {
			continue
		}
		raw, _ := r.matchedRule(v, e)
		list, _ := raw[r.dialect.Kind().Matches].([]any)
		most = max(most, len(list))
	}
	return most
}

// namedRules checks that every rule that was asked for by name is there and, as
// soon as the pairs are known, is the workload's.
func (r *route) namedRules() error {
	for _, name := range r.ref.RuleNames {
		i := slices.IndexFunc(r.views, func(v view) bool { return v.Name == name })
		if i < 0 {
			return r.refuse(r.where()+"[].name", fmt.Sprintf("no rule has the name %q; there are %s", name, r.ruleNames()),
				"name the rule, or correct ruleNames of the Rollout")
		}
		if len(r.pairs) > 0 && !r.views[i].ours() {
			return r.refuse(RulePath(r.views[i].Rule, r.views[i].Entries), "has no backend among the Services "+r.stableNames(),
				"name one as a backend, or take the rule out of ruleNames of the Rollout")
		}
	}
	return nil
}

// unsupportedRule finds what keeps one rule from carrying the split.
func (r *route) unsupportedRule(v view, weight int32) error {
	if other := r.otherOwner(v); other != "" {
		return r.refuse(RulePath(v.Rule, v.Entries), fmt.Sprintf("is split by Rollout %q already", other),
			"give each Rollout a rule of its own")
	}
	if refusal := r.refuseExtras(&v); refusal != nil {
		return refusal.of(r.String())
	}
	if refusal := r.refuseSession(&v); refusal != nil {
		return refusal.of(r.String())
	}
	adds := 0
	for _, s := range v.shares {
		if s.pair != nil && s.canary < 0 && !s.orphan {
			adds++
		}
	}
	if most := r.dialect.Kind().MaxBackends; most > 0 && len(v.Backends)+adds > most {
		return r.refuse(RulePath(v.Rule, v.Entries), fmt.Sprintf("has %d backends, which leaves no room for the canary's: a rule has at most %d", len(v.Backends), most),
			"merge backends of the rule, or divide the rule")
	}
	return r.unsupportedWeights(v, weight)
}

// unsupportedWeights finds weights that cannot be split finely enough.
func (r *route) unsupportedWeights(v view, weight int32) error {
	base := r.base(v).Weights
	_, owned := v.totals()
	mine := pick(base, owned)
	if !v.weighs() {
		return r.refuse(RulePath(v.Rule, v.Entries+"[].weight"), "is 0 for "+r.stableNames()+", so that no traffic can be split",
			"give the backend a weight, or leave the rule out of ruleNames of the Rollout")
	}
	most := limit(base)
	f := factor(base, mine, int64(weight))
	for _, w := range mine {
		finest := tooFine(w, most, f, weight)
		if w > 0 && finest > 0 {
			return r.refuse(RulePath(v.Rule, v.Entries+"[].weight"),
				fmt.Sprintf("is %d next to %d, which can be split into %d parts only: too few for %s of it", w, slices.Max(base), w*most, v1alpha1.FormatWeight(finest)),
				"write smaller weights in the same ratio")
		}
	}
	return nil
}

// tooFine is the share that an entry of weight w cannot give, 0 if it can give
// what is asked for: weight itself, if factor f would round it to nothing or to
// everything, or else the finest that every entry must be able to give.
func tooFine(w, most, f int64, weight int32) int32 {
	c := part(w*f, int64(weight))
	switch {
	case weight > 0 && c == 0, int64(weight) < full && c == w*f:
		return max(weight, 1)
	case w*most < minParts:
		return minShare
	}
	return 0
}

// otherOwner is another Rollout that splits this rule, if there is one.
func (r *route) otherOwner(v view) string {
	for _, s := range r.splits {
		if s.Owner == r.owner || !s.covers(v.Name) {
			continue
		}
		if slices.ContainsFunc(v.Backends, func(b Backend) bool { return b.Service == s.Canary || b.Service == s.Stable }) {
			return s.Owner
		}
	}
	return ""
}

// refuse makes the error about this route.
func (r *route) refuse(field, problem, remedy string) error {
	return &providers.UnsupportedError{Object: r.String(), Field: field, Problem: problem, Remedy: remedy}
}

// stableNames of the pairs, for messages.
func (r *route) stableNames() string {
	var names []string
	for _, p := range r.pairs {
		names = append(names, p.Stable)
	}
	return strings.Join(names, ", ")
}

// ruleNames of the route, for messages.
func (r *route) ruleNames() string {
	var names []string
	for _, v := range r.views {
		if v.Name != "" {
			names = append(names, v.Name)
		}
	}
	if len(names) == 0 {
		return "none with a name"
	}
	return strings.Join(names, ", ")
}

// where are the fields that hold the route's rules, for messages.
func (r *route) where() string {
	lists := listsOf(r.views)
	for i, list := range lists {
		lists[i] = "spec." + list
	}
	return cmp.Or(strings.Join(lists, ", "), "spec")
}
