package workload

import (
	"context"
	"fmt"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
)

// pin narrows a Service of the user's to the pods that it selects anyway. The
// label is for the pin policy, which keeps label and selector whatever others
// write, and for the EndpointSlices, which show by it what was acted on.
func (c *Client) pin(ctx context.Context, pass Pass, effect decide.Effect) error {
	s, err := c.readLive(ctx, pass.Rollout, noPods)
	if err != nil {
		return err
	}
	if err := s.onlyActive(effect.Revision); err != nil {
		return err
	}
	service, err := c.fenced(ctx, pass, effect.Name)
	if err != nil {
		return err
	}
	if !s.selectedBy(service) {
		return unmet("Service %q does not select the pods of Deployment %q", service.Name, s.target.Name)
	}
	if service.Spec.Selector[HashLabel] == effect.Revision && service.Labels[v1alpha1.PinLabel] == effect.Revision &&
		service.Labels[v1alpha1.RolloutLabel] == pass.Rollout.Name {
		return nil
	}
	before := service.DeepCopy()
	setLabel(service, v1alpha1.PinLabel, effect.Revision)
	setLabel(service, v1alpha1.RolloutLabel, pass.Rollout.Name)
	service.Spec.Selector[HashLabel] = effect.Revision
	pass.stamp(service)
	return c.patch(ctx, pass, before, service)
}

// onlyActive makes sure that one set of the workload has a size, and that it is
// of the revision.
func (s *snapshot) onlyActive(revision string) error {
	if s.target == nil {
		return unmet("Deployment %q does not exist", s.rollout.Spec.WorkloadRef.Name)
	}
	var active []string
	for _, set := range s.sets {
		if set.owner != decide.OwnerWeir && set.size() > 0 {
			active = append(active, set.hash())
		}
	}
	if len(active) != 1 || active[0] != revision {
		return unmet("the active revisions of Deployment %q are %q, not %q alone", s.target.Name, active, revision)
	}
	return nil
}

// widen takes the pin and every mark of Weir's off a Service of the user's.
func (c *Client) widen(ctx context.Context, pass Pass, effect decide.Effect) error {
	if pass.Rollout.Status.Release.Stage != v1alpha1.StageAdopting {
		s, err := c.readLive(ctx, pass.Rollout, noPods)
		if err != nil {
			return err
		}
		for _, set := range s.sets {
			if set.owner == decide.OwnerWeir && !set.empty() {
				return unmet("the canary %q still has pods, which Service %q would take in", set.Name, effect.Name)
			}
		}
	}
	service, err := c.fenced(ctx, pass, effect.Name)
	if err != nil {
		return err
	}
	before := service.DeepCopy()
	unpin(service)
	if equality.Semantic.DeepEqual(before, service) {
		return nil
	}
	return c.patch(ctx, pass, before, service)
}

// unpin takes the pin and every mark of Weir's off a Service of the user's.
func unpin(service *corev1.Service) {
	delete(service.Labels, v1alpha1.PinLabel)
	delete(service.Labels, v1alpha1.RolloutLabel)
	delete(service.Annotations, v1alpha1.SeqAnnotation)
	delete(service.Spec.Selector, HashLabel)
}

// ensureBackend makes the canary's twin of a user's Service, or brings it up to
// date.
func (c *Client) ensureBackend(ctx context.Context, pass Pass, effect decide.Effect) error {
	user, err := c.userOf(ctx, pass, effect.Name)
	if err != nil {
		return err
	}
	want := newBackend(user, pass.Rollout, effect.Name, effect.Revision)
	pass.stamp(want)
	have, err := c.fenced(ctx, pass, effect.Name)
	if apierrors.IsNotFound(err) {
		return c.create(ctx, pass, want)
	}
	if err != nil {
		return err
	}
	if have.Labels[v1alpha1.ManagedLabel] != pass.Rollout.Name {
		return unmet("Service %q was not made by Weir for this Rollout", have.Name)
	}
	if have.Spec.Selector[HashLabel] != effect.Revision {
		if err := c.checkNoWeight(ctx, pass); err != nil {
			return err
		}
	}
	before := have.DeepCopy()
	have.Spec.Selector = want.Spec.Selector
	have.Spec.Ports = want.Spec.Ports
	have.Labels = want.Labels
	have.OwnerReferences = want.OwnerReferences
	pass.stamp(have)
	return c.patch(ctx, pass, before, have)
}

// userOf reads the user's Service of which name is the twin.
func (c *Client) userOf(ctx context.Context, pass Pass, name string) (*corev1.Service, error) {
	for _, user := range pass.Services {
		if CanaryServiceName(user) == name {
			service := &corev1.Service{}
			if err := c.live.Get(ctx, key(pass.Rollout, user), service); err != nil {
				return nil, fmt.Errorf("cannot read Service %q: %w", user, err)
			}
			if len(service.Spec.Selector) == 0 {
				return nil, unmet("Service %q selects no pods", user)
			}
			return service, nil
		}
	}
	return nil, unmet("Service %q is not the twin of any of %q", name, pass.Services)
}

