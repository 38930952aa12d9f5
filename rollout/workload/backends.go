package workload

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
)

// frontage is what stands in front of a workload, as one pass read it.
type frontage struct {
	backends []decide.Backend
	// taken are names of twins that a Service of somebody else has.
	taken []string
	// preview Service, if one is asked for or was made, and its facts.
	preview      preview
	previewFacts *decide.Backend
	// strangers are pods of others that the user's Services select, by Service.
	strangers map[string]string
}

// pair is a Service of the user's and its twin; either may be missing.
type pair struct {
	name       string
	user, twin *corev1.Service
}

// observeServices reads the user's Services, the canary's twin of each, the
// preview, and the endpoints behind them.
func (c *Client) observeServices(ctx context.Context, s *snapshot, names []string) (frontage, error) {
	found := frontage{strangers: map[string]string{}}
	pairs, err := c.pairs(ctx, s, names)
	if err != nil {
		return found, err
	}
	if found.preview, err = c.readPreview(ctx, s); err != nil {
		return found, err
	}
	slicesOf, err := c.endpointSlices(ctx, s, serviceNames(pairs, found.preview))
	if err != nil {
		return found, err
	}
	found.previewFacts = s.previewFacts(found.preview, slicesOf)
	err = c.observePairs(ctx, s, pairs, slicesOf, &found)
	return found, err
}

// serviceNames are the names of all Services that a pass has found.
func serviceNames(pairs []pair, shown preview) []string {
	var names []string
	for _, p := range pairs {
		names = append(names, p.name, CanaryServiceName(p.name))
	}
	if shown.made != nil {
		names = append(names, shown.made.Name)
	}
	return names
}

// observePairs adds the facts of the user's Services and of their twins.
func (c *Client) observePairs(ctx context.Context, s *snapshot, pairs []pair, slicesOf endpointSlicesOf, found *frontage) error {
	var twins []decide.Backend
	for _, p := range pairs {
		if p.user != nil {
			found.backends = append(found.backends, s.backend(p.user, slicesOf[p.name]))
			stranger, err := c.stranger(ctx, s, p.user, slicesOf[p.name])
			if err != nil {
				return err
			}
			if stranger != "" {
				found.strangers[p.name] = stranger
			}
		}
		twin := decide.Backend{Name: CanaryServiceName(p.name)}
		if s.made(p.twin) {
			twin = s.backend(p.twin, slicesOf[p.twin.Name])
		} else if p.twin != nil {
			found.taken = append(found.taken, p.twin.Name)
		}
		twin.Canary = true
		twins = append(twins, twin)
	}
	found.backends = append(found.backends, twins...)
	return nil
}

// pairs are the user's Services in front of the workload, by name: those of the
// given names that select its pods and that spec.traffic.serviceRefs does not
// leave out, and those that a release has left narrowed or with a twin, whatever
// they select now. Whether a Service selects the workload cannot be told from
// the caches, which hold no templates: there, only the second kind is found,
// with those that the status names.
func (c *Client) pairs(ctx context.Context, s *snapshot, names []string) ([]pair, error) {
	names = slices.Concat(names, s.rollout.Status.Traffic.Services)
	slices.Sort(names)
	var out []pair
	for _, name := range slices.Compact(names) {
		user, err := c.service(ctx, s, name)
		if err != nil {
			return nil, err
		}
		twin, err := c.service(ctx, s, CanaryServiceName(name))
		if err != nil {
			return nil, err
		}
		if user != nil && (s.made(user) || !s.inFront(user)) {
			user = nil
		}
		if user != nil || s.made(twin) {
			out = append(out, pair{name: name, user: user, twin: twin})
		}
	}
	return out, nil
}

// inFront is true for a Service of the user's whose callers are split.
func (s *snapshot) inFront(service *corev1.Service) bool {
	if !s.live || service.Labels[v1alpha1.RolloutLabel] == s.rollout.Name {
		return true
	}
	return s.selectedBy(service) && s.wanted(service.Name)
}

// made is true for a Service that Weir made for the Rollout.
func (s *snapshot) made(service *corev1.Service) bool {
	return service != nil && service.Labels[v1alpha1.ManagedLabel] == s.rollout.Name
}

