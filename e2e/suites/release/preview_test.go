package release

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/e2e/stage"
)

// preview is the name of the preview Service.
const preview = "shop-preview"

// blueGreen is a release of full size and no traffic, until somebody approves the
// switch.
func blueGreen(hold v1alpha1.Duration) v1alpha1.RolloutSpec {
	traffic := stage.RouteRefs()
	traffic.PreviewServiceName = preview
	return v1alpha1.RolloutSpec{Traffic: traffic, Steps: []v1alpha1.Step{
		{Name: "preview", Replicas: ptr.To(intstr.FromString("100%")), Gates: &v1alpha1.Gates{Approvals: []v1alpha1.ApprovalGate{{Name: "switch"}}}},
		{Name: "live", Weight: ptr.To(intstr.FromInt(100)), Gates: &v1alpha1.Gates{Hold: hold}},
	}}
}

// asked waits for the question whether to switch.
func (s *scene) asked(release int64) *v1alpha1.Rollout {
	s.t.Helper()
	return s.await("the question", func(r *v1alpha1.Rollout) bool {
		return r.Status.Release.Number == release && r.Status.WaitingFor == "approval switch 0/1"
	})
}

// lasts lets a time pass, and gives its beginning and its end, less what was on its
// way there.
func (s *scene) lasts(d time.Duration) (from, to time.Time) {
	s.t.Helper()
	from = time.Now().Add(settle)
	s.await("time to pass", func(*v1alpha1.Rollout) bool { return time.Since(from) > d })
	return from, time.Now().Add(-settle)
}

// showed checks that all requests to the preview due in a time met a version, and
// that none failed.
func (s *scene) showed(look *stage.Load, version string, from, to time.Time) {
	s.t.Helper()
	s.onlyServed("the preview", look, version, from, to)
	log, err := look.Log(s.t.Context())
	must(s.t, err)
	if bad := log.DueBetween(from, to).Bad(); bad.Total() > 0 {
		s.t.Errorf("requests to the preview ended badly while it ought to show %s: %+v", version, bad)
	}
}

// previewSelects checks what the preview Service selects, and that it goes with the
// Rollout.
func (s *scene) previewSelects(revision string) {
	s.t.Helper()
	service := &corev1.Service{}
	must(s.t, s.Admin.Get(s.t.Context(), s.key(preview), service))
	want := stage.Labels()
	if revision != "" {
		want[appsv1.DefaultDeploymentUniqueLabelKey] = revision
	}
	if diff := cmp.Diff(want, service.Spec.Selector); diff != "" {
		s.t.Errorf("the preview's selector: -want +got:\n%s", diff)
	}
	if owners := service.OwnerReferences; len(owners) != 1 || owners[0].Kind != "Rollout" || owners[0].Name != stage.Name {
		s.t.Errorf("the owners of the preview are %+v", owners)
	}
}

// TestBlueGreen: the preview shows the canary from the moment that somebody is asked
// until it is promoted, without a gap, while users meet stable; then all of them meet
// the new version at once. The next one is aborted after the switch: users and preview
// have the old version back while its pods are still there. At the end the preview goes
// with the Rollout.
func TestBlueGreen(t *testing.T) {
	t.Parallel()
	s := open(t, "bluegreen", stage.ShopOptions{}, blueGreen("5s"))
	look, err := s.LoadOfService(t.Context(), preview, 20)
	must(t, err)
	t.Cleanup(func() { s.end(look) })
	from, to := s.lasts(time.Second)
	s.showed(look, "v1", from, to)
	s.previewSelects("")

	s.release("v2", nil)
	canary := s.asked(1).Status.Canary.Revision
	asked := time.Now()
	pods := s.pods(canary)
	if len(pods) != 4 {
		t.Errorf("the canary has %d pods, not the full size of 4", len(pods))
	}
	s.previewSelects(canary)
	from, to = s.lasts(2 * time.Second)
	s.onlyServed("users before the switch", s.gateway, "v1", from, to)
	s.cli(0, harness.Admin, "approve", stage.Name, "switch")
	from, to = s.during(1, 4*time.Second)
	s.onlyServed("users after the switch", s.gateway, "v2", from, to)
	s.await("the promotion", stage.Promoted(1))
	_, to = s.lasts(time.Second)
	s.showed(look, "v2", asked, to)
	s.survived(pods, canary)
	s.previewSelects("")

	s.release("v3", nil)
	s.asked(2)
	from, to = s.lasts(time.Second)
	s.showed(look, "v3", from, to)
	s.cli(0, harness.Admin, "approve", stage.Name, "switch")
	s.await("v3 at all of the traffic", func(r *v1alpha1.Rollout) bool { return r.Status.Release.Number == 2 && stage.AtStep(1)(r) })
	aborted := time.Now()
	s.cli(0, harness.Admin, "abort", stage.Name)
	s.await("the way back", func(r *v1alpha1.Rollout) bool { return r.Status.Release.DrainUntil != nil })
	t.Logf("the way back took %s", time.Since(aborted).Round(time.Millisecond))
	s.previewSelects(canary)
	from = time.Now().Add(settle)
	s.await("the rollback", stage.InStage(v1alpha1.StageAborted))
	_, to = s.lasts(time.Second)
	s.onlyServed("users after the abort", s.gateway, "v2", from, to)
	s.showed(look, "v2", from, to)
	s.previewSelects("")
	s.neverBeside("v3")
	s.noneFailed()

	must(t, s.Admin.Delete(t.Context(), &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: stage.Name}}))
	s.gone(preview)
	s.plain()
}

