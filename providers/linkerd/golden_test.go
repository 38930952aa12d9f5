package linkerd_test

import (
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/providers/gatewayapi"
	"github.com/weir-dev/weir/providers/internal/routetest"
	"github.com/weir-dev/weir/providers/linkerd"
	"github.com/weir-dev/weir/providers/split"
)

// TestRendered: what Weir makes of each kind of route that Linkerd follows, in the life
// of a release.
func TestRendered(t *testing.T) {
	for _, name := range []string{"serviceprofile", "serviceprofile-written", "httproute", "grpcroute"} {
		t.Run(name, func(t *testing.T) {
			start := routetest.Object(t, name)
			c := fake.NewClientBuilder().WithObjects(start.DeepCopy()).Build()
			router := split.New(c, c, gatewayapi.Part(c), linkerd.Part(c, nil))
			target := providers.Target{
				Namespace: "shop", Owner: "web",
				Routes: []v1alpha1.RouteReference{{Kind: start.GetKind(), Name: start.GetName()}},
				Pairs:  []providers.Pair{{Stable: "web", Canary: "web-canary"}},
			}
			routetest.Life(t, name, start, c, router, target, 100, 1000, 5000, 10000)
		})
	}
}
