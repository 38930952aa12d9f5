package gatewayapi

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
)

// ledger is a target over two routes, as in a service with HTTP and gRPC.
func ledger() providers.Target {
	return providers.Target{
		Namespace: "shop", Owner: "ledger",
		Routes: []v1alpha1.RouteReference{{Kind: "HTTPRoute", Name: "ledger-http"}, {Kind: "GRPCRoute", Name: "ledger-grpc"}},
		Pairs:  []providers.Pair{{Stable: "ledger", Canary: "ledger-canary"}},
	}
}

// object of a kind, empty.
func object(kind string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(gatewayKind(kind))
	return u
}

// newCluster is a fake API server.
func newCluster(t *testing.T, objects ...*unstructured.Unstructured) client.WithWatch {
	t.Helper()
	b := fake.NewClientBuilder()
	for _, o := range objects {
		b.WithObjects(o)
	}
	return b.Build()
}

func withGeneration(o *unstructured.Unstructured, generation int64) *unstructured.Unstructured {
	o.SetGeneration(generation)
	return o
}

// simpleRoute with one rule to the Service, at one Gateway that accepted it.
func simpleRoute(kind, name, service string) *unstructured.Unstructured {
	u := object(kind)
	u.SetName(name)
	u.SetNamespace("shop")
	u.SetGeneration(1)
	u.SetResourceVersion("1")
	u.Object["spec"] = map[string]any{
		"parentRefs": []any{map[string]any{"name": "edge"}},
		"rules": []any{map[string]any{"backendRefs": []any{
			map[string]any{"group": "", "kind": "Service", "name": service, "port": int64(80), "weight": int64(1)},
		}}},
	}
	u.Object["status"] = map[string]any{"parents": []any{parentStatus("edge", 1, "True", "True")}}
	return u
}

