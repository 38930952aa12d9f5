package gatewayapi

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
)

// maxBackends is the most entries that a rule may have.
const maxBackends = 16

// unsupported finds what keeps the route from carrying a split at weight, in
// every rule that the owner asked for. Before the pairs are discovered only
// what does not depend on them is looked at.
func (r *route) unsupported(weight int32) error {
	if refs, _ := r.spec("parentRefs").([]any); len(refs) == 0 {
		return r.refuse("spec.parentRefs", "is empty, so nothing serves this route", "name a Gateway, or a Service of the mesh")
	}
	if err := r.namedRules(); err != nil {
		return err
	}
	if len(r.pairs) == 0 {
		return nil
	}
	found := false
	for _, v := range r.views {
		if !r.selected(v) {
			continue
		}
		found = true
		if err := r.unsupportedRule(v, weight); err != nil {
			return err
		}
	}
	if !found {
		return r.refuse("spec.rules", "no rule has a backend among the Services "+r.stableNames(),
			"name one as a backend, or correct spec.traffic.routeRefs of the Rollout")
	}
	return nil
}

// namedRules checks that every rule that was asked for by name is there and, as
// soon as the pairs are known, is the workload's.
func (r *route) namedRules() error {
	for _, name := range r.ref.RuleNames {
		i := slices.IndexFunc(r.views, func(v view) bool { return v.name == name })
		if i < 0 {
			return r.refuse("spec.rules[].name", fmt.Sprintf("no rule has the name %q; there are %s", name, r.ruleNames()),
				"name the rule, or correct ruleNames of the Rollout")
		}
		if len(r.pairs) > 0 && !r.views[i].ours() {
			return r.refuse(rulePath(r.views[i], "backendRefs"), "has no backend among the Services "+r.stableNames(),
				"name one as a backend, or take the rule out of ruleNames of the Rollout")
		}
	}
	return nil
}

// unsupportedRule finds what keeps one rule from carrying the split.
func (r *route) unsupportedRule(v view, weight int32) error {
	if v.raw["sessionPersistence"] != nil {
		return r.refuse(rulePath(v, "sessionPersistence"), "pins sessions to a backend, so that weights do not move them",
			"remove it for the time of releases, or leave the rule out of ruleNames of the Rollout")
	}
	if other := r.otherOwner(v); other != "" {
		return r.refuse(rulePath(v, "backendRefs"), fmt.Sprintf("is split by Rollout %q already", other),
			"give each Rollout a rule of its own")
	}
	adds := 0
	for _, s := range v.shares {
		if s.pair != nil && s.canary < 0 && !s.orphan {
			adds++
		}
	}
	if len(v.refs)+adds > maxBackends {
		return r.refuse(rulePath(v, "backendRefs"), fmt.Sprintf("has %d backends, which leaves no room for the canary's: a rule has at most %d", len(v.refs), maxBackends),
			"merge backends of the rule, or divide the rule")
	}
	return r.unsupportedWeights(v, weight)
}

// unsupportedWeights finds weights that cannot be split finely enough.
func (r *route) unsupportedWeights(v view, weight int32) error {
	base := r.base(v)
	_, owned := v.totals()
	mine := pick(base, owned)
	if !v.weighs() {
		return r.refuse(rulePath(v, "backendRefs[].weight"), "is 0 for "+r.stableNames()+", so that no traffic can be split",
			"give the backend a weight, or leave the rule out of ruleNames of the Rollout")
	}
	most := limit(base)
	f := factor(base, mine, int64(weight))
	for _, w := range mine {
		finest := tooFine(w, most, f, weight)
		if w > 0 && finest > 0 {
			return r.refuse(rulePath(v, "backendRefs[].weight"),
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
		if s.Owner == r.owner || !s.covers(v.name) {
			continue
		}
		if slices.ContainsFunc(v.refs, func(b ref) bool { return b.service == s.Canary || b.service == s.Stable }) {
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
		if v.name != "" {
			names = append(names, v.name)
		}
	}
	if len(names) == 0 {
		return "none with a name"
	}
	return strings.Join(names, ", ")
}

// spec gives a field of the route's spec, nil where there is none.
func (r *route) spec(field string) any {
	spec, _ := r.object.Object["spec"].(map[string]any)
	return spec[field]
}
