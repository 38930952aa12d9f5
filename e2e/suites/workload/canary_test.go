package workload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/rollout/decide"
	"github.com/weir-dev/weir/rollout/workload"
)

// TestCanaryStaysApart: nobody adopts the canary's set, however often the
// Deployment's controller looks; stable keeps its size and follows the
// autoscaler; the user's Service has stable's pods alone and the twin the
// canary's; and the canary goes with all its pods.
func TestCanaryStaysApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox, 4)
	stable := w.pods.of(t, w.rollout.Status.Stable.Revision, 4)
	w.push(t, "v2")
	if d := w.deployment(t); !d.Spec.Paused {
		t.Fatal("the new template was not held")
	}
	revision := w.startRelease(t, 1)
	w.grow(t, revision, 3)

	for _, size := range []int32{6, 4} {
		must(t, w.scale(t.Context(), size))
		w.pods.of(t, w.rollout.Status.Stable.Revision, size)
	}
	canary := w.canary(t, revision)
	if canary.Owner != decide.OwnerWeir || canary.Size != 3 || canary.Available != 3 {
		t.Errorf("the Deployment's controller touched the canary: %+v", canary)
	}
	if kept := w.pods.survivors(stable); len(kept) < 2 {
		t.Errorf("of %v only %v were left by scaling 4 to 6 to 4", stable, kept)
	}
	harness.Eventually(t, patience, "endpoints by version", func(context.Context) error {
		for _, b := range w.observe(t).Backends {
			if ready := w.ready(t, b.Name); b.Canary && (b.ReadyCanary != 3 || ready != 3) || !b.Canary && (b.ReadyCanary != 0 || ready != 4) {
				return fmt.Errorf("backend %+v", b)
			}
		}
		return nil
	})

	w.apply(t, decide.Effect{Kind: decide.EffectSealCanary, Name: canary.Name})
	w.apply(t, decide.Effect{Kind: decide.EffectScaleCanary, Name: canary.Name, Size: 1})
	w.pods.of(t, revision, 1)
	w.refused(t, decide.Effect{Kind: decide.EffectWiden, Name: "web"}, "the canary still has pods")
	w.routes.Split, w.routes.Weight = true, 100
	w.refused(t, decide.Effect{Kind: decide.EffectDeleteCanary, Name: canary.Name}, "the canary still has weight")
	w.routes.Weight = 0
	w.apply(t, decide.Effect{Kind: decide.EffectDeleteCanary, Name: canary.Name})
	harness.Eventually(t, patience, "the canary to be gone", func(context.Context) error {
		if sets := w.observe(t).Sets; len(sets) != 1 {
			return fmt.Errorf("sets %+v", sets)
		}
		return nil
	})
	w.routes.Split = false
	w.apply(t, decide.Effect{Kind: decide.EffectWiden, Name: "web"})
	w.apply(t, decide.Effect{Kind: decide.EffectDeleteBackend, Name: "web-canary"})
	w.pods.of(t, revision, 0)
	service := &corev1.Service{}
	must(t, w.admin.Get(t.Context(), w.key("web"), service))
	if diff := cmp.Diff(w.newService().Spec.Selector, service.Spec.Selector); diff != "" || len(service.Labels)+len(service.Annotations) > 0 {
		t.Errorf("the Service must be as its user wrote it: labels %v, annotations %v, selector (-want +got):\n%s", service.Labels, service.Annotations, diff)
	}

	w.push(t, "v1")
	w.apply(t, decide.Effect{Kind: decide.EffectUnpause, Revision: w.rollout.Status.Stable.Revision, Size: -1})
	w.awaitComplete(t, 4)
	if kept := w.pods.survivors(stable); len(kept) < 2 {
		t.Errorf("going back restarted pods: of %v only %v are left", stable, kept)
	}
}

// TestForeground: the set of a canary that is being deleted stays until its
// last pod is gone, so that the decision can wait for that.
func TestForeground(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox, 2)
	w.push(t, "v2")
	revision := w.startRelease(t, 2)
	canary := w.canary(t, revision)
	pods := w.pods.of(t, revision, 2)
	w.keep(t, pods[0])
	w.apply(t, decide.Effect{Kind: decide.EffectDeleteCanary, Name: canary.Name})
	harness.Eventually(t, patience, "no pod but one on its way out", func(context.Context) error {
		set := w.canary(t, revision)
		if set.Size != 0 || set.Pods != 0 || set.Available != 0 {
			return fmt.Errorf("set %+v", set)
		}
		return nil
	})
	w.refused(t, decide.Effect{Kind: decide.EffectCreateCanary, Revision: revision, Size: 1}, "the last one is not gone yet")
	w.letGo(t, pods[0])
	harness.Eventually(t, patience, "the set to be gone", func(ctx context.Context) error {
		err := w.admin.Get(ctx, w.key(canary.Name), &appsv1.ReplicaSet{})
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there: %w", err)
		}
		return nil
	})
	w.apply(t, decide.Effect{Kind: decide.EffectCreateCanary, Revision: revision, Size: 1})
	w.pods.of(t, revision, 1)
}

