package gatewayapi

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/providers"
)

// sticky is the ledger, whose users are kept with their version at a weight.
func sticky(weight, before int32) providers.Target {
	target := ledger()
	target.Session = &providers.Session{Cookie: "weir-ledger", MaxAge: time.Hour, Release: "5d8f-3", Weight: weight, Before: before}
	return target
}

// rulesOf a route on a cluster, by name.
func rulesOf(t *testing.T, c client.Client, kind, name string) map[string]map[string]any {
	t.Helper()
	u := object(kind)
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: name}, u); err != nil {
		t.Fatal(err)
	}
	out := map[string]map[string]any{}
	for _, item := range u.Object["spec"].(map[string]any)["rules"].([]any) {
		rule := item.(map[string]any)
		ruleName, _ := rule["name"].(string)
		out[ruleName] = rule
	}
	return out
}

// TestSessionRules: what keeps users of an HTTPRoute. Headers that the user's filters
// add are added as before, in the one filter that an entry may have; and a GRPCRoute
// beside it is split by its weights alone.
func TestSessionRules(t *testing.T) {
	modifier := func(add ...any) any {
		return map[string]any{"type": "ResponseHeaderModifier", "responseHeaderModifier": map[string]any{"add": add}}
	}
	header := func(name, value string) any { return map[string]any{"name": name, "value": value} }
	route := simpleRoute("HTTPRoute", "ledger-http", "ledger")
	entry := route.Object["spec"].(map[string]any)["rules"].([]any)[0].(map[string]any)["backendRefs"].([]any)[0].(map[string]any)
	entry["filters"] = []any{modifier(header("x-team", "ledger"))}
	c := newCluster(t, route, simpleRoute("GRPCRoute", "ledger-grpc", "ledger"))
	if err := New(c, c).Raise(t.Context(), sticky(2500, 500), 2500, 1, nil); err != nil {
		t.Fatal(err)
	}
	backend := func(name string, weight int64, filters ...any) any {
		return map[string]any{"group": "", "kind": "Service", "name": name, "port": int64(80), "weight": weight, "filters": filters}
	}
	own := modifier(header("x-team", "ledger"))
	setting := func(value string) any {
		return modifier(header("x-team", "ledger"), header("Set-Cookie", "weir-ledger="+value+"; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax"))
	}
	cookie := func(value string) any {
		return []any{map[string]any{"headers": []any{map[string]any{
			"type": "RegularExpression", "name": "cookie", "value": "^(?:.*; *)?weir-ledger=" + value + "(?:;.*)?$",
		}}}}
	}
	draws := func(stable, canary int64) []any {
		return []any{backend("ledger", stable, setting("stable-5d8f-3-2500")), backend("ledger-canary", canary, setting("canary-5d8f-3"))}
	}
	want := map[string]map[string]any{
		"":               {"backendRefs": []any{backend("ledger", 75, own), backend("ledger-canary", 25, own)}},
		"weir-0c-ledger": {"matches": cookie("canary-5d8f-3"), "backendRefs": []any{backend("ledger-canary", 1, own)}},
		"weir-0s-ledger": {"matches": cookie("stable-5d8f-3-2500"), "backendRefs": []any{backend("ledger", 1, own)}},
		"weir-0r-ledger": {"matches": cookie("(?:stable-5d8f-3-[0-9]+)"), "backendRefs": draws(7895, 2105)},
		"weir-0d-ledger": {"backendRefs": draws(75, 25)},
	}
	for name, rule := range want {
		if name != "" {
			rule["name"] = name
		}
	}
	if diff := cmp.Diff(want, rulesOf(t, c, "HTTPRoute", "ledger-http")); diff != "" {
		t.Errorf("rules of the HTTPRoute (-want +got):\n%s", diff)
	}
	if got := rulesOf(t, c, "GRPCRoute", "ledger-grpc"); len(got) != 1 {
		t.Errorf("rules of the GRPCRoute: %v", got)
	}
	o, err := New(c, c).Observe(t.Context(), sticky(2500, 500), true)
	if err != nil || o.Loose || o.Stray || o.LowestWeight != 2500 {
		t.Errorf("the routes carry %+v, %v", o, err)
	}
}

