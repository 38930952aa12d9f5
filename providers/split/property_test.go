package split

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
)

// TestLives runs random lives of random routes and checks, after every patch,
// what the contract promises of every version of the object: each patch changes
// one rule at most, the shares between the user's backends never move, no
// lowering raises, and what is not Weir's stays as it is.
func TestLives(t *testing.T) {
	random := newRandom(t)
	for life := range 100 {
		start := randomRoute(random)
		u := start
		stamp := int64(0)
		for range 1 + random.IntN(8) {
			stamp++
			weight := []int32{0, 1, 10, 500, 3333, 5000, 10000}[random.IntN(7)]
			p, lowers := raising(weight, stamp), random.IntN(3) == 0
			if lowers {
				p = lowering(weight, stamp)
			}
			_, versions := run(t, u, cart, p)
			for i, next := range versions[1:] {
				if problem := broken(start, versions[i], next, lowers); problem != "" {
					t.Fatalf("life %d: %s\nbefore: %v\nafter: %v", life, problem, versions[i].Object, next.Object)
				}
			}
			u = last(versions)
			checkReached(t, u, weight, lowers)
		}
		_, versions := run(t, u, cart, restoring(stamp))
		if diff := cmp.Diff(start.Object, last(versions).Object); diff != "" {
			t.Fatalf("life %d: not given back (-want +got):\n%s", life, diff)
		}
	}
}

// checkReached checks what a call leaves behind.
func checkReached(t *testing.T, u *unstructured.Unstructured, weight int32, lowers bool) {
	t.Helper()
	r := newRoute(plain("HTTPRoute"), u, cart.Routes[0], cart)
	for _, v := range r.views {
		lowest, highest := v.exposure(r.hint())
		switch {
		case highest > weight:
			t.Fatalf("rule %d has %d, more than %d: %v", v.index, highest, weight, v.Raw)
		case !lowers && r.selected(v) && lowest != weight && v.weighs():
			t.Fatalf("rule %d has %d, not %d: %v", v.index, lowest, weight, v.Raw)
		}
	}
}

// broken says what the step from before to after breaks; start is the route
// before Weir came.
func broken(start, before, after *unstructured.Unstructured, lowers bool) string {
	old, next, origin := newRoute(plain("HTTPRoute"), before, cart.Routes[0], cart), newRoute(plain("HTTPRoute"), after, cart.Routes[0], cart), newRoute(plain("HTTPRoute"), start, cart.Routes[0], cart)
	changed := 0
	for i, v := range next.views {
		if !cmp.Equal(v.Raw, old.views[i].Raw) {
			changed++
		}
		totals, _ := v.totals()
		base, _ := origin.views[i].totals()
		if !fits(base, totals) {
			return fmt.Sprintf("rule %d: %v is not in the ratio of %v", i, totals, base)
		}
		_, had := old.views[i].exposure(old.hint())
		if _, has := v.exposure(next.hint()); lowers && has > had {
			return fmt.Sprintf("rule %d: lowering raised %d to %d", i, had, has)
		}
		if !v.ours() && !cmp.Equal(v.Raw, origin.views[i].Raw) {
			return fmt.Sprintf("rule %d is not ours and was changed", i)
		}
	}
	if changed > 1 {
		return fmt.Sprintf("%d rules changed in one patch", changed)
	}
	return ""
}

// randomRoute as the API server would store it.
func randomRoute(random *rand.Rand) *unstructured.Unstructured {
	var rules []any
	for i := range 1 + random.IntN(4) {
		var refs []any
		for j := range 1 + random.IntN(4) {
			name := []string{"cart", "web", "legacy"}[random.IntN(3)]
			refs = append(refs, map[string]any{
				"group": "", "kind": "Service", "name": name, "port": int64(80 + j),
				"weight": random.Int64N([]int64{2, 10, 101}[random.IntN(3)]),
			})
		}
		rule := map[string]any{"backendRefs": refs}
		if random.IntN(2) == 0 {
			rule["name"] = fmt.Sprintf("rule-%d", i)
		}
		rules = append(rules, rule)
	}
	u := object(plain("HTTPRoute"))
	u.SetName("shop")
	u.SetNamespace("shop")
	u.SetResourceVersion("1")
	u.Object["spec"] = map[string]any{
		"parentRefs": []any{map[string]any{"name": "edge"}},
		"rules":      rules,
	}
	return u
}