// finalizer keeps a pod from going.
const finalizer = "test.weir.dev/keep"

// keep makes a pod stay when it is deleted.
func (w *world) keep(t *testing.T, name string) { w.setFinalizers(t, name, []string{finalizer}) }

// letGo lets a kept pod go.
func (w *world) letGo(t *testing.T, name string) { w.setFinalizers(t, name, nil) }

func (w *world) setFinalizers(t *testing.T, name string, finalizers []string) {
	t.Helper()
	harness.Eventually(t, patience, "finalizers of "+name, func(ctx context.Context) error {
		pod := &corev1.Pod{}
		if err := w.admin.Get(ctx, w.key(name), pod); err != nil {
			return client.IgnoreNotFound(err)
		}
		pod.Finalizers = finalizers
		return w.admin.Update(ctx, pod)
	})
}

// TestOwner: the canary goes with its Deployment and not with its Rollout, to
// whose Services a route may still send traffic. What a Rollout that is gone has
// left is removed in order.
func TestOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox, 2)
	w.push(t, "v2")
	revision := w.startRelease(t, 2)
	must(t, w.admin.Delete(t.Context(), w.rollout, client.PropagationPolicy(metav1.DeletePropagationForeground)))
	// In the foreground what it owns would go before it.
	harness.Eventually(t, patience, "the Rollout to be gone", func(ctx context.Context) error {
		return gone(w.admin.Get(ctx, w.key(w.rollout.Name), &v1alpha1.Rollout{}))
	})
	must(t, w.admin.Get(t.Context(), w.key("web-canary"), &corev1.Service{}))
	if canary := w.canary(t, revision); canary.Available != 2 {
		t.Errorf("serving pods must not go with the Rollout: %+v", canary)
	}
	left := w.newWorkload()
	harness.Eventually(t, patience, "what it has left to be removed", func(ctx context.Context) error {
		if _, err := left.Forget(ctx, w.rollout.Namespace, w.rollout.Name); err != nil {
			return err
		}
		return gone(w.admin.Get(ctx, w.key("web-canary"), &corev1.Service{}))
	})
	service := &corev1.Service{}
	must(t, w.admin.Get(t.Context(), w.key("web"), service))
	if pin := service.Spec.Selector[workload.HashLabel]; pin != "" {
		t.Errorf("the Service is still narrowed to %s", pin)
	}
	w.pods.of(t, "", 2)
}

// TestOwnerGone: the canary's pods and Services go with the Deployment.
func TestOwnerGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox, 2)
	w.push(t, "v2")
	w.startRelease(t, 2)
	must(t, w.admin.Delete(t.Context(), w.deployment(t), client.PropagationPolicy(metav1.DeletePropagationBackground)))
	w.pods.of(t, "", 0)
	harness.Eventually(t, patience, "the canary's Service to be gone", func(ctx context.Context) error {
		return gone(w.admin.Get(ctx, w.key("web-canary"), &corev1.Service{}))
	})
}

// gone is no error when an object does not exist.
func gone(err error) error {
	if err == nil {
		return errors.New("it is there")
	}
	return client.IgnoreNotFound(err)
}

// TestPin: narrowing and widening move no endpoint that is not meant to move,
// whatever a robot applies meanwhile.
func TestPin(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox, 4)
	stable := w.rollout.Status.Stable.Revision
	w.pods.of(t, stable, 4)
	harness.Eventually(t, patience, "four endpoints", func(context.Context) error {
		if ready := w.ready(t, "web"); ready != 4 {
			return fmt.Errorf("%d endpoints", ready)
		}
		return nil
	})
	changes := w.watchEndpoints(t)
	w.push(t, "v2")
	revision := w.startRelease(t, 2)
	w.resync(t)
	w.grow(t, revision, 4)
	w.resync(t)
	if backend := w.observe(t).Backends[0]; backend.Revision != stable || backend.Seen != stable || w.ready(t, "web") != 4 || backend.ReadyCanary != 0 {
		t.Errorf("backend %+v", backend)
	}
	if got := changes(); len(got) > 0 {
		t.Errorf("endpoints of the user's Service came and went during the release: %v", got)
	}
	w.startAdopting(t)
	harness.Eventually(t, patience, "both versions behind the wide Service", func(context.Context) error {
		if b := w.observe(t).Backends[0]; b.Revision != "" || b.Seen != "" || w.ready(t, "web") != 8 || b.ReadyCanary != 4 {
			return fmt.Errorf("backend %+v", b)
		}
		return nil
	})
	for _, change := range changes() {
		if change[0] == '-' {
			t.Errorf("widening took an endpoint away: %s", change)
		}
	}
}

// resync applies the Service as a robot does: with force, and by replacing it.
func (w *world) resync(t *testing.T) {
	t.Helper()
	const manifest = `{"apiVersion":"v1","kind":"Service","metadata":{"name":"web"},"spec":{"selector":{"app":"web"},"ports":[{"name":"http","port":80}]}}`
	for _, args := range [][]string{
		{"apply", "--server-side", "--force-conflicts", "-f", "-"},
		{"replace", "-f", "-"},
		{"apply", "-f", "-"},
	} {
		_, _, err := w.Kubectl(t.Context(), harness.GitOps, manifest, append([]string{"--namespace", w.namespace}, args...)...)
		must(t, err)
	}
}

