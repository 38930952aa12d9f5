package release

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/e2e/sandbox/load"
	"github.com/weir-dev/weir/e2e/stage"
)

const (
	// settle is left out at both ends of a count of shares: requests that were on
	// their way when a weight changed belong to neither.
	settle = 300 * time.Millisecond
	// deviations is how many standard deviations a share may be off its weight.
	deviations = 4
)

// secondRoute is an HTTPRoute to the same Service by another host. The Rollout names
// one of its two rules.
func (s *scene) secondRoute() *gatewayv1.HTTPRoute {
	return &gatewayv1.HTTPRoute{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: "partners"},
		Spec: gatewayv1.HTTPRouteSpec{
			CommonRouteSpec: s.parents(),
			Hostnames:       []gatewayv1.Hostname{gatewayv1.Hostname("partners." + s.Host())},
			Rules: []gatewayv1.HTTPRouteRule{
				{
					Name:        ptr.To[gatewayv1.SectionName]("status"),
					Matches:     []gatewayv1.HTTPRouteMatch{{Path: &gatewayv1.HTTPPathMatch{Value: ptr.To("/healthz")}}},
					BackendRefs: []gatewayv1.HTTPBackendRef{{BackendRef: backend()}},
				},
				{
					Name:        ptr.To[gatewayv1.SectionName]("shop"),
					BackendRefs: []gatewayv1.HTTPBackendRef{{BackendRef: backend()}},
				},
			},
		},
	}
}

// grpcRoute is a GRPCRoute to the same Service.
func (s *scene) grpcRoute() *gatewayv1.GRPCRoute {
	return &gatewayv1.GRPCRoute{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: "grpc"},
		Spec: gatewayv1.GRPCRouteSpec{
			CommonRouteSpec: s.parents(),
			Hostnames:       []gatewayv1.Hostname{gatewayv1.Hostname("grpc." + s.Host())},
			Rules: []gatewayv1.GRPCRouteRule{{
				BackendRefs: []gatewayv1.GRPCBackendRef{{BackendRef: backend()}},
			}},
		},
	}
}

func (s *scene) parents() gatewayv1.CommonRouteSpec {
	return gatewayv1.CommonRouteSpec{
		ParentRefs: []gatewayv1.ParentReference{{Namespace: ptr.To(gatewayv1.Namespace("default")), Name: "sandbox"}},
	}
}

func backend() gatewayv1.BackendRef {
	return gatewayv1.BackendRef{BackendObjectReference: gatewayv1.BackendObjectReference{Name: stage.Name, Port: ptr.To[gatewayv1.PortNumber](80)}}
}

// TestSeveralRoutes: one release moves two HTTPRoutes and a GRPCRoute together, and
// an abort takes all of them back.
func TestSeveralRoutes(t *testing.T) {
	t.Parallel()
	s := openWithoutRollout(t, "routes", stage.ShopOptions{})
	routes := []client.Object{s.secondRoute(), s.grpcRoute()}
	for _, route := range routes {
		must(t, s.Admin.Create(t.Context(), route))
	}
	written := s.rulesOf(routes)
	must(t, s.CreateRollout(t.Context(), v1alpha1.RolloutSpec{
		Traffic: &v1alpha1.Traffic{RouteRefs: []v1alpha1.RouteReference{
			{Kind: "HTTPRoute", Name: stage.Name},
			{Kind: "HTTPRoute", Name: "partners", RuleNames: []string{"shop"}},
			{Kind: "GRPCRoute", Name: "grpc"},
		}},
		Steps: []v1alpha1.Step{stage.Hold(20, "6s"), stage.Hold(60, "6s"), stage.Hold(100, "2s")},
	}))
	loads := map[string]*stage.Load{"shop": s.gateway}
	var err error
	loads["partners"], err = s.LoadOfHost(t.Context(), "partners", "partners."+s.Host(), load.HTTP, gatewayRate)
	must(t, err)
	t.Cleanup(func() { s.end(loads["partners"]) })
	loads["grpc"], err = s.LoadOfHost(t.Context(), "grpc", "grpc."+s.Host(), load.GRPC, gatewayRate)
	must(t, err)
	t.Cleanup(func() { s.end(loads["grpc"]) })

	s.release("v2", nil)
	for i, weight := range []float64{0.2, 0.6} {
		from, to := s.during(int32(i), 5*time.Second)
		s.shares(loads, "v2", weight, from, to)
	}
	if out := s.backendsOf("partners", "status"); out != stage.Name {
		t.Errorf("the rule that the Rollout does not name has the backends %q, not %q alone", out, stage.Name)
	}
	s.await("the promotion", stage.Promoted(1))
	s.atRest()

	s.release("v3", nil)
	s.await("v3 at its first step", func(r *v1alpha1.Rollout) bool { return r.Status.Release.Number == 2 && stage.AtStep(0)(r) })
	s.during(0, 2*time.Second) // so that some requests of each kind meet it
	s.cli(0, harness.Admin, "abort", stage.Name)
	s.await("the rollback", func(r *v1alpha1.Rollout) bool {
		return r.Status.Release.Number == 2 && stage.State(r) == v1alpha1.ReasonRolledBack
	})
	s.plain()
	if now := s.rulesOf(routes); now != written {
		t.Errorf("the routes are not as they were written:\n%s\nbut\n%s", written, now)
	}
	s.noneFailed()
	for name, l := range loads {
		log, err := l.Log(t.Context())
		must(t, err)
		if all := log.All(); all.Bad().Total() > 0 || all.Of("v3").Total() == 0 {
			t.Errorf("of %d requests through %s %d met v3, and these ended badly: %+v", all.Total(), name, all.Of("v3").Total(), all.Bad())
		}
	}
}

// backendsOf names the backends of a rule of an HTTPRoute.
func (s *scene) backendsOf(route, rule string) string {
	s.t.Helper()
	out, _, err := s.Kubectl(s.t.Context(), harness.Admin, "", "get", "httproute", route, "-n", s.Namespace,
		"-o", fmt.Sprintf("jsonpath={.spec.rules[?(@.name==%q)].backendRefs[*].name}", rule))
	must(s.t, err)
	return out
}

// rulesOf are the rules of routes and what Weir has marked them with, as text.
func (s *scene) rulesOf(routes []client.Object) string {
	s.t.Helper()
	var all string
	for _, route := range routes {
		kind := "httproute"
		if _, ok := route.(*gatewayv1.GRPCRoute); ok {
			kind = "grpcroute"
		}
		out, _, err := s.Kubectl(s.t.Context(), harness.Admin, "", "get", kind, route.GetName(), "-n", s.Namespace,
			"-o", `jsonpath={.metadata.labels}{.metadata.annotations}{.spec.rules}`)
		must(s.t, err)
		all += route.GetName() + " " + out + "\n"
	}
	return all
}

// shares checks the share of a version among the requests due in a time.
func (s *scene) shares(loads map[string]*stage.Load, version string, weight float64, from, to time.Time) {
	s.t.Helper()
	for name, l := range loads {
		log, err := l.Log(s.t.Context())
		must(s.t, err)
		share, of := log.DueBetween(from, to).Share(version)
		low, high := load.ShareBounds(weight, of, deviations)
		if of == 0 || share < low || share > high {
			s.t.Errorf("through %s %.3f of %d requests met %s, not %.3f to %.3f", name, share, of, version, low, high)
		}
	}
}
