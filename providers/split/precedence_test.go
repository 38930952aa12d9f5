package split

import (
	"errors"
	"testing"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
)

// TestOverruled: rules of Weir's that would count before one of the user's which counts
// before the rule that they are made of are refused, and no others.
func TestOverruled(t *testing.T) {
	condition := func(name, value string) any { return map[string]any{"name": name, "value": value} }
	match := func(path string, more map[string]any) map[string]any {
		m := map[string]any{"path": map[string]any{"type": "PathPrefix", "value": path}}
		for key, value := range more {
			m[key] = value
		}
		return m
	}
	list := func(items ...any) []any { return items }
	x, y, q := condition("x-beta", "1"), condition("y", "1"), condition("v", "1")
	cases := map[string]struct {
		reason       string
		other, ours  map[string]any
		otherIsFirst bool
		refused      bool
	}{
		"Query": {"a header counts before the query", map[string]any{"queryParams": list(q)}, nil, false, true},
		"HeaderAgainstQuery": {
			"with as many headers the query counts", map[string]any{"headers": list(x)}, map[string]any{"queryParams": list(q)}, false, true,
		},
		"HeaderFirst":   {"with as many headers and no query the place counts", map[string]any{"headers": list(x)}, nil, true, false},
		"HeaderLast":    {"rules of Weir's come last", map[string]any{"headers": list(x)}, nil, false, false},
		"TwoHeaders":    {"two headers count before one", map[string]any{"headers": list(x, y)}, map[string]any{"queryParams": list(q)}, false, false},
		"AsManyFirst":   {"the place does not count any more", map[string]any{"headers": list(x)}, map[string]any{"headers": list(y)}, true, true},
		"AsManyLast":    {"the place gives them to the split rule anyway", map[string]any{"headers": list(x)}, map[string]any{"headers": list(y)}, false, false},
		"OtherValue":    {"nothing meets both", map[string]any{"headers": list(x)}, map[string]any{"headers": list(condition("X-Beta", "2"))}, true, false},
		"OtherQuery":    {"nothing meets both", map[string]any{"queryParams": list(q, y)}, map[string]any{"queryParams": list(condition("v", "2"))}, false, false},
		"Method":        {"a method counts before headers", map[string]any{"method": "GET", "queryParams": list(q)}, nil, false, false},
		"WithinMethods": {"of one method", map[string]any{"method": "GET", "queryParams": list(q)}, map[string]any{"method": "GET"}, false, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			u := shop(t)
			rules := u.Object["spec"].(map[string]any)["rules"].([]any)
			rules[0].(map[string]any)["matches"] = list(match("/cart", tc.ours))
			rules[2].(map[string]any)["matches"] = list(match("/elsewhere", tc.other))
			place := "spec.rules[2].matches"
			if tc.otherIsFirst {
				rules[0], rules[2] = rules[2], rules[0]
				place = "spec.rules[0].matches"
			}
			check := func(what string, target providers.Target, want bool) {
				err := newRoute(plain("HTTPRoute"), u, target.Routes[0], target).unsupported(0)
				var unsupported *providers.UnsupportedError
				refused := errors.As(err, &unsupported)
				if refused != want || refused && (unsupported.Field != place || unsupported.Remedy == "") {
					t.Errorf("%s: %s: error is %v, want one: %t", tc.reason, what, err, want)
				}
			}
			step := with(cart, header("x-cohort", "b"))
			check("sessions for other paths", sticky(cart, 0, 0), false)
			check("matches for other paths", step, false)
			other := rules[2]
			if tc.otherIsFirst {
				other = rules[0]
			}
			other.(map[string]any)["matches"] = list(match("/cart", tc.other))
			check("sessions", sticky(cart, 0, 0), tc.refused)
			check("matches", step, tc.refused)
		})
	}
}

// TestOverruledByMatches: a step's matches count by what each of them asks for.
func TestOverruledByMatches(t *testing.T) {
	two := []v1alpha1.ValueMatch{{Name: "a", Value: "1"}, {Name: "b", Value: "1"}}
	a := map[string]any{"headers": []any{map[string]any{"name": "x", "value": "1"}}}
	for name, tc := range map[string]struct {
		reason string
		match  v1alpha1.Match
		want   bool
	}{
		"One":     {"as many headers, and the rule of the step comes last", v1alpha1.Match{Headers: two[:1]}, false},
		"Two":     {"more headers", v1alpha1.Match{Headers: two}, true},
		"Cookie":  {"cookies are headers", v1alpha1.Match{Headers: two[:1], Cookies: two[1:]}, true},
		"Query":   {"the query counts after headers", v1alpha1.Match{QueryParams: two}, false},
		"AndMore": {"as many headers, and the query", v1alpha1.Match{Headers: two[:1], QueryParams: two[:1]}, true},
	} {
		if got := overrules(a, map[string]any{}, false, []v1alpha1.Match{tc.match}); got != tc.want {
			t.Errorf("%s: %s: got %t", name, tc.reason, got)
		}
	}
}
