package istio

import (
	"context"
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/weir-dev/weir/providers/internal/routetest"
)

// ruleFor is a DestinationRule for a host, named like it, with a traffic policy.
func ruleFor(host string, with ...func(spec map[string]any)) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(istioKind(destinationRule))
	u.SetNamespace("shop")
	u.SetName("rule-" + host)
	spec := map[string]any{"host": host, "trafficPolicy": map[string]any{"tls": map[string]any{"mode": "ISTIO_MUTUAL"}}}
	for _, f := range with {
		f(spec)
	}
	u.Object["spec"] = spec
	return u
}

// plain takes the traffic policy out.
func plain(spec map[string]any) { delete(spec, "trafficPolicy") }

// subset adds one, with a traffic policy or without.
func subset(policy bool) func(spec map[string]any) {
	return func(spec map[string]any) {
		s := map[string]any{"name": "v1", "labels": map[string]any{"version": "v1"}}
		if policy {
			s["trafficPolicy"] = map[string]any{"connectionPool": map[string]any{"tcp": map[string]any{"maxConnections": int64(10)}}}
		}
		spec["subsets"] = []any{s}
	}
}

// TestAttachedPolicy: a DestinationRule for the user's Service that the canary's
// would be without is refused, naming it.
func TestAttachedPolicy(t *testing.T) {
	const remedy = `has a traffic policy for Service "cart" that the canary's would be without: add a DestinationRule with the same policy for host `
	const behind = `, which may be there before the Service`
	resource := schema.GroupResource{Group: Group, Resource: "destinationrules"}
	elsewhere := ruleFor("cart.shop.svc.cluster.local")
	elsewhere.SetNamespace("elsewhere")
	cases := map[string]struct {
		reason string
		rules  []*unstructured.Unstructured
		list   error
		want   string
	}{
		"None":  {reason: "nothing is lost"},
		"Other": {reason: "one for another Service is no matter", rules: []*unstructured.Unstructured{ruleFor("web"), ruleFor("www.example.com")}},
		"Both":  {reason: "one for each applies to the canary, too", rules: []*unstructured.Unstructured{ruleFor("cart"), ruleFor("cart-canary.shop.svc.cluster.local")}},
		"Deliberate": {
			reason: "what the canary's says is the user's to decide",
			rules:  []*unstructured.Unstructured{ruleFor("cart"), ruleFor("cart-canary", plain)},
		},
		"Stable": {
			reason: "one for the user's Service alone would be lost",
			rules:  []*unstructured.Unstructured{ruleFor("cart")},
			want:   `DestinationRule/rule-cart: spec.host: ` + remedy + `"cart-canary"` + behind,
		},
		"FullName": {
			reason: "the remedy has the form of the host",
			rules:  []*unstructured.Unstructured{ruleFor("cart.shop.svc.cluster.local")},
			want:   `DestinationRule/rule-cart.shop.svc.cluster.local: spec.host: ` + remedy + `"cart-canary.shop.svc.cluster.local"` + behind,
		},
		"Wildcard": {reason: "one for all hosts is for the canary's, too", rules: []*unstructured.Unstructured{ruleFor("*.shop.svc.cluster.local"), ruleFor("*")}},
		"WildcardAndStable": {
			reason: "the one for a single host wins over the one for all",
			rules:  []*unstructured.Unstructured{ruleFor("*.shop.svc.cluster.local"), ruleFor("cart")},
			want:   `DestinationRule/rule-cart: spec.host: ` + remedy + `"cart-canary"` + behind,
		},
		"PlainSubsets": {reason: "subsets without a policy are not for the canary", rules: []*unstructured.Unstructured{ruleFor("cart", plain, subset(false))}},
		"SubsetPolicy": {
			reason: "the policy of a subset is lost as any other",
			rules:  []*unstructured.Unstructured{ruleFor("cart", plain, subset(true))},
			want:   `DestinationRule/rule-cart: spec.host: ` + remedy + `"cart-canary"` + behind,
		},
		"Unknown": {
			reason: "a field of a newer Istio keeps nothing from being read",
			rules:  []*unstructured.Unstructured{ruleFor("cart", plain, func(spec map[string]any) { spec["futureField"] = map[string]any{"a": "b"} })},
		},
		"Elsewhere": {reason: "those of other namespaces are not known", rules: []*unstructured.Unstructured{elsewhere}},
		"Forbidden": {
			reason: "without the right to list them none is known", rules: []*unstructured.Unstructured{ruleFor("cart")},
			list: apierrors.NewForbidden(resource, "", errors.New("no right")),
		},
		"NoKind": {
			reason: "a cluster without the kind has none", rules: []*unstructured.Unstructured{ruleFor("cart")},
			list: &meta.NoKindMatchError{GroupKind: schema.GroupKind{Group: Group, Kind: destinationRule}, SearchedVersions: []string{version}},
		},
		"Unserved": {
			reason: "nor has one that was known, and is no more", rules: []*unstructured.Unstructured{ruleFor("cart")},
			list: apierrors.NewNotFound(resource, ""),
		},
		"Broken": {
			reason: "not to know is not to be without", list: errors.New("no route to host"),
			want: "cannot look for a DestinationRule that is in the way: cannot list the kind: no route to host",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, append(tc.rules, routetest.Object(t, "shop"))...)
			faulty := interceptor.NewClient(c, interceptor.Funcs{
				List: func(ctx context.Context, inner client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
					if tc.list != nil {
						return tc.list
					}
					return inner.List(ctx, list, opts...)
				},
			})
			p := New(faulty, faulty)
			_, err := p.Observe(t.Context(), targetOf("cart"), true)
			for call, err := range map[string]error{"Observe": err, "Raise": p.Raise(t.Context(), targetOf("cart"), 500, 1, nil)} {
				if (err == nil) != (tc.want == "") || err != nil && err.Error() != tc.want {
					t.Errorf("\n%s\n%s: error is %v, want %q", tc.reason, call, err, tc.want)
				}
			}
		})
	}
	c := newCluster(t, routetest.Object(t, "shop"), ruleFor("cart"))
	undiscovered := targetOf("cart")
	undiscovered.Pairs = nil
	if _, err := New(c, c).Observe(t.Context(), undiscovered, true); err != nil {
		t.Errorf("before the Services are known nothing is looked for: %v", err)
	}
}
