package linkerd

import (
	"testing"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/stage"
	"github.com/weir-dev/weir/e2e/suites/mesh/scene"
)

// TestGoldenSignals: a version with errors is rolled back for what the callers' proxies
// have counted, and one without is promoted.
func TestGoldenSignals(t *testing.T) {
	t.Parallel()
	m := open(t, "signals", "{}")
	m.Must(m.CreateRollout(t.Context(), v1alpha1.RolloutSpec{
		Traffic:  &v1alpha1.Traffic{RouteRefs: []v1alpha1.RouteReference{{Kind: "ServiceProfile", Name: m.authority}}},
		Steps:    []v1alpha1.Step{stage.Weight(20), stage.Weight(100)},
		Analysis: scene.GoldenSignals(),
	}))
	m.Must(m.Release(t.Context(), "v2", map[string]string{"ERROR_RATE": "0.05"}))
	m.FoundBySignal(1)
	m.Must(m.Release(t.Context(), "v3", nil))
	m.AwaitState("the promotion", stage.Promoted(2))
}
