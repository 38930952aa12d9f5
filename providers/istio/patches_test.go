package istio

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/providers/internal/routetest"
)

// call of a provider.
type call func(context.Context, Provider) error

func raising(target providers.Target, weight int32, stamp int64) call {
	return func(ctx context.Context, p Provider) error { return p.Raise(ctx, target, weight, stamp, nil) }
}

func lowering(target providers.Target, weight int32, stamp int64) call {
	return func(ctx context.Context, p Provider) error { return p.Lower(ctx, target, weight, stamp) }
}

func restoring(target providers.Target, stamp int64) call {
	return func(ctx context.Context, p Provider) error { return p.Restore(ctx, target, stamp, nil) }
}

// TestPatches shows, in golden files, every patch of the life of a split in a
// VirtualService.
func TestPatches(t *testing.T) {
	cart := targetOf("cart")
	cases := map[string]struct {
		reason string
		before []call
		call   call
	}{
		"first-raise": {
			reason: "each rule with the Service is split by a patch of its own, in all protocols; the canary's host has the same form, and no subset",
			call:   raising(cart, 500, 7),
		},
		"raise-named-rule": {
			reason: "only the rule that was named is split",
			call:   raising(targetOf("cart", "mixed"), 500, 7),
		},
		"raise-again": {
			reason: "the destinations are there: only weights change",
			before: []call{raising(cart, 500, 7)}, call: raising(cart, 2500, 8),
		},
		"raise-tenth-of-a-percent": {
			reason: "0.1 % is possible at any weights of the user's",
			call:   raising(cart, 10, 7),
		},
		"raise-almost-all": {
			reason: "a weight that counts though it is 0 is written, also where it stays the same number",
			call:   raising(cart, 9900, 7),
		},
		"raise-all": {
			reason: "at 100 % the numbers are the user's own, with the weights that are not written",
			before: []call{raising(cart, 2500, 7)}, call: raising(cart, 10000, 9),
		},
		"lower": {
			reason: "weights go down, the destinations stay",
			before: []call{raising(cart, 2500, 7)}, call: lowering(cart, 0, 9),
		},
		"lower-user-route": {
			reason: "on a VirtualService that is as the user wrote it, lowering only stamps",
			call:   lowering(cart, 0, 9),
		},
		"restore": {
			reason: "weights that were not written are not written again, and one that was 0 is 0",
			before: []call{raising(cart, 2500, 7)}, call: restoring(cart, 9),
		},
		"second-owner": {
			reason: "another Rollout's rules and annotations stay",
			before: []call{raising(targetOf("cart", "cart", "mixed"), 500, 7)}, call: raising(targetOf("web"), 100, 3),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, routetest.Object(t, "shop"))
			p := New(c, c)
			for _, before := range tc.before {
				if err := before(t.Context(), p); err != nil {
					t.Fatal(err)
				}
			}
			c.patches = nil
			if err := tc.call(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			routetest.Golden(t, name, tc.reason, c.patches)
			c.patches = nil
			if err := tc.call(t.Context(), p); err != nil || len(c.patches) > 0 {
				t.Errorf("\n%s\nthe same call again: %v, and wrote:\n%s", tc.reason, err, routetest.Render(t, c.patches))
			}
		})
	}
}

// TestRestoreGivesBack: whatever was asked for between, the end is the start.
func TestRestoreGivesBack(t *testing.T) {
	cart, web := targetOf("cart", "cart", "mixed"), targetOf("web")
	start := routetest.Object(t, "shop")
	c := newCluster(t, start.DeepCopy())
	p := New(c, c)
	calls := []call{
		raising(cart, 10, 1), raising(cart, 3333, 2), lowering(cart, 1, 3), raising(web, 777, 1), raising(cart, 10000, 4),
		raising(targetOf("cart", "mixed"), 5000, 5), lowering(cart, 5000, 6), restoring(cart, 7), restoring(web, 2),
	}
	for i, call := range calls {
		if err := call(t.Context(), p); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
	}
	got := c.shop(t)
	got.SetResourceVersion(start.GetResourceVersion())
	if len(got.GetAnnotations()) == 0 { // The API server drops empty maps.
		got.SetAnnotations(nil)
	}
	if diff := cmp.Diff(start.Object, got.Object); diff != "" {
		t.Errorf("the VirtualService after both Rollouts are gone (-want +got):\n%s", diff)
	}
}

// TestManyRules: a VirtualService may have any number of rules, each of which takes
// a write.
func TestManyRules(t *testing.T) {
	const rules = 40
	start := edited(t, func(spec map[string]any) {
		var list []any
		for i := range rules {
			list = append(list, map[string]any{
				"name":  fmt.Sprintf("rule-%d", i),
				"route": []any{map[string]any{"destination": map[string]any{"host": "cart"}}},
			})
		}
		spec["http"] = list
		delete(spec, "tls")
		delete(spec, "tcp")
	})
	c := newCluster(t, start.DeepCopy())
	p := New(c, c)
	for _, call := range []call{raising(targetOf("cart"), 500, 1), lowering(targetOf("cart"), 0, 2), restoring(targetOf("cart"), 3)} {
		c.patches = nil
		if err := call(t.Context(), p); err != nil || len(c.patches) != rules {
			t.Fatalf("%d writes, and error %v", len(c.patches), err)
		}
	}
	if diff := cmp.Diff(start.Object["spec"], c.shop(t).Object["spec"]); diff != "" {
		t.Errorf("not given back (-want +got):\n%s", diff)
	}
}
