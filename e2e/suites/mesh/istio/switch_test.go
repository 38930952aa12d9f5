package istio

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/e2e/stage"
)

// byHTTPRoute refers to the route of Gateway API whose parent is the Service.
func byHTTPRoute() *v1alpha1.Traffic {
	return &v1alpha1.Traffic{RouteRefs: []v1alpha1.RouteReference{{Kind: "HTTPRoute", Name: "shop-http"}}}
}

// switchTo gives the Rollout other routes.
func (m *mesh) switchTo(traffic *v1alpha1.Traffic) error {
	return m.EditRollout(m.T.Context(), func(r *v1alpha1.Rollout) { r.Spec.Traffic = traffic })
}

// refusesSwitch checks that routes cannot be changed in the middle of a release.
func (m *mesh) refusesSwitch(traffic *v1alpha1.Traffic) {
	m.T.Helper()
	const want = "spec.traffic may not change while a release is under way: wait until it has ended, or abort it first"
	if err := m.switchTo(traffic); err == nil || !strings.Contains(err.Error(), want) {
		m.T.Errorf("a switch in the middle of a release is answered with %v, not %q", err, want)
	}
}

// atStep waits until a release is at a step.
func (m *mesh) atStep(release int64, index int32) {
	m.T.Helper()
	m.AwaitState("the release at its step", func(r *v1alpha1.Rollout) bool {
		return r.Status.Release.Number == release && stage.AtStep(index)(r)
	})
}

// TestSwitchProvider: from an HTTPRoute to a VirtualService, and back. In the middle of
// a release that is refused; once it is aborted, or has ended, the routes that are left
// behind are what the user wrote, and those that take over carry the next release. No
// request is lost at any time.
func TestSwitchProvider(t *testing.T) {
	t.Parallel()
	m := open(t, "switch", httpRoute)
	route := m.Live(m.object(httpRoute))
	m.call("http")
	steps := []v1alpha1.Step{stage.Hold(30, "5s"), stage.Hold(100, "2s")}
	m.Must(m.CreateRollout(t.Context(), v1alpha1.RolloutSpec{Traffic: byHTTPRoute(), Steps: steps}))

	m.Must(m.Release(t.Context(), "v2", nil))
	m.atStep(1, 0)
	m.refusesSwitch(byVirtualService())
	m.Abort()
	m.GivenBack(route)
	// One of the two at a time: a mesh follows only one of them for a host.
	m.Must(m.Admin.Create(t.Context(), m.object(virtualService)))
	written := m.Live(m.object(virtualService))
	m.Must(m.switchTo(byVirtualService()))
	m.Must(m.Admin.Delete(t.Context(), route))
	m.retry()
	from, to := m.During(0, 4*time.Second)
	m.ShareIs("http", "v2", 0.3, from, to)
	m.AwaitState("the promotion", stage.Promoted(2))
	m.GivenBack(written)

	m.Must(m.Release(t.Context(), "v3", nil))
	m.atStep(3, 0)
	m.refusesSwitch(byHTTPRoute())
	m.AwaitState("the promotion", stage.Promoted(3))
	m.GivenBack(written)
	m.Must(m.Admin.Create(t.Context(), m.object(httpRoute)))
	route = m.Live(m.object(httpRoute))
	m.Must(m.switchTo(byHTTPRoute()))
	m.Must(m.Admin.Delete(t.Context(), written))
	m.Must(m.Release(t.Context(), "v4", nil))
	m.atStep(4, 0)
	from, to = m.During(0, 4*time.Second)
	m.ShareIs("http", "v4", 0.3, from, to)
	m.AwaitState("the promotion", stage.Promoted(4))
	m.GivenBack(route)
	m.NoneFailed()
}

// retry has the version that was rolled back tried anew.
func (m *mesh) retry() {
	m.T.Helper()
	out, code, err := m.CLI(m.T.Context(), harness.Admin, "retry", stage.Name)
	m.Must(err)
	if code != 0 {
		m.T.Fatalf("retry left with %d: %s", code, out)
	}
	m.atStep(2, 0)
}

// deleteRollout deletes the Rollout and waits until it is gone.
func (m *mesh) deleteRollout(propagation metav1.DeletionPropagation) {
	m.T.Helper()
	r := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: m.Namespace, Name: stage.Name}}
	m.Must(m.Admin.Delete(m.T.Context(), r, client.PropagationPolicy(propagation)))
	harness.Eventually(m.T, time.Minute, "the Rollout to be gone", func(ctx context.Context) error {
		r, err := m.Rollout(ctx)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New(stage.Describe(r)), err)
	})
}

// runs waits until the Deployment runs a version alone, of the template of another.
func (m *mesh) runs(version, template string, paused bool) {
	m.T.Helper()
	m.Must(m.AwaitDeployment(m.T.Context(), version+" alone", func(d *appsv1.Deployment) bool {
		return d.Spec.Template.Spec.Containers[0].Image == "weir.dev/shop:"+template && d.Spec.Paused == paused &&
			d.Labels[v1alpha1.RolloutLabel] == "" && d.Status.ObservedGeneration == d.Generation &&
			d.Status.Replicas == *d.Spec.Replicas && d.Status.AvailableReplicas == *d.Spec.Replicas
	}))
	log, err := m.Loads["http"].Log(m.T.Context())
	m.Must(err)
	began := time.Now()
	harness.Eventually(m.T, time.Minute, "requests to meet "+version+" alone", func(context.Context) error {
		if err := log.Refresh(); err != nil {
			return err
		}
		counts := log.DueBetween(time.Now().Add(-time.Second), time.Now())
		if share, of := counts.Share(version); time.Since(began) < time.Second || of < rate/4 || share < 1 {
			return errors.New("they do not")
		}
		return nil
	})
}

// TestDeletedMidRelease: a Rollout that is deleted in the middle of a release leaves the
// VirtualService as the user wrote it, and the Deployment as the deletionPolicy says, and
// no request is lost, whoever waits for the deletion.
func TestDeletedMidRelease(t *testing.T) {
	t.Parallel()
	m := open(t, "deleted", virtualService)
	written := m.Live(m.object(virtualService))
	m.call("http")
	begin := func(policy v1alpha1.DeletionPolicy, version string) {
		t.Helper()
		m.Must(m.CreateRollout(t.Context(), v1alpha1.RolloutSpec{
			Traffic: byVirtualService(), DeletionPolicy: policy, Steps: []v1alpha1.Step{stage.Hold(30, "1h")},
		}))
		m.Must(m.Release(t.Context(), version, nil))
		m.atStep(1, 0)
	}
	begin(v1alpha1.DeletionKeepStable, "v2")
	m.deleteRollout(metav1.DeletePropagationForeground)
	m.GivenBack(written)
	m.runs("v1", "v1", false)

	begin(v1alpha1.DeletionKeepPaused, "v3")
	m.deleteRollout(metav1.DeletePropagationBackground)
	m.GivenBack(written)
	m.runs("v1", "v3", true)

	m.Must(m.EditDeployment(t.Context(), func(d *appsv1.Deployment) {
		d.Spec.Paused = false
		d.Spec.Template.Spec.Containers[0].Image = "weir.dev/shop:v1"
		d.Spec.Template.Spec.Containers[0].Env[0].Value = "v1"
	}))
	m.runs("v1", "v1", false)
	begin(v1alpha1.DeletionRelease, "v4")
	m.deleteRollout(metav1.DeletePropagationBackground)
	m.GivenBack(written)
	m.runs("v4", "v4", false)
	m.NoneFailed()
}
