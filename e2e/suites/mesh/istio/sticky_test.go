package istio

import (
	"testing"
	"time"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/sandbox/load"
	"github.com/weir-dev/weir/e2e/stage"
)

// users who keep cookies, and the rate of their requests: each has a turn every three
// seconds.
const users, usersRate = 300, 100

// TestSticky: Envoy keeps users with the version that they met first, by the rules of
// a VirtualService; with each step the weight is the share of the users, and nobody
// returns to the old version before an abort takes all back.
func TestSticky(t *testing.T) {
	t.Parallel()
	m := open(t, "sticky", virtualService)
	written := m.Live(m.object(virtualService))
	visitors, err := m.UsersThroughProxy(t.Context(), "users", m.sidecar+":"+stage.SidecarHTTP, stage.Name, users, usersRate)
	m.Load("users", visitors, err)
	m.call("others")
	traffic := byVirtualService()
	traffic.SessionAffinity = &v1alpha1.SessionAffinity{CookieName: "shop-version", MaxAge: "1h"}
	m.Must(m.CreateRollout(t.Context(), v1alpha1.RolloutSpec{
		Traffic: traffic,
		Steps:   []v1alpha1.Step{stage.Hold(20, "9s"), stage.Hold(60, "1h")},
	}))
	m.Must(m.Release(t.Context(), "v2", nil))
	for i, weight := range []float64{0.2, 0.6} {
		from, to := m.During(int32(i), 7500*time.Millisecond)
		met, err := visitors.Users(t.Context(), "v2", from, to)
		m.Must(err)
		low, high := load.ShareBounds(weight, met.Of, 4)
		t.Logf("weight %.2f: of %d users %d met v2, %d of them another version, too", weight, met.Of, met.With, met.Both)
		if share := float64(met.With) / float64(met.Of); met.Both > 0 || met.Of < users*9/10 || share < low || share > high {
			t.Errorf("of %d users %d met v2, not %.3f to %.3f of them, and %d met both versions", met.Of, met.With, low, high, met.Both)
		}
		m.ShareIs("others", "v2", weight, from, to)
	}
	back, err := visitors.Returned(t.Context(), "v2", time.Now())
	m.Must(err)
	if len(back) > 0 {
		t.Errorf("%d users met another version after v2", len(back))
	}
	m.Abort()
	from := time.Now()
	m.GivenBack(written)
	log, err := visitors.Log(t.Context())
	m.Must(err)
	if late := log.DueBetween(from, time.Now()).Of("v2").Total(); late > 0 {
		t.Errorf("%d users met v2 after its rollback", late)
	}
	m.NoneFailed()
}
