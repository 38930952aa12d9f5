// Package istio runs whole releases through Istio's own control plane and a real
// Envoy, as a sidecar of callers and as a gateway.
package istio

import (
	"context"
	"os"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/e2e/matrix"
	"github.com/weir-dev/weir/e2e/sandbox/cluster"
	"github.com/weir-dev/weir/e2e/sandbox/load"
	"github.com/weir-dev/weir/e2e/stage"
	"github.com/weir-dev/weir/e2e/suites/mesh/scene"
)

// world is shared by all tests; each has a namespace of its own. Tests that disturb
// what all share are not parallel, and so run alone.
var world *stage.World

// shown is what the suite has shown.
var shown = matrix.New(matrix.Istio)

func TestMain(m *testing.M) {
	os.Exit(shown.Check(harness.Main(m, "istio", []string{"--scrape-interval=1s", "--istio"}, func(ctx context.Context, s *harness.Sandbox) (err error) {
		world, err = stage.NewWorld(ctx, s, stage.Options{GoldenSignals: true, ControllerArgs: []string{"--istiod", cluster.IstiodXDS}})
		return err
	})))
}

const (
	// rate of each load, in requests a second.
	rate = 60
	// grpcPort is where a caller's sidecar takes requests for Services' port 9000.
	grpcPort = "15090"
)

// mesh is a shop in the mesh, with a caller that has a sidecar.
type mesh struct {
	*scene.Scene
	// sidecar is the address of the caller's.
	sidecar string
}

// open opens a shop that speaks HTTP and gRPC, with objects of the mesh, and starts a
// caller's sidecar.
func open(t *testing.T, namespace string, objects ...string) *mesh {
	t.Helper()
	m := &mesh{Scene: scene.Open(t, world, namespace, stage.ShopOptions{})}
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: stage.Name}}
	m.Must(harness.Edit(t.Context(), m.Admin, service, func(s *corev1.Service) {
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: "grpc", Port: 9000, TargetPort: s.Spec.Ports[0].TargetPort})
	}))
	for _, text := range objects {
		m.Must(m.Admin.Create(t.Context(), m.object(text)))
	}
	m.sidecar = m.Proxy(stage.Sidecar("caller", grpcPort+"=9000"))
	return m
}

// object of the shop's namespace, from YAML.
func (m *mesh) object(text string) *unstructured.Unstructured {
	m.T.Helper()
	u, err := m.Object(text)
	m.Must(err)
	return u
}

// call starts a load of HTTP requests by way of the sidecar, with headers.
func (m *mesh) call(name string, headers ...string) {
	m.T.Helper()
	l, err := m.LoadThroughProxy(m.T.Context(), name, m.sidecar+":"+stage.SidecarHTTP, stage.Name, load.HTTP, rate, headers...)
	m.Load(name, l, err)
}

// callGRPC starts a load of gRPC calls on connections that stay, by way of the
// sidecar.
func (m *mesh) callGRPC(name string) {
	m.T.Helper()
	l, err := m.LoadThroughProxy(m.T.Context(), name, m.sidecar+":"+grpcPort, stage.Name+":9000", load.GRPC, rate)
	m.Load(name, l, err)
}

// virtualService is a shop's, without retries that would hide failures.
const virtualService = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop]
  http:
  - name: other
    match: [{uri: {prefix: /other}}]
    route: [{destination: {host: other}}]
  - name: shop
    retries: {attempts: 0}
    timeout: 5s
    corsPolicy: {allowMethods: [GET]}
    route:
    - destination: {host: shop}
`

// byVirtualService refers to it.
func byVirtualService() *v1alpha1.Traffic {
	return &v1alpha1.Traffic{RouteRefs: []v1alpha1.RouteReference{{Kind: "VirtualService", Name: stage.Name}}}
}
