package istio

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/matrix"
	"github.com/weir-dev/weir/e2e/sandbox/load"
	"github.com/weir-dev/weir/e2e/stage"
	"github.com/weir-dev/weir/providers/conformance"
)

// TestVirtualService: a release by the weights of a VirtualService, which HTTP
// requests and gRPC calls on long-lived connections follow alike; a second one is
// aborted in the middle. The VirtualService is then what the user wrote.
func TestVirtualService(t *testing.T) {
	t.Parallel()
	m := open(t, "virtual", virtualService)
	shown.ShowAtEnd(t, matrix.VirtualService, conformance.Measured, conformance.GRPC)
	written := m.Live(m.object(virtualService))
	m.call("http")
	m.callGRPC("grpc")
	m.Must(m.CreateRollout(t.Context(), v1alpha1.RolloutSpec{
		Traffic: byVirtualService(),
		Steps:   []v1alpha1.Step{stage.Hold(1, "6s"), stage.Hold(10, "6s"), stage.Hold(50, "6s"), stage.Hold(100, "4s")},
	}))
	m.Must(m.Release(t.Context(), "v2", nil))
	for i, weight := range []float64{0.01, 0.1, 0.5, 1} {
		from, to := m.During(int32(i), 3500*time.Millisecond)
		m.ShareIs("http", "v2", weight, from, to)
		m.ShareIs("grpc", "v2", weight, from, to)
	}
	m.AwaitState("the promotion", stage.Promoted(1))
	m.GivenBack(written)

	m.Must(m.Release(t.Context(), "v3", nil))
	m.AwaitState("v3 at its third step", func(r *v1alpha1.Rollout) bool { return r.Status.Release.Number == 2 && stage.AtStep(2)(r) })
	m.Abort()
	m.GivenBack(written)
	m.NoneFailed()
}

// cohort are matches of a header or a cookie.
func cohort() []v1alpha1.Match {
	return []v1alpha1.Match{
		{Headers: []v1alpha1.ValueMatch{{Name: "X-Cohort", Value: "b"}}},
		{Cookies: []v1alpha1.ValueMatch{{Name: "cohort", Value: "b"}}},
	}
}

// TestExperiment: who matches by header or by cookie meets the new version, then with
// a fault, and nobody else does.
func TestExperiment(t *testing.T) {
	t.Parallel()
	m := open(t, "experiment", virtualService)
	shown.ShowAtEnd(t, matrix.VirtualService, conformance.Faults)
	written := m.Live(m.object(virtualService))
	m.call("others")
	m.call("header", "X-Cohort=b")
	m.call("cookie", "Cookie=session=1; cohort=b; x=y")
	fault := &v1alpha1.Fault{Type: v1alpha1.FaultAbort, Abort: &v1alpha1.FaultAborted{HTTPStatus: 503}, Weight: 30}
	m.Must(m.CreateRollout(t.Context(), v1alpha1.RolloutSpec{
		Traffic: byVirtualService(),
		Steps: []v1alpha1.Step{
			{Name: "experiment", Replicas: ptr.To(intstr.FromInt(2)), Extras: v1alpha1.Extras{Matches: cohort()}, Gates: &v1alpha1.Gates{Hold: "6s"}},
			{Name: "fault", Replicas: ptr.To(intstr.FromInt(2)), Extras: v1alpha1.Extras{Matches: cohort(), Fault: fault}, Gates: &v1alpha1.Gates{Hold: "6s"}},
			stage.Hold(100, "2s"),
		},
	}))
	m.Must(m.Release(t.Context(), "v2", nil))
	from, to := m.During(0, 4*time.Second)
	m.ShareIs("others", "v2", 0, from, to)
	m.ShareIs("header", "v2", 1, from, to)
	m.ShareIs("cookie", "v2", 1, from, to)
	from, to = m.During(1, 4*time.Second)
	m.ShareIs("others", "v1", 1, from, to)
	for _, name := range []string{"header", "cookie"} {
		log, err := m.Loads[name].Log(t.Context())
		m.Must(err)
		counts := log.DueBetween(from, to)
		failed, of := counts.Bad().Total(), counts.Total()
		low, high := load.ShareBounds(0.3, of, 4)
		if share := float64(failed) / float64(of); share < low || share > high {
			t.Errorf("%s: %d of %d requests met the fault, not %.3f to %.3f of them", name, failed, of, low, high)
		}
	}
	m.AwaitState("the promotion", stage.Promoted(1))
	m.GivenBack(written)
	m.NoneFailed("header", "cookie")
}