// gone waits until a Service is gone.
func (s *scene) gone(service string) {
	s.t.Helper()
	harness.Eventually(s.t, timeout, "Service "+service+" to be gone", func(ctx context.Context) error {
		err := s.Admin.Get(ctx, s.key(service), &corev1.Service{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errorOf("it is there", err)
	})
}

// named has the spec ask for a preview of another name.
func (s *scene) named(name string) {
	s.t.Helper()
	must(s.t, s.EditRollout(s.t.Context(), func(r *v1alpha1.Rollout) { r.Spec.Traffic.PreviewServiceName = name }))
}

// refused waits until the name of the preview is refused, with what is to be done.
func (s *scene) refused(want string) {
	s.t.Helper()
	s.await("the refusal", func(r *v1alpha1.Rollout) bool {
		reason, message := readiness(r)
		return reason == v1alpha1.ReasonInvalidSpec && message == "previewServiceName"+want
	})
}

// TestPreviewName: a Service of somebody else is never touched; another name takes the
// former Service away; one that somebody deletes is made anew.
func TestPreviewName(t *testing.T) {
	t.Parallel()
	s := openWithoutRollout(t, "previewname", stage.ShopOptions{})
	theirs := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: "theirs"}, Spec: corev1.ServiceSpec{
		Selector: map[string]string{"app": "theirs"}, Ports: []corev1.ServicePort{{Port: 80}},
	}}
	must(t, s.Admin.Create(t.Context(), theirs))
	spec := blueGreen("1s")
	spec.Traffic.PreviewServiceName = theirs.Name
	must(t, s.CreateRolloutOnly(t.Context(), spec))
	s.refused(`: Service "theirs" exists and was not made by Weir for this Rollout: give the preview another name, or delete the Service`)
	for _, name := range []string{"shop", "shop-canary"} {
		s.named(name)
		s.refused(` "` + name + `" is the name of a Service behind these routes, or of the canary's beside it: give the preview a name of its own`)
	}
	now := &corev1.Service{}
	must(t, s.Admin.Get(t.Context(), s.key(theirs.Name), now))
	if diff := cmp.Diff(theirs, now); diff != "" {
		t.Errorf("the Service of somebody else was changed:\n%s", diff)
	}
	stable := func(name string) {
		t.Helper()
		s.named(name)
		s.await("the Rollout to be stable", func(r *v1alpha1.Rollout) bool {
			return stage.State(r) == v1alpha1.ReasonStable && r.Status.Traffic.PreviewService == name && r.Status.ObservedGeneration == r.Generation
		})
	}
	stable(preview)
	s.previewSelects("")
	must(t, s.Admin.Delete(t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: preview}}))
	harness.Eventually(t, timeout, "the preview to be made anew", func(ctx context.Context) error {
		return s.Admin.Get(ctx, s.key(preview), &corev1.Service{})
	})
	s.release("v2", nil)
	s.asked(1)
	must(t, s.Admin.Delete(t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: preview}}))
	harness.Eventually(t, timeout, "the preview to be made anew in a release", func(ctx context.Context) error {
		return s.Admin.Get(ctx, s.key(preview), &corev1.Service{})
	})
	s.cli(0, harness.Admin, "approve", stage.Name, "switch")
	s.await("the promotion", stage.Promoted(1))
	stable("shop-look")
	s.gone(preview)
	stable("")
	s.gone("shop-look")
	must(t, s.Admin.Delete(t.Context(), now))
	s.atRest()
	s.plain()
	s.noneFailed()
}
