package gatewayapi

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// edgeOf is the Gateway edge of a class with a controller, without that class where
// the controller is empty.
func edgeOf(controller string) []*unstructured.Unstructured {
	edge := object("Gateway")
	edge.SetNamespace("shop")
	edge.SetName("edge")
	edge.Object["spec"] = map[string]any{"gatewayClassName": "public"}
	if controller == "" {
		return []*unstructured.Unstructured{edge}
	}
	class := object("GatewayClass")
	class.SetName("public")
	class.Object["spec"] = map[string]any{"controllerName": controller}
	return []*unstructured.Unstructured{edge, class}
}

// TestControllers: several controllers have reported on one parent, and one of
// them on an older generation.
func TestControllers(t *testing.T) {
	const remedy = " (others answer for it, too: if this controller is gone, take its entry out of status.parents)"
	target := ledger()
	target.Routes = target.Routes[:1]
	by := func(controller string, status map[string]any) map[string]any {
		status["controllerName"] = controller
		return status
	}
	mesh := func(controller string, generation int64) map[string]any {
		status := by(controller, parentStatus("ledger", generation, "True", "True"))
		status["parentRef"] = map[string]any{"group": "", "kind": "Service", "name": "ledger"}
		return status
	}
	former, present := "example.com/former", "example.com/present"
	cases := map[string]struct {
		reason  string
		service bool // The parent is a Service of a mesh.
		class   string
		reports []any
		// message is empty where the route is accepted.
		message   string
		processed bool
	}{
		"Former": {
			reason:    "what the former controller of a Gateway has left counts no more",
			class:     present,
			reports:   []any{by(former, parentStatus("edge", 1, "True", "True")), by(present, parentStatus("edge", 2, "True", "True"))},
			processed: true,
		},
		"FormerRefuses": {
			reason:    "nor does what it had against this generation",
			class:     present,
			reports:   []any{by(former, parentStatus("edge", 2, "False", "True")), by(present, parentStatus("edge", 2, "True", "True"))},
			processed: true,
		},
		"PresentIsSlow": {
			reason:  "the one whose it is has not taken note yet, whatever another says",
			class:   present,
			reports: []any{by(former, parentStatus("edge", 2, "True", "True")), by(present, parentStatus("edge", 1, "True", "True"))},
			message: "HTTPRoute/ledger-http: Gateway/edge: has reported on generation 1, not yet on 2",
		},
		"PresentIsSilent": {
			reason:  "that others have answered is no answer of the one whose it is",
			class:   "example.com/next",
			reports: []any{by(former, parentStatus("edge", 1, "True", "True")), by(present, parentStatus("edge", 2, "True", "True"))},
			message: "HTTPRoute/ledger-http: Gateway/edge: has not reported on the route yet",
		},
		"NoClass": {
			reason:  "without a class that can be read any of them may be slow, and is named",
			reports: []any{by(former, parentStatus("edge", 1, "True", "True")), by(present, parentStatus("edge", 2, "True", "True"))},
			message: "HTTPRoute/ledger-http: Gateway/edge: example.com/former: has reported on generation 1, not yet on 2" + remedy,
		},
		"Meshes": {
			reason:  "a Service may have two meshes, one of which is slow",
			service: true, class: present,
			reports: []any{mesh(former, 1), mesh(present, 2)},
			message: "HTTPRoute/ledger-http: Service/ledger: example.com/former: has reported on generation 1, not yet on 2" + remedy,
		},
		"One": {
			reason:  "of one controller nothing has to be found out",
			class:   present,
			reports: []any{by(former, parentStatus("edge", 1, "True", "True"))},
			message: "HTTPRoute/ledger-http: Gateway/edge: has reported on generation 1, not yet on 2",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			route := withGeneration(simpleRoute("HTTPRoute", "ledger-http", "ledger"), 2)
			route.Object["status"] = map[string]any{"parents": tc.reports}
			if tc.service {
				route.Object["spec"].(map[string]any)["parentRefs"] = []any{map[string]any{"group": "", "kind": "Service", "name": "ledger"}}
			}
			c := newCluster(t, append(edgeOf(tc.class), route)...)
			for _, live := range []bool{false, true} {
				seen, err := New(c, c).Observe(t.Context(), target, live)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tc.message, seen.Message); diff != "" || seen.Accepted != (tc.message == "") || seen.Processed != tc.processed {
					t.Errorf("%s: live %t: accepted %t, processed %t, message (-want +got):\n%s", tc.reason, live, seen.Accepted, seen.Processed, diff)
				}
			}
		})
	}
}

// TestCarriers: who carries a route is who has reported on it for its parents.
func TestCarriers(t *testing.T) {
	report := func(parent, controller string) any {
		status := parentStatus(parent, 1, "True", "True")
		status["controllerName"] = controller
		return status
	}
	cases := map[string]struct {
		reason  string
		reports []any
		class   string
		want    []string
	}{
		"Former": {
			reason:  "what a former controller has left is nobody's any more, even where it has accepted the route as it is",
			reports: []any{report("edge", "a"), report("edge", "b"), report("inner", "b")}, class: "b", want: []string{"b"},
		},
		"None":  {reason: "nobody has taken the route"},
		"Part":  {reason: "as long as one parent has not answered not all are known", reports: []any{report("edge", "b")}},
		"All":   {reason: "each is named once", reports: []any{report("edge", "b"), report("inner", "a"), report("inner", "b")}, want: []string{"a", "b"}},
		"Stray": {reason: "what is no parent any more says nothing", reports: []any{report("edge", "b"), report("inner", "b"), report("former", "a")}, want: []string{"b"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			route := simpleRoute("HTTPRoute", "ledger-http", "ledger")
			route.Object["spec"].(map[string]any)["parentRefs"] = []any{map[string]any{"name": "edge"}, map[string]any{"name": "inner"}}
			route.Object["status"] = map[string]any{"parents": tc.reports}
			status := dialect{kind: "HTTPRoute", parents: parents{live: newCluster(t, edgeOf(tc.class)...)}}.Status(t.Context(), route, false)
			if diff := cmp.Diff(tc.want, status.Carriers); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