// service reads one Service, nil when it is not there.
func (c *Client) service(ctx context.Context, s *snapshot, name string) (*corev1.Service, error) {
	reader := c.cached
	if s.live {
		reader = c.live
	}
	service := &corev1.Service{}
	err := reader.Get(ctx, key(s.rollout, name), service)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read Service %q: %w", name, err)
	}
	return service, nil
}

// selectedBy is true if the Service selects the workload's pods, of whatever
// revision. A Service without a selector selects none.
func (s *snapshot) selectedBy(service *corev1.Service) bool {
	if s.target == nil || len(service.Spec.Selector) == 0 {
		return false
	}
	return without(service.Spec.Selector, HashLabel).AsSelector().Matches(labels.Set(s.target.Spec.Template.Labels))
}

// without copies a map without one key.
func without(from map[string]string, key string) labels.Set {
	out := labels.Set{}
	for k, v := range from {
		if k != key {
			out[k] = v
		}
	}
	return out
}

// wanted is true unless spec.traffic.serviceRefs leaves the Service out.
func (s *snapshot) wanted(name string) bool {
	traffic := s.rollout.Spec.Traffic
	if traffic == nil || len(traffic.ServiceRefs) == 0 {
		return true
	}
	return slices.ContainsFunc(traffic.ServiceRefs, func(ref v1alpha1.ServiceReference) bool { return ref.Name == name })
}

// backend are the facts of one Service.
func (s *snapshot) backend(service *corev1.Service, endpointSlices []discoveryv1.EndpointSlice) decide.Backend {
	fact := decide.Backend{
		Name:     service.Name,
		Exists:   true,
		Revision: service.Spec.Selector[HashLabel],
		Seen:     seen(endpointSlices),
		Stamp:    stampOf(service),
	}
	s.countReady(&fact, endpointSlices)
	return fact
}

// stranger is a pod behind a Service that is not of the workload, if there is one. Narrowing
// the Service to a revision would take them out, so the caller must know. Only
// a wide Service can have any.
func (c *Client) stranger(ctx context.Context, s *snapshot, service *corev1.Service, endpointSlices []discoveryv1.EndpointSlice) (string, error) {
	pods := readyPods(endpointSlices)
	if len(pods) == 0 || !s.live || s.target == nil || shared(s.rollout) || service.Spec.Selector[HashLabel] != "" {
		return "", nil
	}
	ours, err := c.podMetadata(ctx, s)
	if err != nil {
		return "", err
	}
	for _, uid := range slices.Sorted(maps.Keys(pods)) {
		if ours[uid] {
			continue
		}
		// The list may be a moment younger or older than the endpoints.
		if stranger, err := c.isStranger(ctx, s, pods[uid]); err != nil || stranger {
			return pods[uid], err
		}
	}
	return "", nil
}

// isStranger is true for a pod that is there and not of the workload.
func (c *Client) isStranger(ctx context.Context, s *snapshot, name string) (bool, error) {
	pod := &metav1.PartialObjectMetadata{}
	pod.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Pod"))
	err := c.live.Get(ctx, key(s.rollout, name), pod)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot read Pod %q: %w", name, err)
	}
	return !s.selector.Matches(labels.Set(pod.Labels)), nil
}

// podMetadata lists the pods of the workload, of all revisions: their metadata
// suffice.
func (c *Client) podMetadata(ctx context.Context, s *snapshot) (map[types.UID]bool, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("PodList"))
	if err := c.live.List(ctx, list, client.InNamespace(s.rollout.Namespace), client.MatchingLabelsSelector{Selector: s.selector}); err != nil {
		return nil, fmt.Errorf("cannot list the pods of Deployment %q: %w", s.target.Name, err)
	}
	found := make(map[types.UID]bool, len(list.Items))
	for i := range list.Items {
		found[list.Items[i].UID] = true
	}
	return found, nil
}

// shared is true if callers beside the routes may meet the canary, so that the
// user's Services are not narrowed.
func shared(rollout *v1alpha1.Rollout) bool {
	traffic := rollout.Spec.Traffic
	return traffic != nil && traffic.OtherCallers == v1alpha1.OtherCallersShared
}
