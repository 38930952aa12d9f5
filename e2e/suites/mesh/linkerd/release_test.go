package linkerd

import (
	"testing"
	"time"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/matrix"
	"github.com/weir-dev/weir/e2e/sandbox/cluster"
	"github.com/weir-dev/weir/e2e/stage"
	"github.com/weir-dev/weir/e2e/suites/mesh/scene"
	"github.com/weir-dev/weir/providers/conformance"
)

// TestRelease: a release by ServiceProfile, at each step of which Linkerd streams the
// weight and the requests follow it; a second one is aborted in the middle. At the end
// the profile is what the user wrote.
func TestRelease(t *testing.T) {
	t.Parallel()
	const routes = `{"routes": [{"name": "buy", "condition": {"pathRegex": "/buy", "method": "POST"}, "timeout": "2s"}]}`
	m := open(t, "profile", routes)
	shown.ShowAtEnd(t, matrix.ServiceProfile, conformance.Measured)
	written := m.Live(m.profile(routes))
	m.Must(m.CreateRollout(t.Context(), v1alpha1.RolloutSpec{
		Traffic: &v1alpha1.Traffic{RouteRefs: []v1alpha1.RouteReference{{Kind: "ServiceProfile", Name: m.authority}}},
		Steps:   []v1alpha1.Step{stage.Hold(1, "4s"), stage.Hold(10, "5s"), stage.Hold(50, "5s"), stage.Hold(100, "4s")},
	}))
	m.Must(m.Release(t.Context(), "v2", nil))
	for i, weight := range []float64{0.01, 0.1, 0.5, 1} {
		m.AwaitState("the step", stage.AtStep(int32(i)))
		m.streamed(weight)
		from, to := m.During(int32(i), 3*time.Second)
		m.ShareIs("mesh", "v2", weight, from, to)
	}
	m.AwaitState("the promotion", stage.Promoted(1))
	m.streamed(0)
	m.GivenBack(written)

	m.Must(m.Release(t.Context(), "v3", nil))
	m.AwaitState("v3 at its second step", func(r *v1alpha1.Rollout) bool { return r.Status.Release.Number == 2 && stage.AtStep(1)(r) })
	m.streamed(0.1)
	m.Abort()
	m.streamed(0)
	m.GivenBack(written)
	m.NoneFailed()
}

// TestControllerKilled: without Linkerd's destination controller the release holds, and
// goes on when it is back.
func TestControllerKilled(t *testing.T) {
	m := open(t, "outage", "{}")
	written := m.Live(m.profile("{}"))
	m.Must(m.CreateRollout(t.Context(), v1alpha1.RolloutSpec{
		Traffic: &v1alpha1.Traffic{RouteRefs: []v1alpha1.RouteReference{{Kind: "ServiceProfile", Name: m.authority}}},
		Steps:   scene.OutageSteps(),
	}))
	m.ThroughOutage(cluster.LinkerdDestination, "mesh")
	m.streamed(0)
	m.GivenBack(written)
}
