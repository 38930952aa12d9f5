package workload

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// Forget removes what is left of a Rollout that does not exist any more, and to
// whose canary no route sends traffic: first the sets that nobody has adopted,
// and when those are gone its Services and its pins. It is false while a set is
// still going, for the caller to come back: the end of a set that has no pods any
// more is no event, since the cache knows nothing of such a set but its name.
// Somebody has taken the Rollout's finalizer off, or a process that was stopped has
// written too late.
func (c *Client) Forget(ctx context.Context, namespace, rollout string) (bool, error) {
	gone, err := c.forgetSets(ctx, namespace, rollout)
	if err != nil || !gone {
		return false, err
	}
	var services corev1.ServiceList
	if err := c.live.List(ctx, &services, client.InNamespace(namespace), client.MatchingLabels{v1alpha1.RolloutLabel: rollout}); err != nil {
		return false, fmt.Errorf("cannot list the Services of Rollout %q: %w", rollout, err)
	}
	for i := range services.Items {
		if err := c.forgetService(ctx, &services.Items[i], rollout); err != nil {
			return false, err
		}
	}
	return true, nil
}

// forgetSets deletes the sets that Weir made for a Rollout. It is true when there
// is none.
func (c *Client) forgetSets(ctx context.Context, namespace, rollout string) (bool, error) {
	var sets appsv1.ReplicaSetList
	if err := c.live.List(ctx, &sets, client.InNamespace(namespace), client.MatchingLabels{v1alpha1.ManagedLabel: rollout}); err != nil {
		return false, fmt.Errorf("cannot list the ReplicaSets of Rollout %q: %w", rollout, err)
	}
	gone := true
	for i := range sets.Items {
		set := &sets.Items[i]
		if metav1.GetControllerOfNoCopy(set) != nil {
			continue
		}
		gone = false
		if set.DeletionTimestamp != nil {
			continue
		}
		if err := c.discard(ctx, set, metav1.DeletePropagationForeground); err != nil {
			return false, err
		}
	}
	return gone, nil
}

// forgetService deletes a twin, and widens a Service of the user's.
func (c *Client) forgetService(ctx context.Context, service *corev1.Service, rollout string) error {
	if service.Labels[v1alpha1.ManagedLabel] == rollout {
		return c.discard(ctx, service, metav1.DeletePropagationBackground)
	}
	before := service.DeepCopy()
	unpin(service)
	return client.IgnoreNotFound(c.swap(ctx, before, service)) //nolint:wrapcheck // it says what could not be changed
}
