package release

import (
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/e2e/sandbox/load"
	"github.com/weir-dev/weir/e2e/stage"
)

// users of a shop with sessions, and the rate of their requests: each has a turn every
// three seconds.
const users, usersRate = 450, 150

// sticky are steps with sessions.
func sticky(steps ...v1alpha1.Step) v1alpha1.RolloutSpec {
	traffic := stage.RouteRefs()
	traffic.SessionAffinity = &v1alpha1.SessionAffinity{}
	return v1alpha1.RolloutSpec{Traffic: traffic, Steps: steps}
}

// kept checks that in a time nobody met two versions, and that the share of the users
// that met one is a weight.
func (s *scene) kept(l *stage.Load, version string, weight float64, from, to time.Time) {
	s.t.Helper()
	met, err := l.Users(s.t.Context(), version, from, to)
	must(s.t, err)
	low, high := load.ShareBounds(weight, met.Of, deviations)
	s.t.Logf("weight %.2f: of %d users %d met %s, %d of them another version, too", weight, met.Of, met.With, version, met.Both)
	if share := float64(met.With) / float64(met.Of); met.Both > 0 || met.Of < users*9/10 || share < low || share > high {
		s.t.Errorf("of %d users %d met %s, not %.3f to %.3f of them, and %d met both versions", met.Of, met.With, version, low, high, met.Both)
	}
}

// TestSticky: within a step nobody meets two versions; with each step the weight is the
// share of the users; who met the new version never meets the old one again; and who
// keeps no cookies is drawn at each request. A rollback takes all of them back, and the
// next release draws them anew.
func TestSticky(t *testing.T) {
	t.Parallel()
	s := openWithoutRollout(t, "sticky", stage.ShopOptions{})
	route := &gatewayv1.HTTPRoute{}
	must(t, s.Admin.Get(t.Context(), s.key(stage.Name), route))
	written := s.rulesOf([]client.Object{route})
	spec := sticky(stage.Hold(20, "9s"), stage.Hold(60, "9s"), stage.Hold(100, "4s"))
	analysis, err := s.ErrorsTemplate(t.Context())
	must(t, err)
	spec.Analysis = analysis
	must(t, s.CreateRollout(t.Context(), spec))
	visitors, err := s.UsersOfHost(t.Context(), "users", s.Host(), users, usersRate)
	must(t, err)
	t.Cleanup(func() { s.end(visitors) })

	s.release("v2", nil)
	for i, weight := range []float64{0.2, 0.6} {
		from, to := s.during(int32(i), 7500*time.Millisecond)
		s.kept(visitors, "v2", weight, from, to)
		s.shares(map[string]*stage.Load{"who keep no cookies": s.gateway}, "v2", weight, from, to)
	}
	// Until the handover, in which the user's Service serves both for a moment.
	from, to := s.during(2, 3*time.Second)
	s.shares(map[string]*stage.Load{"users": visitors}, "v2", 1, from, to)
	back, err := visitors.Returned(t.Context(), "v2", to)
	must(t, err)
	if len(back) > 0 {
		t.Errorf("%d users met another version after v2", len(back))
	}
	s.await("the promotion", stage.Promoted(1))
	s.atRest()
	if now := s.rulesOf([]client.Object{route}); now != written {
		t.Errorf("the route is not as it was written:\n%s\nbut\n%s", written, now)
	}

	s.release("v3", nil)
	s.await("v3 at its first step", func(r *v1alpha1.Rollout) bool { return r.Status.Release.Number == 2 && stage.AtStep(0)(r) })
	from, to = s.during(0, 7500*time.Millisecond)
	s.kept(visitors, "v3", 0.2, from, to)
	s.cli(0, harness.Admin, "abort", stage.Name)
	s.await("the rollback", func(r *v1alpha1.Rollout) bool { return stage.State(r) == v1alpha1.ReasonRolledBack })
	from = time.Now()
	s.plain()
	log, err := visitors.Log(t.Context())
	must(t, err)
	if late := log.DueBetween(from, time.Now()).Of("v3").Total(); late > 0 {
		t.Errorf("%d users met v3 after its rollback", late)
	}
	if bad := log.All().Bad(); bad.Total() > 0 {
		t.Errorf("requests of users failed: %+v", bad)
	}
	s.noneFailed()
}
