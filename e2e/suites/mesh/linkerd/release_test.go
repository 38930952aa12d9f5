package linkerd

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/e2e/stage"
)

var errNotReady = errors.New("not ready")

// during gives the time from now on for which a step is at its exposure, less what
// was on its way at its ends.
func (m *mesh) during(index int32, length time.Duration) (from, to time.Time) {
	m.t.Helper()
	m.await("the step", stage.AtStep(index))
	from = time.Now().Add(settle)
	m.await("the end of the step", func(r *v1alpha1.Rollout) bool {
		held := r.Status.Release.VerifiedAt
		return r.Status.Release.StepIndex == index && held != nil && time.Since(held.Time) > length
	})
	return from, time.Now().Add(-settle)
}

// TestRelease: a release by ServiceProfile, at each step of which Linkerd streams the
// weight and the requests follow it; a second one is aborted in the middle. At the end
// the profile is what the user wrote.
func TestRelease(t *testing.T) {
	t.Parallel()
	m := open(t, "profile", `{"routes": [{"name": "buy", "condition": {"pathRegex": "/buy", "method": "POST"}, "timeout": "2s"}]}`)
	written := m.live()
	must(t, m.CreateRollout(t.Context(), v1alpha1.RolloutSpec{
		Traffic: &v1alpha1.Traffic{RouteRefs: []v1alpha1.RouteReference{{Kind: "ServiceProfile", Name: m.authority}}},
		Steps:   []v1alpha1.Step{stage.Hold(1, "4s"), stage.Hold(10, "5s"), stage.Hold(50, "5s"), stage.Hold(100, "4s")},
	}))
	must(t, m.Release(t.Context(), "v2", nil))
	for i, weight := range []float64{0.01, 0.1, 0.5, 1} {
		m.await("the step", stage.AtStep(int32(i)))
		m.streamed(weight)
		from, to := m.during(int32(i), 3*time.Second)
		m.shareIs("v2", weight, from, to)
	}
	m.await("the promotion", stage.Promoted(1))
	m.streamed(0)
	m.givenBack(written)

	must(t, m.Release(t.Context(), "v3", nil))
	m.await("v3 at its second step", func(r *v1alpha1.Rollout) bool { return r.Status.Release.Number == 2 && stage.AtStep(1)(r) })
	m.streamed(0.1)
	out, code, err := m.CLI(t.Context(), harness.Admin, "abort", stage.Name)
	must(t, err)
	if code != 0 {
		t.Fatalf("abort left with %d: %s", code, out)
	}
	m.await("the rollback", func(r *v1alpha1.Rollout) bool { return stage.State(r) == v1alpha1.ReasonRolledBack })
	m.streamed(0)
	m.givenBack(written)
	m.noneFailed()
}

// live is the profile as it is.
func (m *mesh) live() *unstructured.Unstructured {
	m.t.Helper()
	u := m.profile("")
	must(m.t, m.Admin.Get(m.t.Context(), client.ObjectKeyFromObject(u), u))
	return u
}

// givenBack checks that the profile is what the user wrote.
func (m *mesh) givenBack(written *unstructured.Unstructured) {
	m.t.Helper()
	now := m.live()
	if diff := cmp.Diff(written.Object["spec"], now.Object["spec"]); diff != "" || len(now.GetAnnotations())+len(now.GetLabels()) > 0 {
		m.t.Errorf("the profile is not as it was written, with labels %v and annotations %v (-want +got):\n%s", now.GetLabels(), now.GetAnnotations(), diff)
	}
}
