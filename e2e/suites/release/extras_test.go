package release

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/e2e/sandbox/load"
	"github.com/weir-dev/weir/e2e/stage"
	"github.com/weir-dev/weir/providers/conformance"
)

// cohort are matches of a header or a cookie.
func cohort() v1alpha1.Extras {
	return v1alpha1.Extras{Matches: []v1alpha1.Match{
		{Headers: []v1alpha1.ValueMatch{{Name: "x-cohort", Value: "b"}}},
		{Cookies: []v1alpha1.ValueMatch{{Name: "cohort", Value: "b"}}},
	}}
}

// loadWith sends requests with a header to the shop's host.
func (s *scene) loadWith(name, header string) *stage.Load {
	s.t.Helper()
	l, err := s.LoadOfHost(s.t.Context(), name, s.Host(), load.HTTP, 20, header)
	must(s.t, err)
	s.t.Cleanup(func() { s.end(l) })
	return l
}

// onlyServed checks that all requests due in a time met one version.
func (s *scene) onlyServed(what string, l *stage.Load, version string, from, to time.Time) {
	s.t.Helper()
	log, err := l.Log(s.t.Context())
	must(s.t, err)
	counts := log.DueBetween(from, to)
	if share, of := counts.Share(version); of == 0 || share != 1 {
		s.t.Errorf("%s: of %d requests %.3f met %s, not all", what, of, share, version)
	}
}

// during gives the time from now on for which a step is at its exposure, less what
// was on its way at its ends.
func (s *scene) during(index int32, length time.Duration) (from, to time.Time) {
	s.t.Helper()
	s.await("the step", stage.AtStep(index))
	from = time.Now().Add(settle)
	s.await("the end of the step", func(r *v1alpha1.Rollout) bool {
		held := r.Status.Release.VerifiedAt
		return r.Status.Release.StepIndex == index && held != nil && time.Since(held.Time) > length
	})
	return from, time.Now().Add(-settle)
}

// TestExperiment: in a step with matches those who match meet the new version, and
// nobody else does. An edit of the step holds at once, an abort gives the route back,
// and nothing fails.
func TestExperiment(t *testing.T) {
	t.Parallel()
	experiment := v1alpha1.Step{Name: "experiment", Replicas: ptr.To(intstr.FromInt(2)), Extras: cohort(), Gates: &v1alpha1.Gates{Hold: "5s"}}
	both := stage.Hold(40, "1h")
	both.Extras = cohort()
	s := openWithoutRollout(t, "experiment", stage.ShopOptions{})
	route := &gatewayv1.HTTPRoute{}
	must(t, s.Admin.Get(t.Context(), s.key(stage.Name), route))
	written := s.rulesOf([]client.Object{route})
	must(t, s.CreateRollout(t.Context(), v1alpha1.RolloutSpec{Traffic: stage.RouteRefs(), Steps: []v1alpha1.Step{experiment, both}}))
	byHeader, byCookie := s.loadWith("header", "X-Cohort=b"), s.loadWith("cookie", "Cookie=session=1; cohort=b; x=y")
	other := s.loadWith("other", "X-Cohort=c")

	s.release("v2", nil)
	from, to := s.during(0, 4*time.Second)
	s.onlyServed("who matches by header", byHeader, "v2", from, to)
	s.onlyServed("who matches by cookie", byCookie, "v2", from, to)
	s.onlyServed("who has another header", other, "v1", from, to)
	s.onlyServed("who has none", s.gateway, "v1", from, to)
	r, err := s.Rollout(t.Context())
	must(t, err)
	if got := r.Status.Exposure.Accepted; got != "0% + match" {
		t.Errorf("the exposure is shown as %q", got)
	}

	from, to = s.during(1, 4*time.Second)
	s.onlyServed("who matches beside a weight", byHeader, "v2", from, to)
	s.shares(map[string]*stage.Load{"others": s.gateway}, "v2", 0.4, from, to)

	must(t, s.EditRollout(t.Context(), func(r *v1alpha1.Rollout) { r.Spec.Steps[1].Matches = nil }))
	s.await("the step without matches", func(r *v1alpha1.Rollout) bool {
		return stage.AtStep(1)(r) && r.Status.Exposure.Accepted == "40%" && r.Status.ObservedGeneration == r.Generation
	})
	from = time.Now().Add(settle)
	s.during(1, 3*time.Second)
	s.shares(map[string]*stage.Load{"who matched before": byHeader}, "v2", 0.4, from, time.Now().Add(-settle))

	s.cli(0, harness.Admin, "abort", stage.Name)
	s.await("the rollback", func(r *v1alpha1.Rollout) bool { return stage.State(r) == v1alpha1.ReasonRolledBack })
	if now := s.rulesOf([]client.Object{route}); now != written {
		t.Errorf("the route is not as it was written:\n%s\nbut\n%s", written, now)
	}
	s.noneFailed()
	s.neverBeside("v2")
}

