package istio

import (
	"os"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/e2e/sandbox/control"
	"github.com/weir-dev/weir/e2e/stage"
	"github.com/weir-dev/weir/e2e/suites/mesh/scene"
	"github.com/weir-dev/weir/metrics"
	"github.com/weir-dev/weir/metrics/prometheus"
)

// TestGoldenSignals: by the example, a version with errors is rolled back for what the
// mesh has counted, and one without is promoted.
func TestGoldenSignals(t *testing.T) {
	t.Parallel()
	m := open(t, "signals", virtualService)
	m.call("http")
	m.callGRPC("grpc")
	const hold = "hold: 10m"
	example, err := os.ReadFile("../../../../docs/examples/08-golden-signals.yaml")
	m.Must(err)
	if !strings.Contains(string(example), hold) {
		t.Fatalf("the example has no %q to be shortened", hold)
	}
	_, stderr, err := m.Kubectl(t.Context(), harness.Admin, strings.Replace(string(example), hold, "hold: 3s", 1), "apply", "-n", m.Namespace, "-f", "-")
	if err != nil {
		t.Fatalf("%v: %s", err, stderr)
	}
	m.AwaitState("the Rollout", stage.InState(v1alpha1.ReasonStable))

	m.Must(m.Release(t.Context(), "v2", map[string]string{"ERROR_RATE": "0.2"}))
	m.FoundBySignal(1)
	m.Must(m.Release(t.Context(), "v3", nil))
	m.AwaitState("the promotion", stage.Promoted(2))
}

// steps that take as long as their analysis.
func steps() []v1alpha1.Step { return []v1alpha1.Step{stage.Weight(20), stage.Weight(100)} }

// TestSignalOfCalls: the HTTP code of a gRPC call that failed is 200; its status is
// what tells. Routes of Gateway API are the mesh's by what istiod reports on them.
func TestSignalOfCalls(t *testing.T) {
	t.Parallel()
	m := open(t, "calls", httpRoute, grpcRoute)
	m.callGRPC("grpc")
	m.Must(m.CreateRollout(t.Context(), v1alpha1.RolloutSpec{Traffic: byRoutesOfService(), Steps: steps(), Analysis: scene.GoldenSignals()}))
	m.Must(m.Release(t.Context(), "v2", map[string]string{"ERROR_RATE": "0.5"}))
	m.FoundBySignal(1)
	if n := m.counted(`istio_requests_total{request_protocol="grpc",response_code="200",grpc_response_status="13"}`); n == 0 {
		t.Error("no call has failed with code 200: the test shows nothing")
	}
	if n := m.counted(`istio_requests_total{response_code=~"5.."}`); n > 0 {
		t.Errorf("%v calls have failed by their code", n)
	}
	m.Must(m.Release(t.Context(), "v3", nil))
	m.AwaitState("the promotion", stage.Promoted(2))
}

// TestSignalOfUnconnected: a version that is ready and listens on a port that its
// Service does not name has no request to count. Those who cannot connect count.
func TestSignalOfUnconnected(t *testing.T) {
	t.Parallel()
	m := open(t, "unconnected", virtualService)
	m.call("http")
	m.Must(m.CreateRollout(t.Context(), v1alpha1.RolloutSpec{Traffic: byVirtualService(), Steps: steps(), Analysis: scene.GoldenSignals()}))
	m.Must(m.EditDeployment(t.Context(), func(d *appsv1.Deployment) {
		const elsewhere = 9999
		container := &d.Spec.Template.Spec.Containers[0]
		container.Image = "weir.dev/shop:v2"
		container.Env = []corev1.EnvVar{{Name: "VERSION", Value: "v2"}, {Name: "PORT", Value: "9999"}}
		container.ReadinessProbe.HTTPGet.Port = intstr.FromInt32(elsewhere)
	}))
	m.FoundBySignal(1)
	if n := m.counted(`istio_requests_total{response_flags="UF"}`); n == 0 {
		t.Error("the caller's proxy has counted no failure to connect")
	}
}

// counted is how many requests to the canary a selector counts until now.
func (m *mesh) counted(selector v1alpha1.Selector) float64 {
	m.T.Helper()
	source, err := prometheus.New(v1alpha1.PrometheusSource{URL: stage.PrometheusURL}, nil, prometheus.Options{Dial: control.NewClient(world.Dir).DialContext})
	m.Must(err)
	defer source.Close()
	now := time.Now()
	series, err := source.Counters(m.T.Context(), selector, metrics.Owners{
		Namespace: m.Namespace, Names: []string{stage.Name + "-canary"}, Label: "destination_service_name", NamespaceLabel: "destination_service_namespace",
	}, now.Add(-10*time.Minute), now)
	m.Must(err)
	sum := 0.0
	for _, s := range series {
		sum += s.Samples[len(s.Samples)-1].Value
	}
	return sum
}

// TestSignalIsRefused: where no mesh carries the traffic the Rollout says so, before
// any release.
func TestSignalIsRefused(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason    string
		namespace string
		native    bool
		want      string
	}{
		"Native":  {"pods without a route", "native-signal", true, "and no route carries the traffic: write bad and total"},
		"Gateway": {"a gateway that is no mesh's", "gateway-signal", false, "and HTTPRoute/shop is carried by weir.dev/sandbox-gateway, of which no series are known: write bad and total"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shop, err := world.NewShop(t.Context(), tc.namespace, stage.ShopOptions{Native: tc.native, Replicas: 1})
			if err != nil {
				t.Fatal(err)
			}
			spec := v1alpha1.RolloutSpec{Analysis: scene.GoldenSignals()}
			if !tc.native {
				spec.Traffic = stage.RouteRefs()
			}
			if err := shop.CreateRolloutOnly(t.Context(), spec); err != nil {
				t.Fatal(err)
			}
			r, err := shop.Await(t.Context(), "the refusal", time.Minute, stage.InState(v1alpha1.ReasonInvalidSpec))
			if err != nil {
				t.Fatal(err)
			}
			if got := stage.Message(r); !strings.Contains(got, tc.want) || !strings.Contains(got, `signal RequestErrors of metric "request-errors"`) {
				t.Errorf("%s: got %q, want it to say %q", tc.reason, got, tc.want)
			}
		})
	}
}
