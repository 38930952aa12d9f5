package conformance

import (
	"strings"
	"testing"
)

// likeTheirs is a dialect whose canaries' entries have all that the user's have.
type likeTheirs struct{ Dialect }

func (likeTheirs) TwinRest(rest string) string { return rest }

// TestWitness: what the witness objects to, and what it lets pass.
func TestWitness(t *testing.T) {
	base := Rule{Name: "web", Rest: "{}", Backends: []Backend{{"web", 3, "80"}, {"legacy", 1, "80"}}}
	rule := func(rest string, backends ...Backend) Rule { return Rule{Name: "web", Rest: rest, Backends: backends} }
	cases := map[string]struct {
		reason string
		rules  []Rule
		before []Rule
		limit  int32
		want   string // part of the objection, empty for none
	}{
		"AsWritten": {reason: "the user's own rule", rules: []Rule{base}, limit: 0},
		"Split": {
			reason: "a split in a finer grid",
			rules:  []Rule{rule("{}", Backend{"web", 285, "80"}, Backend{"legacy", 100, "80"}, Backend{"web-canary", 15, "80"})},
			limit:  500,
		},
		"NotWhole": {
			reason: "weight is lost",
			rules:  []Rule{rule("{}", Backend{"web", 280, "80"}, Backend{"legacy", 100, "80"}, Backend{"web-canary", 15, "80"})},
			limit:  10000, want: "the whole is not shared",
		},
		"TooMuch": {
			reason: "more exposure than was asked for",
			rules:  []Rule{rule("{}", Backend{"web", 285, "80"}, Backend{"legacy", 100, "80"}, Backend{"web-canary", 15, "80"})},
			limit:  499, want: "more than 499",
		},
		"Nowhere": {
			reason: "no weight at all",
			rules:  []Rule{rule("{}", Backend{"web", 0, "80"}, Backend{"legacy", 0, "80"})},
			want:   "sends its traffic nowhere",
		},
		"BackendGone": {
			reason: "a backend of the user's is gone",
			rules:  []Rule{rule("{}", Backend{"web", 3, "80"})},
			want:   "2 backends became 1",
		},
		"PoorCopy": {
			reason: "the canary's entry lacks what the user's has",
			rules:  []Rule{rule("{}", Backend{"web", 285, "80"}, Backend{"legacy", 100, "80"}, Backend{"web-canary", 15, "81"})},
			limit:  10000, want: "the canary's entry has 81, not 80",
		},
		"RestChanged": {
			reason: "something else in the rule changed",
			rules:  []Rule{rule("{timeout}", base.Backends...)},
			want:   "{} became {timeout}",
		},
		"TwoRules": {
			reason: "one write changed two rules",
			rules:  []Rule{base, {Name: "other", Backends: []Backend{{"web", 1, ""}}}},
			before: []Rule{rule("{}", Backend{"web", 6, "80"}, Backend{"legacy", 2, "80"}), {Name: "other", Backends: []Backend{{"web", 2, ""}}}},
			want:   "2 rules changed in one write",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := &witness{
				dialect: likeTheirs{}, bases: map[string][]Rule{"shop/web": {base}}, mine: []string{"web"}, one: true,
				ceilings: []ceiling{{from: 1, share: tc.limit}},
			}
			got := strings.Join(w.problems(version{name: "shop", number: 2, rules: tc.rules}, version{name: "shop", number: 1, rules: tc.before}), "; ")
			if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
				t.Errorf("\n%s\nobjections: %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}