// TestShadow: copies of requests find a bad version, and no user gets an answer of it.
func TestShadow(t *testing.T) {
	t.Parallel()
	m := open(t, "shadow", virtualService)
	written := m.Live(m.object(virtualService))
	m.call("users")
	analysis, err := m.ErrorsTemplate(t.Context())
	m.Must(err)
	m.Must(m.CreateRollout(t.Context(), v1alpha1.RolloutSpec{
		Traffic: byVirtualService(), Analysis: analysis,
		Steps: []v1alpha1.Step{
			{Name: "shadow", Extras: v1alpha1.Extras{Mirror: &v1alpha1.Mirror{Weight: 50}}, Gates: &v1alpha1.Gates{Analysis: &v1alpha1.AnalysisGate{Require: v1alpha1.RequirePass}}},
			stage.Hold(100, "2s"),
		},
	}))
	m.Must(m.Release(t.Context(), "v2", map[string]string{"ERROR_RATE": "0.2"}))
	r := m.AwaitState("the rollback", stage.RolledBack(1))
	if r.Status.Release.StepName != "shadow" || r.Status.Analysis.Verdict != v1alpha1.VerdictFail {
		t.Errorf("rolled back at step %q with the verdict %s", r.Status.Release.StepName, r.Status.Analysis.Verdict)
	}
	m.GivenBack(written)
	m.Must(m.Release(t.Context(), "v3", nil))
	m.AwaitState("the promotion of the fix", stage.Promoted(2))
	log, err := m.Loads["users"].Log(t.Context())
	m.Must(err)
	if n := log.All().Of("v2").Total(); n > 0 {
		t.Errorf("%d users got an answer of the bad version", n)
	}
	m.NoneFailed()
}

// httpRoute and grpcRoute have the Service as their parent, as in a mesh.
const (
	httpRoute = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop-http}
spec:
  parentRefs: [{group: "", kind: Service, name: shop, port: 80}]
  rules:
  - backendRefs: [{name: shop, port: 80}]
`
	grpcRoute = `
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: shop-grpc}
spec:
  parentRefs: [{group: "", kind: Service, name: shop, port: 9000}]
  rules:
  - backendRefs: [{name: shop, port: 9000}]
`
)

// byRoutesOfService refers to them.
func byRoutesOfService() *v1alpha1.Traffic {
	return &v1alpha1.Traffic{RouteRefs: []v1alpha1.RouteReference{{Kind: "HTTPRoute", Name: "shop-http"}, {Kind: "GRPCRoute", Name: "shop-grpc"}}}
}

// TestRoutesOfAService: an HTTPRoute and a GRPCRoute whose parent is the Service move
// together, in a mesh that istiod serves.
func TestRoutesOfAService(t *testing.T) {
	t.Parallel()
	m := open(t, "gamma", httpRoute, grpcRoute)
	shown.ShowAtEnd(t, matrix.HTTPRoute, conformance.Measured)
	shown.ShowAtEnd(t, matrix.GRPCRoute, conformance.Measured)
	written := []*unstructured.Unstructured{m.Live(m.object(httpRoute)), m.Live(m.object(grpcRoute))}
	m.call("http")
	m.callGRPC("grpc")
	m.Must(m.CreateRollout(t.Context(), v1alpha1.RolloutSpec{
		Traffic: byRoutesOfService(),
		Steps:   []v1alpha1.Step{stage.Hold(10, "6s"), stage.Hold(50, "6s"), stage.Hold(100, "4s")},
	}))
	m.Must(m.Release(t.Context(), "v2", nil))
	for i, weight := range []float64{0.1, 0.5, 1} {
		from, to := m.During(int32(i), 3500*time.Millisecond)
		m.ShareIs("http", "v2", weight, from, to)
		m.ShareIs("grpc", "v2", weight, from, to)
	}
	m.AwaitState("the promotion", stage.Promoted(1))
	for _, route := range written {
		m.GivenBack(route)
	}
	m.NoneFailed()
}
