package istio

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/providers/internal/routetest"
)

// TestRules: the backends of every rule, as "Service weight".
func TestRules(t *testing.T) {
	type rule struct {
		Name, List string
		Place      int
		Services   []string
		Weights    []int64
		Unset      []bool
	}
	want := []rule{
		{Name: "cart", List: "spec.http", Place: 0, Services: []string{"cart"}, Weights: []int64{1}, Unset: []bool{true}},
		{Name: "mixed", List: "spec.http", Place: 1, Services: []string{"legacy", "cart"}, Weights: []int64{10, 90}, Unset: []bool{false, false}},
		{List: "spec.http", Place: 2},
		{List: "spec.http", Place: 3, Services: []string{"web", ""}, Weights: []int64{1, 1}, Unset: []bool{false, false}},
		{List: "spec.tls", Place: 0, Services: []string{"cart"}, Weights: []int64{1}, Unset: []bool{false}},
		{List: "spec.tcp", Place: 0, Services: []string{"web", "cart", "legacy"}, Weights: []int64{3, 1, 0}, Unset: []bool{false, false, true}},
	}
	var got []rule
	for _, r := range (dialect{}).Rules(routetest.Object(t, "shop")) {
		out := rule{Name: r.Name, List: r.List, Place: r.Place}
		for _, b := range r.Backends {
			out.Services, out.Weights, out.Unset = append(out.Services, b.Service), append(out.Weights, b.Weight), append(out.Unset, b.Unset)
		}
		got = append(got, out)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rules of all protocols, with Istio's defaults (-want +got):\n%s", diff)
	}
}

// refusal is the text of an *UnsupportedError, empty for no error.
func refusal(t *testing.T, err error) string {
	t.Helper()
	var unsupported *providers.UnsupportedError
	switch {
	case err == nil:
		return ""
	case !errors.As(err, &unsupported):
		t.Fatalf("error is %v, want an *UnsupportedError", err)
	}
	return unsupported.Error()
}

// TestRefuse: VirtualServices that cannot carry a split, before the Services are
// known and after.
func TestRefuse(t *testing.T) {
	delegating := func(delegate map[string]any) func(map[string]any) {
		return func(spec map[string]any) {
			spec["http"] = []any{map[string]any{"redirect": map[string]any{"uri": "/"}}, map[string]any{"delegate": delegate}}
			delete(spec, "tls")
			delete(spec, "tcp")
		}
	}
	const problem = `VirtualService/shop: spec.http[1].delegate: leaves the rules to VirtualService "cart": name that one `
	const here = problem + `in spec.traffic.routeRefs of the Rollout`
	const large = `VirtualService/shop: spec.http[name="mixed"].route[].weight: is 3 next to 2000000, which can be split into 3 parts only: too few for 5% of it: write smaller weights in the same ratio`
	cases := map[string]struct {
		reason string
		edit   func(spec map[string]any)
		// before and after the Services are known; empty for supported.
		before, after string
	}{
		"Plain": {reason: "nothing is wrong", edit: func(map[string]any) {}},
		"Delegate": {
			reason: "the rules are those of another object, which is named",
			edit:   delegating(map[string]any{"name": "cart"}),
			before: here, after: here,
		},
		"SameNamespace": {
			reason: "the namespace may be written",
			edit:   delegating(map[string]any{"name": "cart", "namespace": "shop"}),
			before: here, after: here,
		},
		"OtherNamespace": {
			reason: "there another Rollout has to split it",
			edit:   delegating(map[string]any{"name": "cart", "namespace": "checkout"}),
			before: here + `, from a Rollout in its namespace "checkout"`, after: here + `, from a Rollout in its namespace "checkout"`,
		},
		"DelegateBesides": {
			reason: "what it delegates besides its own rules is no matter",
			edit: func(spec map[string]any) {
				http, _ := spec["http"].([]any)
				spec["http"] = append([]any{map[string]any{"delegate": map[string]any{"name": "cart"}}}, http...)
			},
		},
		"NoRules": {
			reason: "nothing can be split where nothing is",
			edit: func(spec map[string]any) {
				delete(spec, "http")
				delete(spec, "tls")
				delete(spec, "tcp")
			},
			after: "VirtualService/shop: spec: no rule has a backend among the Services cart: name one as a backend, or correct spec.traffic.routeRefs of the Rollout",
		},
		"LargeWeights": {
			reason: "weights beyond what others admit stay as they are, and are refused where that is too coarse",
			edit: func(spec map[string]any) {
				http, _ := spec["http"].([]any)
				http[1].(map[string]any)["route"] = []any{
					map[string]any{"destination": map[string]any{"host": "legacy"}, "weight": int64(2_000_000)},
					map[string]any{"destination": map[string]any{"host": "cart"}, "weight": int64(3)},
				}
			},
			after: large,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, edited(t, tc.edit))
			p := New(c, c)
			undiscovered := targetOf("cart")
			undiscovered.Pairs = nil
			_, err := p.Observe(t.Context(), undiscovered, true)
			if diff := cmp.Diff(tc.before, refusal(t, err)); diff != "" {
				t.Errorf("\n%s\nbefore the Services are known (-want +got):\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.after, refusal(t, p.Raise(t.Context(), targetOf("cart"), 500, 1, nil))); diff != "" {
				t.Errorf("\n%s\nafter (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestLargeWeights: of weights above a million none is lost.
func TestLargeWeights(t *testing.T) {
	c := newCluster(t, edited(t, func(spec map[string]any) {
		spec["http"] = []any{map[string]any{"route": []any{
			map[string]any{"destination": map[string]any{"host": "legacy"}, "weight": int64(1_000_000_000)},
			map[string]any{"destination": map[string]any{"host": "cart"}, "weight": int64(2_000_000)},
		}}}
		delete(spec, "tls")
		delete(spec, "tcp")
	}))
	p := New(c, c)
	var got [][]int64
	for _, call := range []call{raising(targetOf("cart"), 500, 1), lowering(targetOf("cart"), 10, 2), lowering(targetOf("cart"), 0, 3), restoring(targetOf("cart"), 4)} {
		if err := call(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		var weights []int64
		for _, b := range (dialect{}).Rules(c.shop(t))[0].Backends {
			weights = append(weights, b.Weight)
		}
		got = append(got, weights)
	}
	want := [][]int64{{1_000_000_000, 1_900_000, 100_000}, {1_000_000_000, 1_998_000, 2_000}, {1_000_000_000, 2_000_000, 0}, {1_000_000_000, 2_000_000}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("weights after each call (-want +got):\n%s", diff)
	}
}

// TestMissing: what is known about a VirtualService that is not there.
func TestMissing(t *testing.T) {
	c := newCluster(t)
	target := targetOf("cart")
	_, err := New(c, c).Observe(t.Context(), target, false)
	var missing *providers.NotFoundError
	if !errors.As(err, &missing) || missing.Name != "shop" || missing.Hint == "" {
		t.Errorf("a VirtualService of another namespace is a likely mistake, so the remedy says more: error is %v", err)
	}
	p := New(c, c)
	if p.Name() != v1alpha1.ProviderIstio {
		t.Errorf("the provider's name is %q", p.Name())
	}
	if kinds := p.Kinds(); len(kinds) != 1 || kinds[0].Kind != "VirtualService" {
		t.Errorf("kinds are %v", kinds)
	}
}
