package split

import (
	"fmt"
	"strings"

	"gomodules.xyz/jsonpatch/v2"
)

// Extras are carried by what Weir adds to a route beside weights: rules of its own
// for requests that match, which it knows by their names, and entries that mirror
// to the canary's Services. They are told apart from what the user wrote by that
// alone, so that nothing has to be recorded.

// matchedName is the name of the rule that stands for rule index of the user's.
func matchedName(index int, owner string) string { return fmt.Sprintf("weir-%d-%s", index, owner) }

// madeFor is the owner for whom Weir made a rule of this name, empty for a rule of
// the user's.
func madeFor(name string) string {
	rest, ok := strings.CutPrefix(name, "weir-")
	if !ok {
		return ""
	}
	number, owner, _ := strings.Cut(rest, "-")
	if number == "" || strings.Trim(number, "0123456789") != "" {
		return ""
	}
	return owner
}

// carrying is how much of the extras a route carries.
type carrying struct{ some, whole, stray bool }

// carries tells how much of the target's extras the route carries.
func (r *route) carriesExtras() carrying {
	c := carrying{whole: r.extras.ID() != "", stray: r.strayRule() != nil}
	for i := range r.views {
		v := &r.views[i]
		if want := r.matched(v); want != nil {
			have := r.matchedRule(v)
			c.some = c.some || have != nil && r.keeps(v, have, want)
			c.whole = c.whole && have != nil && r.placed(v, have) && within(want, have.Raw)
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

// matched is the rule that ought to stand for one of the user's, nil for none.
func (r *route) matched(v *view) map[string]any {
	if r.extras == nil || len(r.extras.Matches) == 0 || !r.selected(*v) {
		return nil
	}
	raw, _ := r.dialect.Matched(v.Rule, matchedName(v.index, r.owner), r.twins(v), r.extras)
	return raw
}

// matchedRule is the rule that stands for one of the user's, nil for none.
func (r *route) matchedRule(v *view) *Rule {
	for i := range r.made {
		if r.made[i].Name == matchedName(v.index, r.owner) && r.made[i].List == v.List {
			return &r.made[i]
		}
	}
	return nil
}

// keeps says whether a rule that Weir made is for no other requests than it is to
// be, whatever else of it is outdated.
func (r *route) keeps(v *view, have *Rule, want map[string]any) bool {
	kind := r.dialect.Kind()
	return r.placed(v, have) && within(want[kind.Matches], have.Raw[kind.Matches]) && within(want[v.Entries], have.Raw[v.Entries])
}

// placed says whether a rule that Weir made comes before the one that it was made
// from, where that counts.
func (r *route) placed(v *view, have *Rule) bool {
	return !r.dialect.Kind().FirstWins || have.Place == v.Place-1
}

// strayRule is a rule that Weir made and that is for other requests than any is to
// be, nil for none.
func (r *route) strayRule() *Rule {
	for i := range r.made {
		made, kept := &r.made[i], false
		for j := range r.views {
			v := &r.views[j]
			if r.matchedRule(v) != made {
				continue // Before the rule that is wanted is made, which is work.
			}
			want := r.matched(v)
			kept = want != nil && r.keeps(v, made, want)
		}
		if !kept {
			return made
		}
	}
	return nil
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

// takeExtras gives operations that take away one thing which the extras do not
// say, none where there is none.
func (r *route) takeExtras() []jsonpatch.Operation {
	if rule := r.strayRule(); rule != nil {
		at := rulePointer(*rule)
		return []jsonpatch.Operation{
			jsonpatch.NewOperation("test", at+"/name", rule.Name),
			jsonpatch.NewOperation("remove", at, nil),
		}
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

// giveExtras gives operations that add to one rule what the extras say, none where
// nothing is missing.
func (r *route) giveExtras() []jsonpatch.Operation {
	for i := range r.views {
		v := &r.views[i]
		if ops := r.giveRule(v); len(ops) > 0 {
			return ops
		}
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

// giveRule gives operations that make the rule for one of the user's, or bring it
// up to date.
func (r *route) giveRule(v *view) []jsonpatch.Operation {
	want, have := r.matched(v), r.matchedRule(v)
	switch {
	case want == nil:
		return nil
	case have == nil:
		at := strings.TrimSuffix(rulePointer(v.Rule), fmt.Sprint(v.Place))
		if !r.dialect.Kind().FirstWins {
			return v.tested([]jsonpatch.Operation{jsonpatch.NewOperation("add", at+"-", want)})
		}
		return v.tested([]jsonpatch.Operation{jsonpatch.NewOperation("add", fmt.Sprintf("%s%d", at, v.Place), want)})
	case within(want, have.Raw):
		return nil
	default:
		at := rulePointer(*have)
		return []jsonpatch.Operation{
			jsonpatch.NewOperation("test", at+"/name", have.Name),
			jsonpatch.NewOperation("replace", at, want),
		}
	}
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
		if _, refusal := r.dialect.Matched(v.Rule, matchedName(v.index, r.owner), r.twins(v), e); refusal != nil {
			return refusal
		}
	}
	return nil
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
