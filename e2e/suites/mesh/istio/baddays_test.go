package istio

import (
	"context"
	"slices"
	"testing"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/sandbox/load"
	"github.com/weir-dev/weir/e2e/stage"
	"github.com/weir-dev/weir/e2e/suites/mesh/scene"
	"github.com/weir-dev/weir/providers/conformance"
)

// TestGitOpsWriters: three tools put the VirtualService and the Service back, each once a
// second and each in a way of its own. The weights hold, and nothing fails.
func TestGitOpsWriters(t *testing.T) {
	t.Parallel()
	m := open(t, "gitops", virtualService)
	written, service := m.Live(m.object(virtualService)), m.service()
	m.call("http")
	conformance.StartGitOps(t, m.Admin, m.object(virtualService))
	tools := conformance.StartGitOps(t, m.Admin, service)
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
	tools.Round(t)
	m.GivenBack(written)
	m.NoneFailed()
}

// service of the shop as it is in Git.
func (m *mesh) service() *unstructured.Unstructured {
	m.T.Helper()
	live := &unstructured.Unstructured{}
	live.SetAPIVersion("v1")
	live.SetKind("Service")
	live.SetNamespace(m.Namespace)
	live.SetName(stage.Name)
	live = m.Live(live)
	manifest := m.object("{apiVersion: v1, kind: Service, metadata: {name: shop}, spec: {}}")
	for _, field := range []string{"ports", "selector"} {
		value, _, err := unstructured.NestedFieldCopy(live.Object, "spec", field)
		m.Must(err)
		m.Must(unstructured.SetNestedField(manifest.Object, value, "spec", field))
	}
	return manifest
}

// TestUndone: a tool takes the split away where nothing keeps it from that, once. An
// event names the tool and the route, the step starts anew, and the release goes on.
func TestUndone(t *testing.T) {
	t.Parallel()
	m := open(t, "undone", virtualService)
	written := m.Live(m.object(virtualService))
	m.call("http")
	m.Must(m.CreateRollout(t.Context(), v1alpha1.RolloutSpec{Traffic: byVirtualService(), Steps: []v1alpha1.Step{stage.Hold(50, "6s")}}))
	m.Must(m.Release(t.Context(), "v2", nil))
	m.AwaitState("the step", stage.AtStep(0))

	manifest := m.object(virtualService)
	manifest.SetLabels(map[string]string{"weir.dev/split": "off"}) // Lets the write through as it is.
	manifest.SetResourceVersion(m.Live(manifest).GetResourceVersion())
	m.Must(m.Admin.Update(t.Context(), manifest, client.FieldOwner("argocd-controller")))
	m.AwaitState("the loss to be seen", func(r *v1alpha1.Rollout) bool { return r.Status.Record.Lowerings == 1 })
	const want = "argocd-controller has rewritten the split of VirtualService/shop: the step starts anew"
	if err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, 10*time.Second, true, func(ctx context.Context) (bool, error) {
		events := &eventsv1.EventList{}
		err := m.Admin.List(ctx, events, client.InNamespace(m.Namespace))
		return slices.ContainsFunc(events.Items, func(e eventsv1.Event) bool { return e.Note == want }), err
	}); err != nil {
		t.Errorf("no event says %q: %v", want, err)
	}
	from, to := m.During(0, 4*time.Second)
	m.ShareIs("http", "v2", 0.5, from, to)
	m.AwaitState("the promotion", stage.Promoted(1))
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
