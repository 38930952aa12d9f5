package split

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/providers/internal/routetest"
)

// TestPatches shows, in golden files, every patch of the life of a split.
func TestPatches(t *testing.T) {
	named := cart
	named.Routes = append(named.Routes[:0:0], cart.Routes...)
	named.Routes[0].RuleNames = []string{"mixed"}
	at := func(target providers.Target, weight int32) func(*testing.T) *unstructured.Unstructured {
		return func(t *testing.T) *unstructured.Unstructured {
			_, versions := run(t, shop(t), target, raising(weight, 7))
			return last(versions)
		}
	}
	cases := map[string]struct {
		reason string
		start  func(*testing.T) *unstructured.Unstructured
		target providers.Target
		plan   plan
	}{
		"first-raise": {
			reason: "each rule with the Service is split by a patch of its own; other rules and namespaces are not touched",
			start:  shop, target: cart, plan: raising(500, 7),
		},
		"raise-named-rule": {
			reason: "only the rule that was named is split",
			start:  shop, target: named, plan: raising(500, 7),
		},
		"raise-again": {
			reason: "the entries are there: only weights change",
			start:  at(cart, 500), target: cart, plan: raising(2500, 8),
		},
		"raise-tenth-of-a-percent": {
			reason: "0.1 % is possible at any weights of the user's",
			start:  shop, target: cart, plan: raising(10, 7),
		},
		"raise-all": {
			reason: "at 100 % the numbers are the user's own",
			start:  at(cart, 2500), target: cart, plan: raising(10000, 9),
		},
		"lower": {
			reason: "weights go down, the entries stay",
			start:  at(cart, 2500), target: cart, plan: lowering(0, 9),
		},
		"lower-user-route": {
			reason: "on a route that is as the user wrote it, lowering only stamps",
			start:  shop, target: cart, plan: lowering(0, 9),
		},
		"restore": {
			reason: "the annotation goes first, the stamp last",
			start:  at(cart, 2500), target: cart, plan: restoring(9),
		},
		"second-owner": {
			reason: "another Rollout's rules and annotations stay",
			start:  at(cart, 500), target: web, plan: raising(100, 3),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			patches, versions := run(t, tc.start(t), tc.target, tc.plan)
			routetest.Golden(t, name, tc.reason, patches)
			if more, _ := run(t, last(versions), tc.target, tc.plan); len(more) > 0 {
				t.Errorf("\n%s\nthe same call again wrote:\n%s", tc.reason, routetest.Render(t, more))
			}
		})
	}
}

// TestRestoreGivesBack: whatever was asked for between, the end is the start.
func TestRestoreGivesBack(t *testing.T) {
	start := shop(t)
	u := start
	for i, p := range []plan{raising(10, 1), raising(3333, 2), lowering(1, 3), raising(10000, 4), lowering(5000, 5), restoring(6)} {
		_, versions := run(t, u, cart, p)
		u = last(versions)
		if i == 3 { // another Rollout comes, and goes later
			_, versions = run(t, u, web, raising(777, 1))
			u = last(versions)
		}
	}
	_, versions := run(t, u, web, restoring(2))
	got := last(versions)
	got.SetResourceVersion(start.GetResourceVersion())
	if diff := cmp.Diff(start.Object, got.Object); diff != "" {
		t.Errorf("the route after both Rollouts are gone (-want +got):\n%s", diff)
	}
}
