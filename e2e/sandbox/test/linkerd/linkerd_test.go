//go:build e2e

package linkerd

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/e2e/sandbox/cluster"
	"github.com/weir-dev/weir/e2e/sandbox/internal/testbox"
	"github.com/weir-dev/weir/e2e/sandbox/load"
	"github.com/weir-dev/weir/e2e/sandbox/outbound/destination"
)

// One story, since its steps build on each other and one load must survive all of
// them: the weights of a ServiceProfile reach the requests, whatever becomes of
// the controller that brings them.
func TestServiceProfile(t *testing.T) {
	m := newMesh(t)
	log := m.load(load.HTTP, 400)
	calls := m.load(load.GRPC, 100)
	self := []destination.Target{{Authority: m.authority("web"), Weight: 1}}
	m.shareIs(log, m.arrives(nil, self), 0)

	step := func(name string, run func(t *testing.T)) {
		if !t.Run(name, func(t *testing.T) {
			m.t = t
			run(t)
		}) {
			t.FailNow()
		}
		m.t = t
	}
	step("Weights", func(*testing.T) {
		m.create("900m", "100m")
		at := m.arrives(m.targets(9000, 1000), m.targets(9000, 1000))
		m.shareIs(log, at, 0.1)
		m.shareIs(calls, at, 0.1)
	})
	step("Change", func(*testing.T) {
		m.patch("500m", "500m")
		at := m.arrives(m.targets(5000, 5000), m.targets(5000, 5000))
		m.shareIs(log, at, 0.5)
		m.shareIs(calls, at, 0.5)
	})
	step("Rollout", func(t *testing.T) {
		at := time.Now()
		box.Restart(t, m.namespace, "canary")
		m.shareIs(log, at, 0.5)
	})
	step("ControllerKilled", func(t *testing.T) {
		if err := box.Control.Kill(t.Context(), cluster.LinkerdDestination); err != nil {
			t.Fatal(err)
		}
		m.patch("200m", "800m") // nobody hears of it yet
		m.shareIs(log, time.Now(), 0.5)
	})
	step("ControllerBack", func(t *testing.T) {
		if err := box.Control.StartAgain(t.Context(), cluster.LinkerdDestination); err != nil {
			t.Fatal(err)
		}
		m.shareIs(log, m.arrives(m.targets(2000, 8000), m.targets(2000, 8000)), 0.8)
	})
	step("WholeWeight", func(*testing.T) {
		m.patch("0", "1")
		at := m.arrives(m.targets(0, 10000), []destination.Target{{Authority: m.authority("canary"), Weight: 10000}})
		m.shareIs(log, at, 1)
	})
	step("Deleted", func(t *testing.T) {
		if err := m.profiles().Delete(t.Context(), m.profileName(), metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		at := m.arrives(nil, self)
		m.shareIs(log, at, 0)
		m.shareIs(calls, at, 0)
	})
	testbox.NoneBad(t, log)
	testbox.NoneBad(t, calls)
}
