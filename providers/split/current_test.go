package split

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gomodules.xyz/jsonpatch/v2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// defaulted is a route as an API server stores it: matches that Weir made have what it
// adds to any.
func defaulted(u *unstructured.Unstructured) {
	for _, item := range u.Object["spec"].(map[string]any)["rules"].([]any) {
		matches, _ := item.(map[string]any)["matches"].([]any)
		for _, m := range matches {
			if match := m.(map[string]any); match["path"] == nil {
				match["path"] = map[string]any{"type": "PathPrefix", "value": "/"}
			}
		}
	}
}

// TestTakenOut: what the user takes out of a rule during a release goes from the rules
// that were made of it, too, in one raise that has an end.
func TestTakenOut(t *testing.T) {
	field := func(key string, value any) func(map[string]any) {
		return func(rule map[string]any) { rule[key] = value }
	}
	without := func(keys ...string) func(map[string]any) {
		return func(rule map[string]any) {
			at := rule
			for _, key := range keys[:len(keys)-1] {
				at = at[key].(map[string]any)
			}
			delete(at, keys[len(keys)-1])
		}
	}
	entry := func(rule map[string]any) map[string]any { return rule["backendRefs"].([]any)[0].(map[string]any) }
	match := func(rule map[string]any) map[string]any { return rule["matches"].([]any)[0].(map[string]any) }
	rewrite := map[string]any{"type": "URLRewrite", "urlRewrite": map[string]any{"hostname": "old.example.com"}}
	other := map[string]any{"type": "RequestHeaderModifier", "requestHeaderModifier": map[string]any{"remove": []any{"x-old"}}}
	cases := map[string]struct {
		reason       string
		start, after func(map[string]any)
		current      bool
	}{
		"Nothing":   {"the rule is as it was", field("retry", map[string]any{"attempts": int64(2)}), func(map[string]any) {}, true},
		"NoMatches": {"defaults of matches that Weir made are no difference", field("matches", []any{}), func(map[string]any) {}, true},
		"Field":     {"all timeouts", func(map[string]any) {}, without("timeouts"), false},
		"Nested": {
			"one timeout of two", field("timeouts", map[string]any{"request": "2s", "backendRequest": "1s"}), without("timeouts", "request"), false,
		},
		"List":      {"all filters", field("filters", []any{rewrite}), without("filters"), false},
		"Item":      {"one filter of two", field("filters", []any{other, rewrite}), field("filters", []any{other}), false},
		"Backend":   {"a filter of a backend", func(map[string]any) {}, func(rule map[string]any) { delete(entry(rule), "filters") }, false},
		"Condition": {"a condition of a match", func(rule map[string]any) { match(rule)["method"] = "GET" }, func(rule map[string]any) { delete(match(rule), "method") }, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			target := with(sticky(cart, 2500, 500), header("x-cohort", "b"))
			rule := func(u *unstructured.Unstructured) map[string]any {
				for _, item := range u.Object["spec"].(map[string]any)["rules"].([]any) {
					if r := item.(map[string]any); r["name"] == "cart" {
						return r
					}
				}
				t.Fatal("the rule is gone")
				return nil
			}
			raise := func(u *unstructured.Unstructured) *unstructured.Unstructured {
				for range minWrites {
					ops, err := newRoute(plain("HTTPRoute"), u, target.Routes[0], target).raise(2500, 7)
					if err != nil {
						t.Fatal(err)
					}
					if len(ops) == 0 {
						return u
					}
					u = patched(t, u, ops)
					defaulted(u)
				}
				t.Fatal("the raise does not come to an end")
				return nil
			}
			seen := func(u *unstructured.Unstructured) carrying {
				return newRoute(plain("HTTPRoute"), u, target.Routes[0], target).carriesExtras()
			}
			u := shop(t)
			tc.start(rule(u))
			u = raise(u)
			whole := carrying{some: true, whole: true}
			if diff := cmp.Diff(whole, seen(u), cmp.AllowUnexported(carrying{})); diff != "" {
				t.Fatalf("%s: before the edit (-want +got):\n%s", tc.reason, diff)
			}
			u = u.DeepCopy()
			tc.after(rule(u))
			if got := seen(u); got.loose == tc.current || got.whole != tc.current {
				t.Errorf("%s: after the edit the route carries %+v", tc.reason, got)
			}
			_, versions := run(t, u, target, func(r *route) ([]jsonpatch.Operation, error) { return r.lower(2500, atMost(2500), 8) })
			u = raise(last(versions))
			if diff := cmp.Diff(whole, seen(u), cmp.AllowUnexported(carrying{})); diff != "" {
				t.Errorf("%s: after a raise (-want +got):\n%s", tc.reason, diff)
			}
			fields := func(rule map[string]any) []string {
				var keys []string
				for key := range rule {
					keys = append(keys, key)
				}
				slices.Sort(keys)
				return keys
			}
			for _, made := range newRoute(plain("HTTPRoute"), u, target.Routes[0], target).made {
				if made.Name == draw.name(0, "cart") || made.Name == matched.name(0, "cart") {
					if diff := cmp.Diff(fields(rule(u)), fields(made.Raw)); diff != "" {
						t.Errorf("%s: fields of %s (-user's +made):\n%s", tc.reason, made.Name, diff)
					}
				}
			}
		})
	}
}
