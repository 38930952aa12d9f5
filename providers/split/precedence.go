package split

import (
	"cmp"
	"reflect"
	"strings"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// Where the first rule that is met does not count, the one that says more does. In
// Gateway API that goes by the path and the method, then by the number of headers, then
// by that of parameters of the query, then by the place. A rule that Weir makes asks
// for more than the user's, and so may count before rules that count before that one.

// overruled is a rule of the user's that is not split and that requests meet rather than
// v, but not rather than a rule made of v and one of the matches, which stands at the
// end; nil for none.
func (r *route) overruled(v *view, matches []v1alpha1.Match) *view {
	if r.dialect.Kind().FirstWins {
		return nil
	}
	field := r.dialect.Kind().Matches
	for i := range r.views {
		other := &r.views[i]
		if r.selected(*other) {
			continue
		}
		for _, a := range matchesOf(other, field) {
			for _, b := range matchesOf(v, field) {
				if overrules(a, b, other.Place < v.Place, matches) {
					return other
				}
			}
		}
	}
	return nil
}

// overrules says whether requests that meet match a rather than b, of rules of which a's
// is the earlier or not, would meet b with one of the matches rather than a.
func overrules(a, b map[string]any, earlier bool, matches []v1alpha1.Match) bool {
	if !reflect.DeepEqual(a["path"], b["path"]) || !reflect.DeepEqual(a["method"], b["method"]) || disjoint(a, b) {
		return false
	}
	before := byNumbers(a, b, v1alpha1.Match{})
	if before < 0 || before == 0 && !earlier {
		return false
	}
	for _, m := range matches {
		if byNumbers(a, b, m) < 0 {
			return true
		}
	}
	return false
}

// byNumbers is positive where match a counts before b with what m asks for as well,
// negative where it counts after it, and 0 where their places decide.
func byNumbers(a, b map[string]any, m v1alpha1.Match) int {
	return cmp.Or(
		cmp.Compare(length(a, "headers"), length(b, "headers")+len(Headers(m))),
		cmp.Compare(length(a, "queryParams"), length(b, "queryParams")+len(m.QueryParams)),
	)
}

// disjoint says whether no request meets both matches, since they ask for two values of
// one header or parameter.
func disjoint(a, b map[string]any) bool {
	same := func(a, b string) bool { return a == b }
	return differ(a, b, "headers", strings.EqualFold) || differ(a, b, "queryParams", same)
}

// differ says whether two matches ask for exact and different values of one name.
func differ(a, b map[string]any, field string, same func(a, b string) bool) bool {
	for _, one := range exactValues(a, field) {
		for _, two := range exactValues(b, field) {
			if same(one.Name, two.Name) && one.Value != two.Value {
				return true
			}
		}
	}
	return false
}

// exactValues are the values in a field of a match that are not expressions.
func exactValues(match map[string]any, field string) []v1alpha1.ValueMatch {
	list, _ := match[field].([]any)
	var out []v1alpha1.ValueMatch
	for _, item := range list {
		raw, _ := item.(map[string]any)
		kind, _ := raw["type"].(string)
		name, _ := raw["name"].(string)
		value, _ := raw["value"].(string)
		if kind == "" || kind == string(v1alpha1.MatchExact) {
			out = append(out, v1alpha1.ValueMatch{Name: name, Value: value})
		}
	}
	return out
}

// matchesOf are the matches of a rule, one without conditions where there are none.
func matchesOf(v *view, field string) []map[string]any {
	list, _ := v.Raw[field].([]any)
	out := make([]map[string]any, 0, len(list)+1)
	for _, item := range list {
		if m, ok := item.(map[string]any); ok {
			out = append(out, m)
		}
	}
	if len(out) == 0 {
		out = append(out, nil)
	}
	return out
}

// length of a list in a match.
func length(match map[string]any, field string) int {
	list, _ := match[field].([]any)
	return len(list)
}
