package split

import (
	"fmt"
	"strings"

	"gomodules.xyz/jsonpatch/v2"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
)

// Extras are carried by what Weir adds to a route beside weights: rules of its own
// for requests that match, and entries that mirror to the canary's Services. They are
// told apart from what the user wrote by their names and by their Services alone, so
// that nothing has to be recorded.

// carrying is how much of the extras a route carries, and whether it lacks anything
// of the session.
type carrying struct{ some, whole, stray, loose bool }

// carriesExtras tells how much of the target's extras and session the route carries.
func (r *route) carriesExtras() carrying {
	c := carrying{whole: r.extras.ID() != "", stray: len(r.strayRules()) > 0}
	for i := range r.views {
		v := &r.views[i]
		c.loose = c.loose || r.loose(v)
		if want, have := r.wanted(v)[matched], r.madeRule(v, matched); want != nil {
			c.some = c.some || have != nil && r.keeps(v, have, want)
			c.whole = c.whole && r.exact(v, have, want)
		}
		missing, stray := r.mirrors(v)
		c.stray = c.stray || len(stray) > 0
		c.some = c.some || len(r.wantedMirrors(v)) > len(missing)
		c.whole = c.whole && len(missing) == 0
	}
	return c
}

// twins of the rule's entries of the pairs, for the canary alone, in the ratio in
// which the user wrote them.
func (r *route) twins(v *view) []Twin {
	var out []Twin
	base := r.base(*v).Weights
	for i, s := range v.shares {
		if s.pair != nil && base[i] > 0 {
			out = append(out, Twin{From: s.user, Service: s.pair.Canary, Weight: base[i]})
		}
	}
	return out
}

// wantedMirrors are the entries by which a rule ought to mirror to the canary.
func (r *route) wantedMirrors(v *view) []map[string]any {
	if r.extras == nil || r.extras.Mirror == nil || !r.selected(*v) {
		return nil
	}
	var out []map[string]any
	for _, t := range r.twins(v) {
		if raw, refusal := r.dialect.Mirrored(v.Rule, t, r.extras.Mirror.Weight); refusal == nil {
			out = append(out, raw)
		}
	}
	return out
}

// mirrors tells which entries that mirror to the canary a rule lacks, and which it
// has and ought not to.
func (r *route) mirrors(v *view) (missing []map[string]any, stray []Mirror) {
	missing = r.wantedMirrors(v)
	for _, m := range v.Mirrors {
		if canaryOf(r.pairs, m.Service) == nil {
			continue
		}
		found := false
		for i, want := range missing {
			if within(want, m.Raw) {
				missing, found = append(missing[:i:i], missing[i+1:]...), true
				break
			}
		}
		if !found {
			stray = append(stray, m)
		}
	}
	return missing, stray
}

// takeExtras gives operations that take away what the extras and the session do not
// say: all rules, or else one mirror. None where there is nothing.
func (r *route) takeExtras() []jsonpatch.Operation {
	if ops := r.takeRules(); len(ops) > 0 {
		return ops
	}
	for i := range r.views {
		v := &r.views[i]
		_, stray := r.mirrors(v)
		if len(stray) == 0 {
			continue
		}
		m := stray[0]
		list := rulePointer(v.Rule) + "/" + v.Mirroring
		entry := fmt.Sprintf("%s/%d", list, m.Place)
		ops := []jsonpatch.Operation{jsonpatch.NewOperation("test", entry, m.Raw)}
		if m.Length == 1 { // The user wrote none.
			return append(ops, jsonpatch.NewOperation("remove", list, nil))
		}
		return append(ops, jsonpatch.NewOperation("remove", entry, nil))
	}
	return nil
}

// giveMirrors gives operations that add the mirrors to one rule that lacks some, none
// where nothing is missing.
func (r *route) giveMirrors() []jsonpatch.Operation {
	for i := range r.views {
		v := &r.views[i]
		missing, _ := r.mirrors(v)
		if len(missing) == 0 {
			continue
		}
		var ops []jsonpatch.Operation
		list := rulePointer(v.Rule) + "/" + v.Mirroring
		if _, there := v.Raw[v.Mirroring].([]any); !there {
			ops = append(ops, jsonpatch.NewOperation("add", list, []any{}))
		}
		for _, raw := range missing {
			ops = append(ops, jsonpatch.NewOperation("add", list+"/-", raw))
		}
		return v.tested(ops)
	}
	return nil
}

// tested puts a test of the rule's name, where it has one, before operations.
func (v *view) tested(ops []jsonpatch.Operation) []jsonpatch.Operation {
	if v.Name == "" {
		return ops
	}
	return append([]jsonpatch.Operation{jsonpatch.NewOperation("test", rulePointer(v.Rule)+"/name", v.Name)}, ops...)
}

// rulePointer is the JSON pointer of a rule.
func rulePointer(r Rule) string {
	return fmt.Sprintf("/%s/%d", strings.ReplaceAll(r.List, ".", "/"), r.Place)
}

// within says whether everything that is wanted is there. API servers add defaults,
// and turn numbers into others of the same value.
func within(want, have any) bool {
	switch want := want.(type) {
	case map[string]any:
		have, ok := have.(map[string]any)
		if !ok {
			return false
		}
		for key, value := range want {
			if !within(value, have[key]) {
				return false
			}
		}
		return true
	case []any:
		have, ok := have.([]any)
		if !ok || len(have) != len(want) {
			return false
		}
		for i := range want {
			if !within(want[i], have[i]) {
				return false
			}
		}
		return true
	default:
		return want == have || fmt.Sprint(want) == fmt.Sprint(have)
	}
}

// matchedRule is the rule for requests that meet a match of extras, or why the API
// cannot have it.
func (r *route) matchedRule(v *view, extras *v1alpha1.Extras) (map[string]any, *Refusal) {
	extras = withSession(extras, r.session)
	return r.dialect.Matched(v.Rule, matched.name(v.index, r.owner), r.twins(v), extras)
}

// withSession adds to matches of the query alone the same ones with the cookie of a
// session: rules for sessions have a header more, which elsewhere counts before the
// query.
func withSession(extras *v1alpha1.Extras, s *providers.Session) *v1alpha1.Extras {
	if s == nil {
		return extras
	}
	out := *extras
	for _, m := range extras.Matches {
		if len(m.Headers) == 0 && len(m.Cookies) == 0 {
			m.Cookies = []v1alpha1.ValueMatch{{Type: v1alpha1.MatchRegularExpression, Name: s.Cookie, Value: ".*"}}
			out.Matches = append(out.Matches[:len(out.Matches):len(out.Matches)], m)
		}
	}
	return &out
}

// refuseExtras says what keeps a rule from carrying extras that are planned.
func (r *route) refuseExtras(v *view) *Refusal {
	for _, e := range r.planned {
		for _, t := range r.twins(v) {
			if e.Mirror == nil {
				break
			}
			if _, refusal := r.dialect.Mirrored(v.Rule, t, e.Mirror.Weight); refusal != nil {
				return refusal
			}
		}
		if len(e.Matches) == 0 {
			continue
		}
		if _, refusal := r.matchedRule(v, e); refusal != nil {
			return refusal
		}
		if other := r.overruled(v, withSession(e, r.session).Matches); other != nil {
			return &Refusal{
				Field:   RulePath(other.Rule, r.dialect.Kind().Matches),
				Problem: fmt.Sprintf("counts before rule %d, but not before the rule for the matches of a step, which asks for more: requests would go there", v.Place),
				Remedy:  "match more headers in it, or take the matches out of the steps",
			}
		}
	}
	return nil
}