// parentStatus as a Gateway API implementation writes it.
func parentStatus(parent string, generation int64, accepted, resolved string) map[string]any {
	condition := func(kind, status string) map[string]any {
		c := map[string]any{
			"type": kind, "status": status, "reason": kind + status, "message": "as told",
			"lastTransitionTime": "2026-01-01T00:00:00Z",
		}
		if generation > 0 {
			c["observedGeneration"] = generation
		}
		return c
	}
	return map[string]any{
		"controllerName": "example.com/gateway",
		"parentRef":      map[string]any{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": parent},
		"conditions":     []any{condition("Accepted", accepted), condition("ResolvedRefs", resolved)},
	}
}

func TestObserve(t *testing.T) {
	target := ledger()
	accepted := func(o *unstructured.Unstructured, parents ...any) *unstructured.Unstructured {
		o.Object["status"] = map[string]any{"parents": parents}
		return o
	}
	http := func() *unstructured.Unstructured { return simpleRoute("HTTPRoute", "ledger-http", "ledger") }
	grpc := func() *unstructured.Unstructured { return simpleRoute("GRPCRoute", "ledger-grpc", "ledger") }
	both := []string{"HTTPRoute/ledger-http", "GRPCRoute/ledger-grpc"}
	split := func(o *unstructured.Unstructured, weight int32, stamp int64) *unstructured.Unstructured {
		one := target
		one.Routes = []v1alpha1.RouteReference{{Kind: o.GetKind(), Name: o.GetName()}}
		c := newCluster(t, o)
		if err := New(c, c).Raise(t.Context(), one, weight, stamp, nil); err != nil {
			t.Fatal(err)
		}
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			t.Fatal(err)
		}
		return o
	}
	cases := map[string]struct {
		reason  string
		objects []*unstructured.Unstructured
		// noEdge says that there is no Gateway of the name that the routes have.
		noEdge bool
		want   providers.Observation
		err    error
	}{
		"Untouched": {
			reason:  "as the user wrote it",
			objects: []*unstructured.Unstructured{http(), grpc()},
			want:    providers.Observation{Accepted: true, Processed: true, Services: []string{"ledger"}, Routes: both},
		},
		"Differ": {
			reason:  "of several routes the worst of each",
			objects: []*unstructured.Unstructured{split(http(), 500, 3), split(grpc(), 100, 4)},
			want: providers.Observation{
				Split: true, Weight: 500, LowestWeight: 100, Accepted: true, Processed: true, Stamp: 3, HighestStamp: 4,
				Services: []string{"ledger"}, Routes: both,
			},
		},
		"OneSplit": {
			reason:  "a route that is not split yet carries nothing",
			objects: []*unstructured.Unstructured{split(http(), 500, 3), grpc()},
			want: providers.Observation{
				Split: true, Weight: 500, Accepted: true, Processed: true, HighestStamp: 3, Services: []string{"ledger"}, Routes: both,
			},
		},
		"OldGeneration": {
			reason:  "what was accepted is an older generation",
			objects: []*unstructured.Unstructured{http(), withGeneration(grpc(), 2)},
			want: providers.Observation{
				Services: []string{"ledger"}, Routes: both,
				Message: "GRPCRoute/ledger-grpc: Gateway/edge: has reported on generation 1, not yet on 2",
			},
		},
		"NoGeneration": {
			reason:  "some implementations report no generation: theirs is taken for the present one",
			objects: []*unstructured.Unstructured{http(), withGeneration(accepted(grpc(), parentStatus("edge", 0, "True", "True")), 2)},
			want:    providers.Observation{Accepted: true, Processed: true, Services: []string{"ledger"}, Routes: both},
		},
		"Refused": {
			reason:  "a Gateway that refuses says why",
			objects: []*unstructured.Unstructured{http(), accepted(grpc(), parentStatus("edge", 1, "False", "True"))},
			want: providers.Observation{
				Processed: true, Services: []string{"ledger"}, Routes: both,
				Message: "GRPCRoute/ledger-grpc: Gateway/edge: Accepted is False: AcceptedFalse: as told",
			},
		},
		"Unresolved": {
			reason:  "a backend that does not resolve is not accepted",
			objects: []*unstructured.Unstructured{accepted(http(), parentStatus("edge", 1, "True", "False")), grpc()},
			want: providers.Observation{
				Services: []string{"ledger"}, Routes: both, Processed: true,
				Message: "HTTPRoute/ledger-http: Gateway/edge: ResolvedRefs is False: ResolvedRefsFalse: as told",
			},
		},
		"Silent": {
			reason:  "a parent that has not answered has not accepted, whatever others say",
			objects: []*unstructured.Unstructured{accepted(http(), parentStatus("other", 1, "True", "True")), grpc()},
			want: providers.Observation{
				Services: []string{"ledger"}, Routes: both,
				Message: "HTTPRoute/ledger-http: Gateway/edge: has not reported on the route yet",
			},
		},
		"GatewayGone": {
			reason:  "a Gateway that does not exist serves nothing, and will never report",
			objects: []*unstructured.Unstructured{http(), withGeneration(grpc(), 2)},
			noEdge:  true,
			want: providers.Observation{
				Processed: true, Services: []string{"ledger"}, Routes: both,
				Message: "GRPCRoute/ledger-grpc: Gateway/edge: does not exist",
			},
		},
		"Missing": {
			reason:  "what is there is told along with what is missing",
			objects: []*unstructured.Unstructured{split(http(), 500, 3)},
			want: providers.Observation{
				Split: true, Weight: 500, Processed: true, HighestStamp: 3, Services: []string{"ledger"}, Routes: both[:1],
				Message: `GRPCRoute "ledger-grpc" does not exist in this namespace: create it, or correct spec.traffic.routeRefs`,
			},
			err: &providers.NotFoundError{Kind: "GRPCRoute", Name: "ledger-grpc"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			objects := tc.objects
			if !tc.noEdge {
				edge := object("Gateway")
				edge.SetNamespace("shop")
				edge.SetName("edge")
				objects = append(objects, edge)
			}
			c := newCluster(t, objects...)
			got, err := New(c, c).Observe(t.Context(), target, true)
			if of := "is carried by example.com/gateway, of which no series are known"; !strings.Contains(got.Uncounted, of) {
				t.Errorf("\n%s\nuncounted is %q, want that a route %s", tc.reason, got.Uncounted, of)
			}
			got.Uncounted = ""
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\n-want +got:\n%s", tc.reason, diff)
			}
			var missing *providers.NotFoundError
			if (tc.err != nil) != errors.As(err, &missing) || tc.err == nil && err != nil {
				t.Errorf("\n%s\nerror is %v, want %v", tc.reason, err, tc.err)
			}
		})
	}
}
