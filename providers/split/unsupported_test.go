package split

import (
	"errors"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weir-dev/weir/providers"
)

func TestUnsupported(t *testing.T) {
	rule := func(u *unstructured.Unstructured, i int) map[string]any {
		return u.Object["spec"].(map[string]any)["rules"].([]any)[i].(map[string]any)
	}
	entry := func(name string, weight int64) any {
		return map[string]any{"group": "", "kind": "Service", "name": name, "port": int64(80), "weight": weight}
	}
	cases := map[string]struct {
		reason string
		edit   func(u *unstructured.Unstructured)
		rules  []string
		pairs  []providers.Pair
		weight int32
		want   string // the whole message, empty for supported
	}{
		"Plain": {reason: "nothing is wrong", pairs: cart.Pairs, weight: 500},
		"Undiscovered": {
			reason: "before the Services are known only what does not depend on them is looked at",
			weight: 500,
		},
		"Refused": {
			reason: "what the kind of route cannot do in a rule is said",
			edit:   func(u *unstructured.Unstructured) { rule(u, 0)["refused"] = true },
			pairs:  cart.Pairs,
			want:   `HTTPRoute/shop: spec.rules[name="cart"].refused: is there: take it out`,
		},
		"RefusedElsewhere": {
			reason: "another rule is no matter",
			edit:   func(u *unstructured.Unstructured) { rule(u, 2)["refused"] = true },
			pairs:  cart.Pairs,
		},
		"NoSuchRule": {
			reason: "a rule name that is not there is a mistake",
			rules:  []string{"cart", "v2"}, pairs: cart.Pairs,
			want: `HTTPRoute/shop: spec.rules[].name: no rule has the name "v2"; there are cart, mixed: name the rule, or correct ruleNames of the Rollout`,
		},
		"NotTheirRule": {
			reason: "so is a rule that does not serve the workload",
			rules:  []string{"mixed"}, pairs: web.Pairs,
			want: `HTTPRoute/shop: spec.rules[name="mixed"].backendRefs: has no backend among the Services web: name one as a backend, or take the rule out of ruleNames of the Rollout`,
		},
		"NoRule": {
			reason: "a route without the Service cannot split it",
			pairs:  []providers.Pair{{Stable: "pay", Canary: "pay-canary"}},
			want:   `HTTPRoute/shop: spec.rules: no rule has a backend among the Services pay: name one as a backend, or correct spec.traffic.routeRefs of the Rollout`,
		},
		"NoTraffic": {
			reason: "a weight of 0 leaves nothing to split",
			edit: func(u *unstructured.Unstructured) {
				rule(u, 0)["backendRefs"] = []any{entry("cart", 0), entry("legacy", 1)}
			},
			pairs: cart.Pairs,
			want:  `HTTPRoute/shop: spec.rules[name="cart"].backendRefs[].weight: is 0 for cart, so that no traffic can be split: give the backend a weight, or leave the rule out of ruleNames of the Rollout`,
		},
		"Coarse": {
			reason: "weights that leave no room for a tenth of a percent are refused before the first step",
			edit: func(u *unstructured.Unstructured) {
				rule(u, 0)["backendRefs"] = []any{entry("cart", 1), entry("legacy", 2000)}
			},
			pairs: cart.Pairs,
			want:  `HTTPRoute/shop: spec.rules[name="cart"].backendRefs[].weight: is 1 next to 2000, which can be split into 500 parts only: too few for 0.1% of it: write smaller weights in the same ratio`,
		},
		"RoundedAway": {
			reason: "a step that would round to nothing is not skipped in silence",
			edit: func(u *unstructured.Unstructured) {
				rule(u, 0)["backendRefs"] = []any{entry("cart", 1), entry("legacy", 1000)}
			},
			pairs: cart.Pairs, weight: 1,
			want: `HTTPRoute/shop: spec.rules[name="cart"].backendRefs[].weight: is 1 next to 1000, which can be split into 1000 parts only: too few for 0.01% of it: write smaller weights in the same ratio`,
		},
		"NoRoom": {
			reason: "the API admits sixteen backends",
			edit: func(u *unstructured.Unstructured) {
				var refs []any
				for range 16 {
					refs = append(refs, entry("cart", 1))
				}
				rule(u, 0)["backendRefs"] = refs
			},
			pairs: cart.Pairs,
			want:  `HTTPRoute/shop: spec.rules[name="cart"].backendRefs: has 16 backends, which leaves no room for the canary's: a rule has at most 16: merge backends of the rule, or divide the rule`,
		},
		"OtherOwner": {
			reason: "one Rollout a rule",
			edit: func(u *unstructured.Unstructured) {
				u.SetAnnotations(map[string]string{"weir.dev/split": "other cart cart-canary 500 *"})
			},
			pairs: cart.Pairs,
			want:  `HTTPRoute/shop: spec.rules[name="cart"].backendRefs: is split by Rollout "other" already: give each Rollout a rule of its own`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			u := shop(t)
			if tc.edit != nil {
				tc.edit(u)
			}
			target := cart
			target.Pairs = tc.pairs
			ref := target.Routes[0]
			ref.RuleNames = tc.rules
			err := newRoute(plain("HTTPRoute"), u, ref, target).unsupported(tc.weight)
			var unsupported *providers.UnsupportedError
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("\n%s\nerror is %v", tc.reason, err)
			case tc.want != "" && !errors.As(err, &unsupported):
				t.Errorf("\n%s\nerror is %v, want an *UnsupportedError", tc.reason, err)
			case tc.want != "" && strings.TrimSpace(err.Error()) != tc.want:
				t.Errorf("\n%s\ngot:  %s\nwant: %s", tc.reason, err, tc.want)
			}
		})
	}
}
