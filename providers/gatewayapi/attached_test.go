package gatewayapi

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
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// tlsPolicyFor is a BackendTLSPolicy of a version for Services.
func tlsPolicyFor(version string, services ...string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(schema.GroupVersionKind{Group: gatewayv1.GroupName, Version: version, Kind: tlsPolicy})
	u.SetNamespace("shop")
	u.SetName("tls")
	var refs []any
	for _, s := range services {
		refs = append(refs, map[string]any{"group": "", "kind": "Service", "name": s})
	}
	u.Object["spec"] = map[string]any{"targetRefs": refs}
	return u
}

// TestAttachedPolicy: a policy on the user's Service that the canary's would be
// without is refused, naming it.
func TestAttachedPolicy(t *testing.T) {
	const refused = `BackendTLSPolicy/tls: spec.targetRefs: is for Service "ledger" and not for the canary's: name Service "ledger-canary" there, too`
	target := ledger()
	target.Routes = target.Routes[:1]
	noMatch := &meta.NoKindMatchError{GroupKind: schema.GroupKind{Group: gatewayv1.GroupName, Kind: tlsPolicy}, SearchedVersions: []string{"v1"}}
	notFound := apierrors.NewNotFound(schema.GroupResource{Group: gatewayv1.GroupName, Resource: "backendtlspolicies"}, "")
	forbidden := apierrors.NewForbidden(schema.GroupResource{Group: gatewayv1.GroupName, Resource: "backendtlspolicies"}, "", errors.New("no right"))
	broken := errors.New("no route to host")
	cases := map[string]struct {
		reason string
		policy *unstructured.Unstructured
		// lists are the answers to a list of each version, none for success.
		lists map[string]error
		want  string
	}{
		"Other":     {reason: "a policy on another Service is no matter", policy: tlsPolicyFor("v1", "web")},
		"Both":      {reason: "a policy on both Services applies to the canary, too", policy: tlsPolicyFor("v1", "ledger", "ledger-canary")},
		"Stable":    {reason: "a policy on the user's Service alone would be lost", policy: tlsPolicyFor("v1", "ledger"), want: refused},
		"Older":     {reason: "Gateway API before 1.4 knows the kind as v1alpha3 alone", policy: tlsPolicyFor("v1alpha3", "ledger"), lists: map[string]error{"v1": noMatch}, want: refused},
		"Unserved":  {reason: "a version that was served may be no more", policy: tlsPolicyFor("v1alpha3", "ledger"), lists: map[string]error{"v1": notFound}, want: refused},
		"None":      {reason: "a cluster without the kind has no such policy", policy: tlsPolicyFor("v1", "ledger"), lists: map[string]error{"v1": noMatch, "v1alpha3": noMatch}},
		"Forbidden": {reason: "without the right to list it none is known", policy: tlsPolicyFor("v1", "ledger"), lists: map[string]error{"v1": forbidden}},
		"Broken":    {reason: "not to know is not to be without", policy: tlsPolicyFor("v1alpha3", "ledger"), lists: map[string]error{"v1": noMatch, "v1alpha3": broken}, want: "cannot look for a BackendTLSPolicy that is in the way: cannot list the kind: no route to host"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, simpleRoute("HTTPRoute", "ledger-http", "ledger"), tc.policy)
			faulty := interceptor.NewClient(c, interceptor.Funcs{
				List: func(ctx context.Context, inner client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
					if err := tc.lists[list.GetObjectKind().GroupVersionKind().Version]; err != nil {
						return err
					}
					return inner.List(ctx, list, opts...)
				},
			})
			p := New(faulty, faulty)
			_, err := p.Observe(t.Context(), target, true)
			for call, err := range map[string]error{"Observe": err, "Raise": p.Raise(t.Context(), target, 500, 1, nil)} {
				if (err == nil) != (tc.want == "") || err != nil && err.Error() != tc.want {
					t.Errorf("\n%s\n%s: error is %v, want %q", tc.reason, call, err, tc.want)
				}
			}
		})
	}
}