// TestSessionRefused: HTTPRoutes that cannot have sessions, said before a release.
func TestSessionRefused(t *testing.T) {
	const remedy = ": take sessionAffinity out of spec.traffic of the Rollout, or leave the rule out of its ruleNames"
	rules := func(u *unstructured.Unstructured) []any {
		return u.Object["spec"].(map[string]any)["rules"].([]any)
	}
	many := func(n int) func(*unstructured.Unstructured) {
		return func(u *unstructured.Unstructured) {
			spec := u.Object["spec"].(map[string]any)
			for i := 1; i < n; i++ {
				rule := (&unstructured.Unstructured{Object: rules(u)[0].(map[string]any)}).DeepCopy().Object
				rule["matches"] = []any{map[string]any{"path": map[string]any{"type": "PathPrefix", "value": fmt.Sprintf("/%d", i)}}}
				spec["rules"] = append(rules(u), rule)
			}
		}
	}
	cases := map[string]struct {
		reason string
		edit   func(*unstructured.Unstructured)
		want   string // empty for supported
	}{
		"Three": {reason: "three rules with four of Weir's each are fifteen", edit: many(3)},
		"Four": {
			reason: "a fourth is too many", edit: many(4),
			want: "HTTPRoute/ledger-http: spec.rules: has 4 rules, of which 4 need 4 of Weir's beside each for matches and sessions: a route has at most 16: " +
				"take sessionAffinity out of spec.traffic, divide the route, or name fewer rules in ruleNames of the Rollout",
		},
		"Matches": {
			reason: "a route has 128 matches in all", edit: func(u *unstructured.Unstructured) {
				var list []any
				for i := range 30 {
					list = append(list, map[string]any{"path": map[string]any{"type": "PathPrefix", "value": fmt.Sprintf("/%d", i)}})
				}
				rules(u)[0].(map[string]any)["matches"] = list
			},
			want: "HTTPRoute/ledger-http: spec.rules: would have 150 matches with those of Weir's rules for matches and sessions: a route has at most 128: " +
				"take matches out of the steps, or sessionAffinity out of spec.traffic, or divide the route",
		},
		"Cookie": {
			reason: "a header can be matched once",
			edit: func(u *unstructured.Unstructured) {
				rules(u)[0].(map[string]any)["matches"] = []any{map[string]any{"headers": []any{map[string]any{"name": "Cookie", "value": "a=b"}}}}
			},
			want: `HTTPRoute/ledger-http: spec.rules[0].matches[].headers: has "cookie" already, which Weir has to match, too: Gateway API takes only one of them` + remedy,
		},
		"SetCookie": {
			reason: "a header can be added once",
			edit: func(u *unstructured.Unstructured) {
				entry := rules(u)[0].(map[string]any)["backendRefs"].([]any)[0].(map[string]any)
				entry["filters"] = []any{map[string]any{"type": "ResponseHeaderModifier", "responseHeaderModifier": map[string]any{
					"add": []any{map[string]any{"name": "set-cookie", "value": "a=b"}},
				}}}
			},
			want: "HTTPRoute/ledger-http: spec.rules[0].backendRefs[].filters: has a Set-Cookie header already, beside which Gateway API takes no other" + remedy,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			u := simpleRoute("HTTPRoute", "ledger-http", "ledger")
			tc.edit(u)
			c := newCluster(t, u)
			target := sticky(0, 0)
			target.Routes = target.Routes[:1]
			_, err := New(c, c).Observe(t.Context(), target, false)
			var unsupported *providers.UnsupportedError
			got := ""
			if errors.As(err, &unsupported) {
				got = unsupported.Error()
			} else if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