// TestUserEdits: whatever users do to the route between two calls, the rest of
// the route is theirs, and Weir takes back only what it gave.
func TestUserEdits(t *testing.T) {
	rules := func(u *unstructured.Unstructured) []any {
		return u.Object["spec"].(map[string]any)["rules"].([]any)
	}
	refs := func(u *unstructured.Unstructured, rule int) []any {
		return rules(u)[rule].(map[string]any)["backendRefs"].([]any)
	}
	cases := map[string]struct {
		reason string
		edit   func(u *unstructured.Unstructured)
		want   func(u *unstructured.Unstructured)
	}{
		"OtherRule": {
			reason: "an edit of another rule stays",
			edit:   func(u *unstructured.Unstructured) { rules(u)[2].(map[string]any)["timeouts"] = "3s" },
			want:   func(u *unstructured.Unstructured) { rules(u)[2].(map[string]any)["timeouts"] = "3s" },
		},
		"OurRule": {
			reason: "so does an edit of a rule that is split",
			edit:   func(u *unstructured.Unstructured) { rules(u)[0].(map[string]any)["timeouts"] = "3s" },
			want:   func(u *unstructured.Unstructured) { rules(u)[0].(map[string]any)["timeouts"] = "3s" },
		},
		"RuleInFront": {
			reason: "a rule put in front moves the places, and the record is found by name or by fit",
			edit: func(u *unstructured.Unstructured) {
				spec := u.Object["spec"].(map[string]any)
				spec["rules"] = append([]any{map[string]any{"name": "new"}}, rules(u)...)
			},
			want: func(u *unstructured.Unstructured) {
				spec := u.Object["spec"].(map[string]any)
				spec["rules"] = append([]any{map[string]any{"name": "new"}}, rules(u)...)
			},
		},
		"RuleGone": {
			reason: "a rule taken out stays out",
			edit:   func(u *unstructured.Unstructured) { u.Object["spec"].(map[string]any)["rules"] = rules(u)[1:] },
			want:   func(u *unstructured.Unstructured) { u.Object["spec"].(map[string]any)["rules"] = rules(u)[1:] },
		},
		"WrittenAnew": {
			reason: "a rule that someone put back as it was needs nothing more",
			edit:   func(u *unstructured.Unstructured) { u.Object["spec"] = shop(t).Object["spec"] },
			want:   func(*unstructured.Unstructured) {},
		},
		"StableEntryGone": {
			reason: "traffic that only the canary's entry was left with goes back to the user's Service",
			edit: func(u *unstructured.Unstructured) {
				rules(u)[0].(map[string]any)["backendRefs"] = refs(u, 0)[1:]
			},
			want: func(*unstructured.Unstructured) {},
		},
		"WeightByHand": {
			reason: "weights changed by hand are the user's new weights",
			edit:   func(u *unstructured.Unstructured) { refs(u, 1)[0].(map[string]any)["weight"] = int64(500) },
			want: func(u *unstructured.Unstructured) {
				refs(u, 1)[0].(map[string]any)["weight"] = int64(5)
			},
		},
		"RecordGone": {
			reason: "without a record the weights are inferred",
			edit:   func(u *unstructured.Unstructured) { u.SetAnnotations(nil) },
			want:   func(*unstructured.Unstructured) {},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, versions := run(t, shop(t), cart, raising(500, 1))
			u := last(versions).DeepCopy()
			tc.edit(u)
			_, versions = run(t, u, cart, restoring(2))
			want := shop(t)
			tc.want(want)
			if diff := cmp.Diff(want.Object["spec"], last(versions).Object["spec"]); diff != "" {
				t.Errorf("\n%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestTwoPairs: two Services of one workload in one rule are split alike.
func TestTwoPairs(t *testing.T) {
	both := providers.Target{
		Namespace: "shop", Owner: "cart", Routes: []v1alpha1.RouteReference{{Kind: "HTTPRoute", Name: "shop"}},
		Pairs: []providers.Pair{{Stable: "cart", Canary: "cart-canary"}, {Stable: "legacy", Canary: "legacy-canary"}},
	}
	_, versions := run(t, shop(t), both, raising(500, 1))
	r := newRoute(plain("HTTPRoute"), last(versions), both.Routes[0], both)
	got := map[string]int64{}
	for _, b := range r.views[1].Backends {
		got[b.Service] = b.Weight
	}
	want := map[string]int64{"legacy": 950, "legacy-canary": 50, "cart": 8550, "cart-canary": 450}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("each entry gives its own part (-want +got):\n%s", diff)
	}
}

// TestCoarseRule: of a rule whose numbers are small, no share is taken for another
// that rounds to the same number.
func TestCoarseRule(t *testing.T) {
	u := simpleRoute("HTTPRoute", "shop", "cart")
	rules := u.Object["spec"].(map[string]any)["rules"].([]any)
	rules[0].(map[string]any)["backendRefs"].([]any)[0].(map[string]any)["weight"] = int64(2)
	_, versions := run(t, u, cart, raising(5000, 1))
	_, versions = run(t, last(versions), cart, lowering(3333, 2))
	if diff := cmp.Diff("13334/6666", weights(last(versions))); diff != "" {
		t.Errorf("one of two is a half, whatever was asked for (-want +got):\n%s", diff)
	}
}
