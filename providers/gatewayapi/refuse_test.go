package gatewayapi

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weir-dev/weir/providers"
)

// TestRefuse: routes that Gateway API admits, and that cannot carry a split.
func TestRefuse(t *testing.T) {
	spec := func(u *unstructured.Unstructured) map[string]any { return u.Object["spec"].(map[string]any) }
	rule := func(u *unstructured.Unstructured) map[string]any {
		return spec(u)["rules"].([]any)[0].(map[string]any)
	}
	cases := map[string]struct {
		reason string
		edit   func(*unstructured.Unstructured)
		want   string // empty for supported
	}{
		"Plain": {reason: "nothing is wrong", edit: func(*unstructured.Unstructured) {}},
		"NoParents": {
			reason: "a route of no Gateway carries nothing",
			edit:   func(u *unstructured.Unstructured) { delete(spec(u), "parentRefs") },
			want:   "HTTPRoute/ledger-http: spec.parentRefs: is empty, so nothing serves this route: name a Gateway, or a Service of the mesh",
		},
		"SessionPersistence": {
			reason: "sessions stay where they are whatever the weights",
			edit:   func(u *unstructured.Unstructured) { rule(u)["sessionPersistence"] = map[string]any{"type": "Cookie"} },
			want:   `HTTPRoute/ledger-http: spec.rules[0].sessionPersistence: pins sessions to a backend, so that weights do not move them: remove it for the time of releases, or leave the rule out of ruleNames of the Rollout`,
		},
		"SessionPersistenceElsewhere": {
			reason: "another rule's sessions are no matter",
			edit: func(u *unstructured.Unstructured) {
				spec(u)["rules"] = append(spec(u)["rules"].([]any), map[string]any{"sessionPersistence": map[string]any{"type": "Cookie"}})
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			target := ledger()
			target.Routes = target.Routes[:1]
			u := simpleRoute("HTTPRoute", "ledger-http", "ledger")
			tc.edit(u)
			c := newCluster(t, u)
			err := New(c, c).Raise(t.Context(), target, 500, 1, nil)
			var unsupported *providers.UnsupportedError
			got := ""
			if errors.As(err, &unsupported) {
				got = unsupported.Error()
			} else if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}