// newBackend is the canary's twin of a user's Service: the same ports and ways
// of delivery, inside the cluster only, and of the pods those of one revision.
func newBackend(user *corev1.Service, rollout *v1alpha1.Rollout, name, revision string) *corev1.Service {
	selector := maps.Clone(user.Spec.Selector)
	selector[HashLabel] = revision
	twin := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: rollout.Namespace,
			Name:      name,
			Labels:    twinLabels(user.Labels),
			// It goes with the workload, as the canary's pods do. A route may still
			// send traffic to it when the Rollout is deleted in the foreground, or
			// by force.
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: deploymentKind.GroupVersion().String(),
				Kind:       deploymentKind.Kind,
				Name:       rollout.Spec.WorkloadRef.Name,
				UID:        rollout.Status.Workload.UID,
			}},
		},
		Spec: corev1.ServiceSpec{
			Selector:                 selector,
			SessionAffinity:          user.Spec.SessionAffinity,
			SessionAffinityConfig:    user.Spec.SessionAffinityConfig,
			InternalTrafficPolicy:    user.Spec.InternalTrafficPolicy,
			TrafficDistribution:      user.Spec.TrafficDistribution,
			PublishNotReadyAddresses: user.Spec.PublishNotReadyAddresses,
			IPFamilies:               user.Spec.IPFamilies,
			IPFamilyPolicy:           user.Spec.IPFamilyPolicy,
		},
	}
	twin.Labels[v1alpha1.ManagedLabel] = rollout.Name
	twin.Labels[v1alpha1.RolloutLabel] = rollout.Name
	twin.Labels[v1alpha1.PinLabel] = revision
	if user.Spec.ClusterIP == corev1.ClusterIPNone {
		twin.Spec.ClusterIP = corev1.ClusterIPNone
	}
	for _, port := range user.Spec.Ports {
		port.NodePort = 0
		twin.Spec.Ports = append(twin.Spec.Ports, port)
	}
	return twin
}

// tracking are the prefixes of labels by which deployment tools know their own
// objects. With them the twin would be taken for a stray and be pruned.
var tracking = []string{
	"app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "applyset.kubernetes.io/", "argocd.argoproj.io/",
	"helm.sh/", "helm.toolkit.fluxcd.io/", "kustomize.toolkit.fluxcd.io/", "weir.dev/",
}

// twinLabels are the labels of the user's Service, so that those who select it
// by labels, as monitoring does, select the twin too.
func twinLabels(labels map[string]string) map[string]string {
	out := make(map[string]string, len(labels)+3)
	for key, value := range labels {
		if !hasAnyPrefix(key, tracking) {
			out[key] = value
		}
	}
	return out
}

// hasAnyPrefix is true if s begins with one of the prefixes.
func hasAnyPrefix(s string, prefixes []string) bool {
	for _, prefix := range prefixes {
		if strings.HasPrefix(s, prefix) {
			return true
		}
	}
	return false
}

// deleteBackend deletes the canary's twin of a Service.
func (c *Client) deleteBackend(ctx context.Context, pass Pass, effect decide.Effect) error {
	twin, err := c.fenced(ctx, pass, effect.Name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if twin.Labels[v1alpha1.ManagedLabel] != pass.Rollout.Name {
		return unmet("Service %q was not made by Weir for this Rollout", twin.Name)
	}
	if err := c.checkUsersOwn(ctx, pass); err != nil {
		return err
	}
	return c.remove(ctx, pass, twin, metav1.DeletePropagationBackground)
}

// checkPinned makes sure that no caller beside the routes can meet the canary:
// every Service of the user's is narrowed to stable, and the endpoint
// controller has acted on it.
func (c *Client) checkPinned(ctx context.Context, pass Pass) error {
	if pass.Routes == nil || shared(pass.Rollout) {
		return nil
	}
	return c.checkNarrowed(ctx, pass, pass.Rollout.Status.Stable.Revision)
}

// checkNarrowed makes sure that every Service of the user's is narrowed to the
// revision, or wide if that is empty, and that its endpoints show it.
func (c *Client) checkNarrowed(ctx context.Context, pass Pass, revision string) error {
	slicesOf, err := c.endpointSlices(ctx, &snapshot{rollout: pass.Rollout, live: true}, pass.Services)
	if err != nil {
		return err
	}
	for _, name := range pass.Services {
		service := &corev1.Service{}
		if err := c.live.Get(ctx, key(pass.Rollout, name), service); err != nil {
			return fmt.Errorf("cannot read Service %q: %w", name, err)
		}
		if have, shown := service.Spec.Selector[HashLabel], seen(slicesOf[name]); have != revision || shown != revision {
			return unmet("Service %q is narrowed to %q and its endpoints to %q, not to %q", name, have, shown, revision)
		}
	}
	return nil
}

// fenced reads a Service that has no newer stamp than the pass.
func (c *Client) fenced(ctx context.Context, pass Pass, name string) (*corev1.Service, error) {
	service := &corev1.Service{}
	if err := c.live.Get(ctx, key(pass.Rollout, name), service); err != nil {
		return nil, fmt.Errorf("cannot read Service %q: %w", name, err)
	}
	return service, pass.fence(service)
}
