package conformance

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/providers"
)

// testMissingRoute: a route that is not there is named, raises nothing elsewhere,
// and keeps no other from being lowered or given back.
func testMissingRoute(t *testing.T, f *fixture) {
	start := f.create(t, f.route("shop", shopRules()...))
	f.witness.base(start)
	both := f.target("missing", "shop")
	f.raise(t, f.target("shop"), 500, 1)
	f.witness.atMost(500, 0)
	f.wantMissing(t, "Raise", f.provider.Raise(t.Context(), both, 5000, 2, nil))
	_, err := f.provider.Observe(t.Context(), both, true)
	f.wantMissing(t, "Observe", err)
	f.wantMissing(t, "Lower", f.provider.Lower(t.Context(), both, 0, 3))
	f.mustCarry(t, f.target("shop"), 0, 3)
	f.restore(t, both, 4)
	mustBe(t, start, f.get(t, "shop"))
}

// wantMissing checks that the error names the route "missing".
func (f *fixture) wantMissing(t *testing.T, call string, err error) {
	t.Helper()
	name := f.route("missing").GetName()
	var missing *providers.NotFoundError
	if !errors.As(err, &missing) || missing.Name != name {
		t.Errorf("%s: error is %v, want a *NotFoundError for %q", call, err, name)
	}
}

// testNoRule: a route without a backend of the workload is refused.
func testNoRule(t *testing.T, f *fixture) {
	f.create(t, f.route("shop", shopRules()...))
	f.witness.atMost(0, 0)
	f.wantRefused(t, f.targetOf("ledger", "shop"))
}

// wantRefused checks that the target is refused before anything is written.
func (f *fixture) wantRefused(t *testing.T, target providers.Target) {
	t.Helper()
	before := f.get(t, target.Routes[0].Name)
	_, err := f.provider.Observe(t.Context(), target, true)
	for call, err := range map[string]error{"Observe": err, "Raise": f.provider.Raise(t.Context(), target, 500, 1, nil)} {
		var unsupported *providers.UnsupportedError
		if !errors.As(err, &unsupported) {
			t.Errorf("%s: error is %v, want an *UnsupportedError", call, err)
			continue
		}
		for _, part := range []string{unsupported.Object, unsupported.Field, unsupported.Problem, unsupported.Remedy} {
			if part == "" {
				t.Errorf("%s: %q does not name object, field, problem and remedy", call, err)
			}
		}
	}
	if after := f.get(t, target.Routes[0].Name); number(after) != number(before) {
		t.Error("a refused call wrote")
	}
}

// testRuleNames: only the rules that are named are split.
func testRuleNames(t *testing.T, f *fixture) {
	start := f.create(t, f.route("shop", shopRules()...))
	f.witness.base(start)
	target := f.target("shop")
	target.Routes[0].RuleNames = []string{"web-too"}
	f.raise(t, target, 500, 1)
	f.mustCarry(t, target, 500, 1)
	rules := f.Dialect.Rules(f.get(t, "shop"))
	for i, r := range f.Dialect.Rules(start)[:2] {
		if diff := cmp.Diff(r, rules[i]); diff != "" {
			t.Errorf("a rule that was not named (-want +got):\n%s", diff)
		}
	}
	f.restore(t, target, 2)
	mustBe(t, start, f.get(t, "shop"))
}

// testMissingRuleName: a rule name that is not there is refused.
func testMissingRuleName(t *testing.T, f *fixture) {
	f.create(t, f.route("shop", shopRules()...))
	f.witness.atMost(0, 0)
	target := f.target("shop")
	target.Routes[0].RuleNames = []string{"web", "v2"}
	f.wantRefused(t, target)
}
