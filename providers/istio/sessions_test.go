package istio

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/providers/internal/routetest"
)

// sticky is a target whose users are kept with their version at a weight.
func sticky(target providers.Target, weight, before int32) providers.Target {
	target.Session = &providers.Session{Cookie: "weir-cart", MaxAge: time.Hour, Release: "5d8f-3", Weight: weight, Before: before}
	return target
}

// TestSessionPatches shows, in golden files, the rules of sessions in a VirtualService:
// right before the one that they are made from, stable's entries with their subset.
func TestSessionPatches(t *testing.T) {
	cart := targetOf("cart", "cart", "mixed")
	c := newCluster(t, routetest.Object(t, "shop"))
	p := New(c, c)
	first, next := sticky(cart, 500, 0), sticky(cart, 2500, 500)
	for _, step := range []struct {
		name, reason string
		call         call
	}{
		{"session-first", "a rule that draws, and two that keep, come right before the user's", raising(first, 500, 7)},
		{"session-next", "the next draw takes the place of the last one, and those of stable are drawn again", raising(next, 2500, 8)},
		{"session-lower", "all go in the first write of a lowering", lowering(sticky(cart, 0, 0), 0, 9)},
	} {
		c.patches = nil
		if err := step.call(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		routetest.Golden(t, step.name, step.reason, c.patches)
	}
}

// TestSessionRefused: what a VirtualService cannot keep is said before a release.
func TestSessionRefused(t *testing.T) {
	cases := map[string]struct {
		reason string
		rules  []string
		edit   func(spec map[string]any)
		want   string // empty for supported
	}{
		"Named": {reason: "http routes keep sessions", rules: []string{"cart", "mixed"}, edit: func(map[string]any) {}},
		"Connections": {
			reason: "connections have no cookies", edit: func(map[string]any) {},
			want: "VirtualService/shop: spec.tls[0]: is for connections, and matches, mirrors and sessions are for requests: " +
				"take sessionAffinity out of spec.traffic of the Rollout, or leave the rule out of its ruleNames",
		},
		"SetCookie": {
			reason: "a header can be added once", rules: []string{"cart"},
			edit: func(spec map[string]any) {
				entry := spec["http"].([]any)[0].(map[string]any)["route"].([]any)[0].(map[string]any)
				entry["headers"] = map[string]any{"response": map[string]any{"add": map[string]any{"set-cookie": "a=b"}}}
			},
			want: `VirtualService/shop: spec.http[name="cart"].route[].headers.response.add: has a Set-Cookie header already, beside which a VirtualService takes no other: ` +
				"take sessionAffinity out of spec.traffic of the Rollout, or leave the rule out of its ruleNames",
		},
		"Cookie": {
			reason: "a header can be matched once", rules: []string{"cart"},
			edit: func(spec map[string]any) {
				match := spec["http"].([]any)[0].(map[string]any)["match"].([]any)[0].(map[string]any)
				match["headers"] = map[string]any{"cookie": map[string]any{"regex": ".*beta.*"}}
			},
			want: `VirtualService/shop: spec.http[name="cart"].match[].headers: has "cookie" already, which Weir has to match, too: a VirtualService takes only one of them: ` +
				"take sessionAffinity out of spec.traffic of the Rollout, or leave the rule out of its ruleNames",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, edited(t, tc.edit))
			_, err := New(c, c).Observe(t.Context(), sticky(targetOf("cart", tc.rules...), 0, 0), false)
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

// TestSessionRestored: a VirtualService comes back as it was, whatever the sessions.
func TestSessionRestored(t *testing.T) {
	start := routetest.Object(t, "shop")
	c := newCluster(t, start.DeepCopy())
	p := New(c, c)
	cart := targetOf("cart", "cart", "mixed")
	for i, call := range []call{raising(sticky(cart, 500, 0), 500, 1), raising(sticky(cart, 2500, 500), 2500, 2), restoring(cart, 3)} {
		if err := call(t.Context(), p); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
	}
	spec := func(u *unstructured.Unstructured) any { return u.Object["spec"] }
	if diff := cmp.Diff(spec(start), spec(c.shop(t))); diff != "" {
		t.Errorf("not given back (-want +got):\n%s", diff)
	}
}
