package istio

import (
	"testing"
	"time"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/sandbox/load"
	"github.com/weir-dev/weir/e2e/stage"
	"github.com/weir-dev/weir/e2e/suites/mesh/scene"
	"github.com/weir-dev/weir/providers/conformance"
)

// TestGitOpsWriters: three tools put the VirtualService back, each once a second and
// each in a way of its own. The weights hold, and nothing fails.
func TestGitOpsWriters(t *testing.T) {
	t.Parallel()
	m := open(t, "gitops", virtualService)
	written := m.Live(m.object(virtualService))
	m.call("http")
	conformance.StartGitOps(t, m.Admin, m.object(virtualService))
	m.Must(m.CreateRollout(t.Context(), v1alpha1.RolloutSpec{
		Traffic: byVirtualService(),
		Steps:   []v1alpha1.Step{stage.Hold(10, "6s"), stage.Hold(50, "6s"), stage.Hold(100, "3s")},
	}))
	m.Must(m.Release(t.Context(), "v2", nil))
	for i, weight := range []float64{0.1, 0.5} {
		from, to := m.During(int32(i), 4*time.Second)
		m.ShareIs("http", "v2", weight, from, to)
	}
	r := m.AwaitState("the promotion", stage.Promoted(1))
	if n := r.Status.Record.Lowerings; n > 0 {
		t.Errorf("the tools have taken the exposure away %d times", n)
	}
	m.GivenBack(written)
	m.NoneFailed()
}

// gateway is Istio's at the edge, with a VirtualService that is bound to it alone.
const (
	gateway = `
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {app: edge}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: [shop.example.com]
`
	edgeService = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop.example.com]
  gateways: [edge]
  http:
  - retries: {attempts: 0}
    route: [{destination: {host: shop, port: {number: 80}}}]
`
)

// TestGateway: the split is the gateway's, where the VirtualService is bound to one.
func TestGateway(t *testing.T) {
	t.Parallel()
	m := open(t, "edge", gateway, edgeService)
	written := m.Live(m.object(edgeService))
	edge := m.Proxy(stage.Proxy{
		Name: "edge", Image: "weir.dev/envoy", Args: []string{"--role=gateway"}, Labels: map[string]string{"app": "edge"},
		ReadyPath: "/ready", ReadyPort: 15000,
	})
	l, err := m.LoadThroughProxy(t.Context(), "edge", edge+":80", "shop.example.com", load.HTTP, rate)
	m.Load("edge", l, err)
	m.Must(m.CreateRollout(t.Context(), v1alpha1.RolloutSpec{
		Traffic: byVirtualService(),
		Steps:   []v1alpha1.Step{stage.Hold(10, "6s"), stage.Hold(50, "6s"), stage.Hold(100, "3s")},
	}))
	m.Must(m.Release(t.Context(), "v2", nil))
	for i, weight := range []float64{0.1, 0.5} {
		from, to := m.During(int32(i), 4*time.Second)
		m.ShareIs("edge", "v2", weight, from, to)
	}
	m.AwaitState("the promotion", stage.Promoted(1))
	m.GivenBack(written)
	m.NoneFailed()
}

// destinationRule is a policy for the Service alone.
const destinationRule = `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shop}
spec:
  host: shop
  trafficPolicy: {connectionPool: {http: {http1MaxPendingRequests: 100}}}
`

// TestDestinationRule: a release that would lose a policy for the canary does not
// begin, and says what is missing; with it, it goes on.
func TestDestinationRule(t *testing.T) {
	t.Parallel()
	m := open(t, "policy", virtualService, destinationRule)
	m.call("http")
	m.Must(m.CreateRolloutOnly(t.Context(), v1alpha1.RolloutSpec{Traffic: byVirtualService(), Steps: []v1alpha1.Step{stage.Hold(50, "2s")}}))
	r := m.AwaitState("the refusal", stage.InState(v1alpha1.ReasonUnsupported))
	const want = `DestinationRule/shop: spec.host: has a traffic policy for Service "shop" that the canary's would be without: ` +
		`add a DestinationRule with the same policy for host "shop-canary", which may be there before the Service`
	if got := stage.Message(r); got != want {
		t.Errorf("the refusal says\n%s\nand not\n%s", got, want)
	}
	twin := m.object(destinationRule)
	twin.SetName("shop-canary")
	twin.Object["spec"].(map[string]any)["host"] = "shop-canary"
	m.Must(m.Admin.Create(t.Context(), twin))
	if _, err := m.Await(t.Context(), "the Rollout to be stable", 2*time.Minute, stage.InState(v1alpha1.ReasonStable)); err != nil {
		t.Fatal(err)
	}
	m.Must(m.Release(t.Context(), "v2", nil))
	m.AwaitState("the promotion", stage.Promoted(1))
	m.NoneFailed()
}

// TestIstiodKilled: without istiod the release holds, and goes on when it is back.
func TestIstiodKilled(t *testing.T) {
	m := open(t, "outage", virtualService)
	written := m.Live(m.object(virtualService))
	m.call("http")
	m.Must(m.CreateRollout(t.Context(), v1alpha1.RolloutSpec{Traffic: byVirtualService(), Steps: scene.OutageSteps()}))
	m.ThroughOutage("istiod", "http")
	m.GivenBack(written)
}
