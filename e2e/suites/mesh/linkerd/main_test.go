// Package linkerd runs whole releases through Linkerd's own destination controller,
// by ServiceProfile, with a proxy that obeys what it streams.
package linkerd

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/e2e/matrix"
	"github.com/weir-dev/weir/e2e/sandbox/cluster"
	"github.com/weir-dev/weir/e2e/sandbox/control"
	"github.com/weir-dev/weir/e2e/sandbox/load"
	"github.com/weir-dev/weir/e2e/sandbox/outbound/destination"
	"github.com/weir-dev/weir/e2e/stage"
	"github.com/weir-dev/weir/e2e/suites/mesh/scene"
)

// world is shared by all tests; each has a namespace of its own.
var world *stage.World

// shown is what the suite has shown.
var shown = matrix.New(matrix.Linkerd)

func TestMain(m *testing.M) {
	os.Exit(shown.Check(harness.Main(m, "linkerd", []string{"--scrape-interval=1s", "--linkerd"}, func(ctx context.Context, s *harness.Sandbox) (err error) {
		world, err = stage.NewWorld(ctx, s, stage.Options{GoldenSignals: true, ControllerArgs: []string{"--linkerd-destination", cluster.LinkerdAddress}})
		return err
	})))
}

// mesh is a shop whose callers have a proxy.
type mesh struct {
	*scene.Scene
	authority string
	streams   *destination.Client
}

// open opens a shop with a profile and a load by way of the proxy.
func open(t *testing.T, namespace, profile string) *mesh {
	t.Helper()
	m := &mesh{Scene: scene.Open(t, world, namespace, stage.ShopOptions{}), authority: stage.Name + "." + namespace + ".svc.cluster.local"}
	var err error
	m.streams, err = destination.New(cluster.LinkerdAddress, control.NewClient(world.Dir).DialContext, slog.New(slog.DiscardHandler))
	m.Must(err)
	t.Cleanup(func() {
		if err := m.streams.Close(); err != nil {
			t.Error(err)
		}
	})
	m.Must(m.Admin.Create(t.Context(), m.profile(profile)))
	address := m.Proxy(stage.Proxy{Name: "caller", Image: "weir.dev/linkerd-outbound", ReadyPath: "/ready", ReadyPort: 4191})
	calls, err := m.LoadThroughProxy(t.Context(), "mesh", address+":4140", m.authority, load.HTTP, 100)
	m.Load("mesh", calls, err)
	return m
}

// profile of the shop, with a spec in JSON.
func (m *mesh) profile(spec string) *unstructured.Unstructured {
	m.T.Helper()
	u := &unstructured.Unstructured{}
	m.Must(u.UnmarshalJSON([]byte(`{"apiVersion": "linkerd.io/v1alpha2", "kind": "ServiceProfile", "spec": ` + spec + `}`)))
	u.SetNamespace(m.Namespace)
	u.SetName(m.authority)
	return u
}

// streamed waits until Linkerd streams a share of the whole for the canary.
func (m *mesh) streamed(share float64) {
	m.T.Helper()
	_, err := m.streams.AwaitTargets(m.T.Context(), m.authority+":80", func(targets []destination.Target) bool {
		sum, part := uint32(0), uint32(0)
		for _, target := range targets {
			sum += target.Weight
			if strings.HasPrefix(target.Authority, stage.Name+"-canary.") {
				part += target.Weight
			}
		}
		return sum == 0 && share == 0 || sum > 0 && float64(part) == share*float64(sum)
	})
	m.Must(err)
}