// watchEndpoints gives the endpoints of the user's Service that came (+) and
// went (-) since it was last asked.
func (w *world) watchEndpoints(t *testing.T) func() []string {
	t.Helper()
	ofService := []client.ListOption{client.InNamespace(w.namespace), client.MatchingLabels{discoveryv1.LabelServiceName: "web"}}
	list := &discoveryv1.EndpointSliceList{}
	must(t, w.admin.List(t.Context(), list, ofService...))
	if len(list.Items) != 1 {
		t.Fatalf("%d EndpointSlices, want one", len(list.Items))
	}
	before := readyEndpoints(&list.Items[0])
	watcher, err := w.admin.Watch(t.Context(), &discoveryv1.EndpointSliceList{}, ofService...)
	must(t, err)
	t.Cleanup(watcher.Stop)
	return func() []string {
		var changes []string
		for {
			select {
			case event := <-watcher.ResultChan():
				slice, ok := event.Object.(*discoveryv1.EndpointSlice)
				if !ok {
					t.Fatalf("event %+v", event)
				}
				now := readyEndpoints(slice)
				for _, name := range now {
					if !slices.Contains(before, name) {
						changes = append(changes, "+"+name)
					}
				}
				for _, name := range before {
					if !slices.Contains(now, name) {
						changes = append(changes, "-"+name)
					}
				}
				before = now
			default:
				return changes
			}
		}
	}
}

// readyEndpoints are the pods behind a slice that take traffic.
func readyEndpoints(slice *discoveryv1.EndpointSlice) []string {
	var names []string
	for _, e := range slice.Endpoints {
		if e.Conditions.Ready == nil || *e.Conditions.Ready {
			names = append(names, e.TargetRef.Name)
		}
	}
	return names
}

// TestTwinInHistory: going back to a version that is in history brings a fresh
// canary of it to all pods, since the set of history is deleted first; and the
// history that kubectl shows goes on.
func TestTwinInHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox, 3)
	first := w.rollout.Status.Stable.Revision
	w.release(t, "v2", 3)
	second := w.rollout.Status.Stable.Revision

	w.push(t, "v1")
	facts := w.observe(t)
	if facts.Target.Revision == first || facts.Target.Revision == second {
		t.Errorf("the template of history is revision %q: its empty set must not lend its name", facts.Target.Revision)
	}
	w.record(t, func(status *v1alpha1.RolloutStatus) { status.Canary.Revision = facts.Target.Revision })
	w.refused(t, decide.Effect{Kind: decide.EffectCreateCanary, Revision: facts.Target.Revision, Size: 1}, "its twin is there")

	third, verified := w.release(t, "v1", 3)
	if third != facts.Target.Revision {
		t.Errorf("released %q, want %q", third, facts.Target.Revision)
	}
	if kept := w.pods.survivors(verified); len(kept) != 3 {
		t.Errorf("of the verified pods %v only %v are left", verified, kept)
	}
	if diff := cmp.Diff([]string{"2", "3"}, w.history(t)); diff != "" {
		t.Errorf("revisions in history (-want +got):\n%s", diff)
	}
}

// history are the revision numbers that kubectl rollout history shows.
func (w *world) history(t *testing.T) []string {
	t.Helper()
	list := &appsv1.ReplicaSetList{}
	must(t, w.admin.List(t.Context(), list, client.InNamespace(w.namespace), client.MatchingLabels{"app": "web"}))
	var numbers []string
	for _, rs := range list.Items {
		numbers = append(numbers, rs.Annotations["deployment.kubernetes.io/revision"])
	}
	slices.Sort(numbers)
	return numbers
}

// TestTwoCanariesAtOnce: of two controllers that create the canary at the same
// moment, as after a change of leader, one creates it and neither fails.
func TestTwoCanariesAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox, 2)
	w.push(t, "v2")
	revision := w.observe(t).Target.Revision
	w.record(t, func(status *v1alpha1.RolloutStatus) { status.Canary.Revision = revision })
	w.apply(t, decide.Effect{Kind: decide.EffectPin, Name: "web", Revision: w.rollout.Status.Stable.Revision})
	harness.Eventually(t, patience, "the pin to be seen", func(context.Context) error {
		if b := w.observe(t).Backends[0]; b.Seen != w.rollout.Status.Stable.Revision {
			return fmt.Errorf("backend %+v", b)
		}
		return nil
	})
	done := make(chan error, 2)
	for range 2 {
		other := w.newWorkload()
		go func() {
			done <- other.Apply(t.Context(), w.pass(), decide.Effect{Kind: decide.EffectCreateCanary, Revision: revision, Size: 2})
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	w.pods.of(t, revision, 2)
	if sets := w.observe(t).Sets; len(sets) != 2 {
		t.Errorf("sets %+v, want stable and one canary", sets)
	}
}
