package split

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
)

// carried is a dialect whose objects say who carries them; of kind GRPCRoute all are
// carried by mesh.
type carried struct{ plain }

func (c carried) Kind() Kind {
	kind := c.plain.Kind()
	if kind.Kind == "GRPCRoute" {
		kind.Carrier = "mesh"
	}
	return kind
}

func (carried) Status(_ context.Context, object *unstructured.Unstructured, _ bool) Status {
	names, _, _ := unstructured.NestedStringSlice(object.Object, "status", "carriers")
	return Status{Accepted: true, Processed: true, Carriers: names}
}

// TestCounted: requests are counted where all carriers of all routes count them in
// the same series.
func TestCounted(t *testing.T) {
	of := func(metric v1alpha1.Selector) providers.RequestCounters {
		return providers.RequestCounters{Total: []v1alpha1.Selector{metric}, ServiceLabel: "service"}
	}
	mesh, other := of("mesh_requests_total"), of("other_requests_total")
	parts := []Part{
		{Dialects: []Dialect{carried{plain("HTTPRoute")}}, Counters: map[string]providers.RequestCounters{"mesh": mesh}},
		{Dialects: []Dialect{carried{plain("GRPCRoute")}}, Counters: map[string]providers.RequestCounters{"other": other, "same": mesh}},
	}
	cases := map[string]struct {
		reason    string
		http      []any
		grpc      bool
		want      *providers.RequestCounters
		uncounted string
	}{
		"One":     {reason: "the carrier of a route is looked for in all parts", http: []any{"other"}, want: &other},
		"ByKind":  {reason: "a kind may say who carries its objects", http: []any{"mesh"}, grpc: true, want: &mesh},
		"Same":    {reason: "several carriers may count alike", http: []any{"same", "mesh"}, want: &mesh},
		"NotYet":  {reason: "nobody has taken one of the routes yet", http: []any{}, grpc: true},
		"Unknown": {reason: "a carrier whose series are not known is named", http: []any{"mesh", "nginx"}, uncounted: "HTTPRoute/ledger-http is carried by nginx, of which no series are known"},
		"Differ":  {reason: "one question cannot ask for two kinds of series", http: []any{"other"}, grpc: true, uncounted: "GRPCRoute/ledger-grpc is carried by another mesh, or in another way, than the routes before it"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			target := ledger()
			http := simpleRoute("HTTPRoute", "ledger-http", "ledger")
			http.Object["status"] = map[string]any{"carriers": tc.http}
			c := newCluster(t, http, simpleRoute("GRPCRoute", "ledger-grpc", "ledger"))
			if !tc.grpc {
				target.Routes = target.Routes[:1]
			}
			got, err := New(c, c, parts...).Observe(t.Context(), target, false)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got.Requests); diff != "" || got.Uncounted != tc.uncounted {
				t.Errorf("%s: uncounted %q, want %q; -want +got:\n%s", tc.reason, got.Uncounted, tc.uncounted, diff)
			}
		})
	}
}
