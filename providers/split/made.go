package split

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gomodules.xyz/jsonpatch/v2"
)

// Rules that Weir makes stand beside one of the user's, and are told apart from
// those by their names alone. Each kind is made for some of the requests of that rule.

// kind of a rule that Weir makes, as it stands in the rule's name. Of two that a
// request meets, the one that is named first here counts.
type kind string

const (
	// matched is for requests that meet a match of the step.
	matched kind = ""
	// keepCanary and keepStable are for users that were drawn for the canary, and for
	// stable at the present weight.
	keepCanary, keepStable kind = "c", "s"
	// drawAgain is for users that were drawn for stable at another weight.
	drawAgain kind = "r"
	// draw is for all others. It takes the place of the user's rule, whose entries
	// thereby stay free of cookies.
	draw kind = "d"
)

// kinds in the order in which they count.
func kinds() []kind { return []kind{matched, keepCanary, keepStable, drawAgain, draw} }

// name of the rule of a kind that is made for rule index of the user's.
func (k kind) name(index int, owner string) string {
	return fmt.Sprintf("weir-%d%s-%s", index, k, owner)
}

// madeFor is the owner for whom Weir made a rule of this name, empty for a rule of
// the user's.
func madeFor(name string) string {
	rest, ok := strings.CutPrefix(name, "weir-")
	if !ok {
		return ""
	}
	number, owner, _ := strings.Cut(rest, "-")
	letter := strings.TrimLeft(number, "0123456789")
	if letter == number || !slices.Contains(kinds(), kind(letter)) {
		return ""
	}
	return owner
}

// madeRule is the rule of a kind that was made for one of the user's, nil for none.
func (r *route) madeRule(v *view, k kind) *Rule {
	for i := range r.made {
		if r.made[i].Name == k.name(v.index, r.owner) && r.made[i].List == v.List {
			return &r.made[i]
		}
	}
	return nil
}

// source finds for which rule of the user's, and as what, a rule was made.
func (r *route) source(made *Rule) (*view, kind) {
	for i := range r.views {
		for _, k := range kinds() {
			if r.madeRule(&r.views[i], k) == made {
				return &r.views[i], k
			}
		}
	}
	return nil, ""
}

// wanted are the rules that ought to be made for one of the user's.
func (r *route) wanted(v *view) map[kind]map[string]any {
	if !r.selected(*v) {
		return nil
	}
	want := map[kind]map[string]any{}
	if r.session.Keeps() {
		want, _ = r.sessionRules(v, r.session)
	}
	if r.extras != nil && len(r.extras.Matches) > 0 {
		want[matched], _ = r.matchedRule(v, r.extras)
	}
	return want
}

// before says whether rules of a kind stand right before the user's rule: where the
// first counts that is met, and where two say the same. Others are added at the end,
// so that no other rule of the user's, which comes before, says less than it did.
func (r *route) before(k kind) bool { return r.dialect.Kind().FirstWins || k == draw }

// placed says whether a rule that Weir made is where it counts before the rules that
// it has to.
func (r *route) placed(v *view, have *Rule) bool {
	_, k := r.source(have)
	between := 0
	for _, after := range kinds()[slices.Index(kinds(), k)+1:] {
		other := r.madeRule(v, after)
		if other == nil || r.before(after) != r.before(k) {
			continue
		}
		if other.Place < have.Place {
			return false
		}
		between++
	}
	return !r.before(k) || have.Place == v.Place-1-between
}

// keeps says whether a rule that Weir made is for no other requests than it is to
// be, whatever else of it is outdated.
func (r *route) keeps(v *view, have *Rule, want map[string]any) bool {
	field := r.dialect.Kind().Matches
	return r.placed(v, have) && within(want[field], have.Raw[field]) && within(want[v.Entries], have.Raw[v.Entries])
}

// exact says whether a rule that Weir made, nil for none, is where and what it is to be.
func (r *route) exact(v *view, have *Rule, want map[string]any) bool {
	return have != nil && r.placed(v, have) && r.current(v, have, want)
}