// TestAbortExperiment: an abort in the middle of an experiment takes those who match
// back to stable, before the pods go.
func TestAbortExperiment(t *testing.T) {
	t.Parallel()
	experiment := v1alpha1.Step{Name: "experiment", Extras: cohort(), Gates: &v1alpha1.Gates{Hold: "1h"}}
	s := open(t, "abort-experiment", stage.ShopOptions{}, v1alpha1.RolloutSpec{Steps: []v1alpha1.Step{experiment}})
	matching := s.loadWith("header", "X-Cohort=b")
	s.release("v2", nil)
	from, to := s.during(0, 2*time.Second)
	s.onlyServed("who matches", matching, "v2", from, to)
	s.cli(0, harness.Admin, "abort", stage.Name)
	s.await("the rollback", func(r *v1alpha1.Rollout) bool { return stage.State(r) == v1alpha1.ReasonRolledBack })
	s.plain()
	log, err := matching.Log(t.Context())
	must(t, err)
	if bad := log.All().Bad(); bad.Total() > 0 {
		t.Errorf("requests of those who matched failed: %+v", bad)
	}
	s.noneFailed()
}

// TestExtrasUnderGitOps: three tools put the route back, each once a second and each in
// a way of its own. An experiment and a shadow last for all that. Where no policy keeps
// what Weir made, the third time that it is gone ends the release.
func TestExtrasUnderGitOps(t *testing.T) {
	t.Parallel()
	for name, extras := range map[string]v1alpha1.Extras{"matches": cohort(), "mirror": {Mirror: &v1alpha1.Mirror{Weight: 50}}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openWithoutRollout(t, "gitops-"+name, stage.ShopOptions{})
			written := s.routeInGit()
			conformance.StartGitOps(t, s.Admin, written)
			step := v1alpha1.Step{Name: name, Replicas: ptr.To(intstr.FromInt(2)), Extras: extras, Gates: &v1alpha1.Gates{Hold: "8s"}}
			must(t, s.CreateRollout(t.Context(), v1alpha1.RolloutSpec{
				Traffic: stage.RouteRefs(), Steps: []v1alpha1.Step{step, stage.Hold(100, "2s")},
			}))
			s.release("v2", nil)
			if withoutMutatingPolicies {
				s.await("the rollback", stage.RolledBack(1))
				return
			}
			if extras.Mirror == nil {
				matching := s.loadWith("header", "X-Cohort=b")
				from, to := s.during(0, 6*time.Second)
				s.onlyServed("who matches", matching, "v2", from, to)
				s.onlyServed("who does not", s.gateway, "v1", from, to)
			}
			r := s.await("the promotion", stage.Promoted(1))
			if n := r.Status.Record.Lowerings; n > 0 {
				t.Errorf("the tools have taken the exposure away %d times", n)
			}
			if diff := cmp.Diff(written.Object["spec"], s.routeInGit().Object["spec"]); diff != "" {
				t.Errorf("the route is not as it was written (-want +got):\n%s", diff)
			}
			s.noneFailed()
		})
	}
}

// routeInGit is the route as it is, less what others than its user add.
func (s *scene) routeInGit() *unstructured.Unstructured {
	s.t.Helper()
	live := &unstructured.Unstructured{}
	live.SetAPIVersion(gatewayv1.GroupVersion.String())
	live.SetKind("HTTPRoute")
	must(s.t, s.Admin.Get(s.t.Context(), s.key(stage.Name), live))
	out := &unstructured.Unstructured{Object: map[string]any{"spec": live.Object["spec"]}}
	out.SetGroupVersionKind(live.GroupVersionKind())
	out.SetNamespace(live.GetNamespace())
	out.SetName(live.GetName())
	return out
}

// TestShadow: a bad version is found by copies of requests, before anybody gets an
// answer of it.
func TestShadow(t *testing.T) {
	t.Parallel()
	s := openWithoutRollout(t, "shadow", stage.ShopOptions{})
	analysis, err := s.ErrorsTemplate(t.Context())
	must(t, err)
	shadow := v1alpha1.Step{
		Name: "shadow", Replicas: ptr.To(intstr.FromString("50%")), Extras: v1alpha1.Extras{Mirror: &v1alpha1.Mirror{Weight: 50}},
		Gates: &v1alpha1.Gates{Analysis: &v1alpha1.AnalysisGate{Require: v1alpha1.RequirePass}},
	}
	must(t, s.CreateRollout(t.Context(), v1alpha1.RolloutSpec{
		Traffic: stage.RouteRefs(), Analysis: analysis, Steps: []v1alpha1.Step{shadow, stage.Hold(100, "1s")},
	}))
	s.release("v2", map[string]string{"ERROR_RATE": "0.2"})
	r := s.await("the rollback", stage.RolledBack(1))
	if r.Status.Release.StepName != "shadow" || r.Status.Analysis.Verdict != v1alpha1.VerdictFail {
		t.Errorf("rolled back at step %q with the verdict %s", r.Status.Release.StepName, r.Status.Analysis.Verdict)
	}
	s.plain()
	s.noneFailed()
	if gateway, _ := s.counts(); gateway.Of("v2").Total() > 0 {
		t.Errorf("%d users got an answer of the bad version", gateway.Of("v2").Total())
	}
	s.release("v3", nil)
	s.await("the promotion of the fix", stage.Promoted(2))
	s.atRest()
	s.noneFailed()
}
