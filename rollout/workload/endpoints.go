package workload

import (
	"context"
	"fmt"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
)

// sliceManager marks the EndpointSlices of the endpoint controller. Others may
// make slices for a Service too, and theirs do not show what it has acted on.
const sliceManager = "endpointslice-controller.k8s.io"

// endpointSlicesOf are EndpointSlices by the name of their Service.
type endpointSlicesOf map[string][]discoveryv1.EndpointSlice

// endpointSlices reads the EndpointSlices of Services. The caches hold only those
// of releases under way, and of previews.
func (c *Client) endpointSlices(ctx context.Context, s *snapshot, names []string) (endpointSlicesOf, error) {
	if len(names) == 0 {
		return nil, nil
	}
	ofServices, err := labels.NewRequirement(discoveryv1.LabelServiceName, selection.In, names)
	if err != nil {
		return nil, fmt.Errorf("cannot select EndpointSlices: %w", err)
	}
	reader, selector := c.live, labels.NewSelector().Add(*ofServices)
	if !s.live {
		reader = c.cached
	}
	list := &discoveryv1.EndpointSliceList{}
	if err := reader.List(ctx, list, client.InNamespace(s.rollout.Namespace), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return nil, fmt.Errorf("cannot list EndpointSlices of %v: %w", names, err)
	}
	byService := endpointSlicesOf{}
	for _, slice := range list.Items {
		if slice.Labels[discoveryv1.LabelManagedBy] == sliceManager {
			name := slice.Labels[discoveryv1.LabelServiceName]
			byService[name] = append(byService[name], slice)
		}
	}
	return byService, nil
}

// seen is the revision that the endpoint controller has acted on, empty when
// its slices do not agree. Narrowing a Service to the pods that it has anyway
// changes no endpoint; but the controller copies the labels of the Service to
// its slices, and that it does only after it has read the Service anew.
func seen(endpointSlices []discoveryv1.EndpointSlice) string {
	if len(endpointSlices) == 0 {
		return ""
	}
	first := endpointSlices[0].Labels[v1alpha1.PinLabel]
	for _, slice := range endpointSlices[1:] {
		if slice.Labels[v1alpha1.PinLabel] != first {
			return ""
		}
	}
	if first == v1alpha1.PinOff {
		return "" // a person widened the Service
	}
	return first
}

// countReady counts the ready endpoints of a Service that are of the canary: pods,
// not addresses, which in dual-stack clusters are two for a pod.
func (s *snapshot) countReady(fact *decide.Backend, endpointSlices []discoveryv1.EndpointSlice) {
	canary := s.rollout.Status.Canary.Revision
	if canary == "" {
		return
	}
	ready := readyPods(endpointSlices)
	if !s.live && fact.Revision == canary && fact.Seen == canary {
		fact.ReadyCanary = int32(len(ready)) // Caches have no pods, but the selector admits no other.
	}
	for i := range s.pods {
		if _, ok := ready[s.pods[i].UID]; ok && s.pods[i].Labels[HashLabel] == canary {
			fact.ReadyCanary++
		}
	}
}

// readyPods are the pods behind the ready endpoints, with their names.
func readyPods(endpointSlices []discoveryv1.EndpointSlice) map[types.UID]string {
	pods := map[types.UID]string{}
	for i := range endpointSlices {
		for _, e := range endpointSlices[i].Endpoints {
			ready := e.Conditions.Ready == nil || *e.Conditions.Ready
			if ready && e.TargetRef != nil && e.TargetRef.Kind == "Pod" {
				pods[e.TargetRef.UID] = e.TargetRef.Name
			}
		}
	}
	return pods
}