// current says whether a rule that Weir made has what it is to have and nothing else: a
// field that the user has taken out of the rule that it was made from must not stay in
// force here. It is a copy of what the API server had stored, so that all defaults are
// in it already, but for matches where the user's rule has none to copy.
func (r *route) current(v *view, have *Rule, want map[string]any) bool {
	field := r.dialect.Kind().Matches
	raw := have.Raw
	if list, _ := v.Raw[field].([]any); len(list) == 0 && within(want[field], raw[field]) {
		raw = maps.Clone(raw)
		raw[field] = want[field]
	}
	return within(want, raw) && within(raw, want)
}

// stray says whether a rule that Weir made sends the canary more than any is to.
// What only is not as it should be stays until a raise puts it right: users of a
// session that is taken from them would meet the other version.
func (r *route) stray(made *Rule) bool {
	v, k := r.source(made)
	if v == nil || !r.selected(*v) {
		return true
	}
	want := r.wanted(v)[k]
	if k == matched {
		return want == nil || !r.keeps(v, made, want)
	}
	return r.straySession(v, k, made, want)
}

// strayRules are those rules, from the last to the first.
func (r *route) strayRules() []*Rule {
	var out []*Rule
	for i := range r.made {
		if r.stray(&r.made[i]) {
			out = append(out, &r.made[i])
		}
	}
	slices.SortStableFunc(out, func(a, b *Rule) int { return cmp.Compare(b.Place, a.Place) })
	return out
}

// takeRules gives operations that take those rules away. Places before them stay as
// they are.
func (r *route) takeRules() []jsonpatch.Operation {
	var ops []jsonpatch.Operation
	for _, rule := range r.strayRules() {
		ops = append(ops, removed(rule)...)
	}
	return ops
}

// removed takes a rule away.
func removed(rule *Rule) []jsonpatch.Operation {
	at := rulePointer(*rule)
	return []jsonpatch.Operation{
		jsonpatch.NewOperation("test", at+"/name", rule.Name),
		jsonpatch.NewOperation("remove", at, nil),
	}
}

// move is an operation that moves the rules from a place on.
type move struct {
	place int
	ops   []jsonpatch.Operation
}

// giveRules gives operations after which the rules that are made for one of the
// user's are those that ought to be.
func (r *route) giveRules(v *view) []jsonpatch.Operation {
	var ops []jsonpatch.Operation
	var moves []move
	const end = 1 << 20
	list := strings.TrimSuffix(rulePointer(v.Rule), fmt.Sprint(v.Place))
	want := r.wanted(v)
	// The place before which the next rule goes, at the end and before the user's.
	next := map[bool]int{false: end, true: v.Place}
	for _, k := range slices.Backward(kinds()) {
		have, place := r.madeRule(v, k), next[r.before(k)]
		if have != nil {
			place = have.Place
			next[r.before(k)] = place
		}
		switch {
		case have == nil && want[k] == nil:
		case have == nil:
			at := fmt.Sprintf("%s%d", list, place)
			if place == end {
				at = list + "-"
			}
			moves = append(moves, move{place, []jsonpatch.Operation{jsonpatch.NewOperation("add", at, want[k])}})
		case want[k] == nil:
			moves = append(moves, move{place, removed(have)})
		case !r.current(v, have, want[k]):
			at := rulePointer(*have)
			ops = append(ops, jsonpatch.NewOperation("test", at+"/name", have.Name), jsonpatch.NewOperation("replace", at, want[k]))
		}
	}
	if ops = append(ops, inOrder(moves, end)...); len(ops) == 0 {
		return nil
	}
	return v.tested(ops)
}

// inOrder gives the operations of moves from the last place to the first, so that none
// moves what a later one is about. What goes to the end comes last, and as it counts.
func inOrder(moves []move, end int) []jsonpatch.Operation {
	slices.SortStableFunc(moves, func(a, b move) int { return cmp.Compare(b.place, a.place) })
	var ops, last []jsonpatch.Operation
	for _, m := range moves {
		if m.place == end {
			last = append(slices.Clone(m.ops), last...)
			continue
		}
		ops = append(ops, m.ops...)
	}
	return append(ops, last...)
}
