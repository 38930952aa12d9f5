package conformance

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/providers/conformance"
	"github.com/weir-dev/weir/providers/gatewayapi"
)

// shop is a route of namespace ns with one rule to web, split at 5 %.
func shop(t *testing.T, ns string) (*unstructured.Unstructured, gatewayapi.Provider, providers.Target) {
	t.Helper()
	route := gatewayRoutes{}.Manifest(conformance.Route{
		Kind: "HTTPRoute", Namespace: ns, Name: "shop",
		Rules: []conformance.Rule{{Name: "web", Backends: []conformance.Backend{{Service: "web", Weight: 1}}}},
	})
	if err := user(t, sandbox).Create(t.Context(), route); err != nil {
		t.Fatal(err)
	}
	c := weir(t, sandbox)
	p := gatewayapi.New(c, c)
	target := providers.Target{
		Namespace: ns, Owner: "web",
		Routes: []v1alpha1.RouteReference{{Kind: "HTTPRoute", Name: "shop"}},
		Pairs:  []providers.Pair{{Stable: "web", Canary: "web-canary"}},
	}
	if err := p.Raise(t.Context(), target, 500, 1, nil); err != nil {
		t.Fatal(err)
	}
	return route, p, target
}

// backends of a rule as "service weight".
func backends(u *unstructured.Unstructured, rule int) []string {
	var out []string
	for _, b := range (gatewayRoutes{}).Rules(u)[rule].Backends {
		out = append(out, fmt.Sprintf("%s %d", b.Service, b.Weight))
	}
	return out
}

// TestSplitPolicy is what the policy makes of single writes; the suite has it
// work all the time.
func TestSplitPolicy(t *testing.T) {
	refs := func(u *unstructured.Unstructured) []any {
		spec, _ := u.Object["spec"].(map[string]any)
		rules, _ := spec["rules"].([]any)
		list, _ := rules[0].(map[string]any)["backendRefs"].([]any)
		return list
	}
	setRefs := func(u *unstructured.Unstructured, list []any) {
		spec, _ := u.Object["spec"].(map[string]any)
		rules, _ := spec["rules"].([]any)
		rules[0].(map[string]any)["backendRefs"] = list
	}
	cases := map[string]struct {
		reason string
		edit   func(u *unstructured.Unstructured)
		want   []string
	}{
		"CanaryByHand": {
			reason: "a weight that somebody gives the canary by hand is not the release's",
			edit: func(u *unstructured.Unstructured) {
				refs(u)[0].(map[string]any)["weight"], refs(u)[1].(map[string]any)["weight"] = int64(50), int64(50)
			},
			want: []string{"web 95", "web-canary 5"},
		},
		"CanaryTakenOut": {
			reason: "an entry that somebody takes out comes back, with what the other has now as the whole",
			edit:   func(u *unstructured.Unstructured) { setRefs(u, refs(u)[:1]) },
			want:   []string{"web 9025", "web-canary 475"},
		},
		"MoreBackends": {
			reason: "another backend gets its part of the user's weights, not of the canary's",
			edit: func(u *unstructured.Unstructured) {
				setRefs(u, []any{map[string]any{"name": "web", "port": int64(80), "weight": int64(3)}, map[string]any{"name": "new", "port": int64(80), "weight": int64(1)}})
			},
			want: []string{"web 285", "new 100", "web-canary 15"},
		},
		"SameNameElsewhere": {
			reason: "a Service of the same name in another namespace is another Service",
			edit: func(u *unstructured.Unstructured) {
				setRefs(u, []any{map[string]any{"name": "web", "namespace": "elsewhere", "port": int64(80), "weight": int64(3)}})
			},
			want: []string{"web 3"},
		},
		"Off": {
			reason: "the label set to off lets every write through",
			edit: func(u *unstructured.Unstructured) {
				u.SetLabels(map[string]string{v1alpha1.SplitAnnotation: "off"})
				setRefs(u, refs(u)[:1])
			},
			want: []string{"web 95"},
		},
		"NoRoom": {
			reason: "a rule as long as the API admits is not made invalid",
			edit: func(u *unstructured.Unstructured) {
				var list []any
				for range 16 {
					list = append(list, map[string]any{"name": "web", "port": int64(80), "weight": int64(1)})
				}
				setRefs(u, list)
			},
			want: strings.Split(strings.Repeat("web 1,", 15)+"web 1", ","),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			route, _, _ := shop(t, newNamespace(t, sandbox))
			c := user(t, sandbox)
			if err := harness.Edit(t.Context(), c, route, tc.edit); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, backends(route, 0)); diff != "" {
				t.Errorf("\n%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestPolicySparesWeir: right after the start of an API server, when it cannot
// apply policies to kinds from CRDs yet and refuses the writes of others, Weir
// can lower. The suite's API server is restarted, so nothing else may run.
func TestPolicySparesWeir(t *testing.T) {
	route, p, target := shop(t, newNamespace(t, sandbox))
	if _, err := sandbox.Run(t.Context(), "restart", "kube-apiserver"); err != nil {
		t.Fatal(err)
	}
	refused := func(err error) bool { return err != nil && strings.Contains(err.Error(), "CustomResourceDefinitions") }
	c := user(t, sandbox)
	others := false
	harness.Eventually(t, patience, "lower to 0", func(ctx context.Context) error {
		edit := route.DeepCopy()
		if err := c.Get(ctx, client.ObjectKeyFromObject(edit), edit); err != nil {
			return err
		}
		others = others || refused(c.Update(ctx, edit, client.DryRunAll))
		err := p.Lower(ctx, target, 0, 2)
		if refused(err) {
			t.Fatalf("Weir's lowering was refused: %v", err)
		}
		return err
	})
	t.Logf("writes of others were refused meanwhile: %t", others)
}
