// Package kubernetes is the provider without a route: the split is the pods
// themselves.
//
// A Service spreads connections evenly over its ready pods, so the canary's
// share is its part of them. Sizing the canary is the workload's affair; this
// package only says what share came of it, and whether the data plane, which
// follows the EndpointSlices, knows of every ready pod yet. It has nothing to
// write.
//
// The share is of new connections and an average over all callers: clients that
// keep connections, and Services that prefer near endpoints or pin clients to
// one (trafficDistribution, internalTrafficPolicy, sessionAffinity), spread
// unevenly. The measured share of requests is the proof.
package kubernetes

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
)

// Provider observes the share of pods. It keeps no state.
type Provider struct {
	cached, live client.Reader
}

var _ providers.Provider = (*Provider)(nil)

// New makes a provider that reads Services, EndpointSlices and Pods from cached,
// or from live where it must know.
func New(cached, live client.Reader) *Provider {
	return &Provider{cached: cached, live: live}
}

// Name of the provider.
func (p *Provider) Name() v1alpha1.TrafficProvider { return v1alpha1.ProviderKubernetes }

// Observe gives the share of the canary among the ready pods behind each Service
// that selects the workload's pods, or, where none does, among the pods. Where
// the target has pairs, only their stable Services count. There are no stamps.
func (p *Provider) Observe(ctx context.Context, target providers.Target, live bool) (providers.Observation, error) {
	reader := p.cached
	if live {
		reader = p.live
	}
	pods, err := readPods(ctx, reader, target)
	if err != nil {
		return providers.Observation{}, err
	}
	services, err := readServices(ctx, reader, target, pods)
	if err != nil {
		return providers.Observation{}, err
	}
	if len(services) == 0 {
		return summarize([]backend{{ready: pods.ready(nil)}}, target), nil
	}
	backends := make([]backend, 0, len(services))
	for _, s := range services {
		ready, err := readEndpoints(ctx, reader, s, pods)
		if err != nil {
			return providers.Observation{}, err
		}
		backends = append(backends, backend{service: s.Name, ready: ready, want: pods.ready(s.Spec.Selector)})
	}
	return summarize(backends, target), nil
}

// Lower has nothing to write: fewer canary pods lower the share.
func (p *Provider) Lower(context.Context, providers.Target, int32, int64) error { return nil }

// Raise has nothing to write: more canary pods raise the share.
func (p *Provider) Raise(context.Context, providers.Target, int32, int64, providers.Confirm) error {
	return nil
}

// Restore has nothing to write: without canary pods all is as it was.
func (p *Provider) Restore(context.Context, providers.Target, int64, providers.Confirm) error {
	return nil
}

// podSet is the pods of both versions, by name.
type podSet map[string]corev1.Pod

// ready pods that a selector matches, with their revisions. No selector matches
// all.
func (s podSet) ready(selector map[string]string) map[string]string {
	out := map[string]string{}
	for name, pod := range s {
		if isReady(&pod) && labels.SelectorFromSet(selector).Matches(labels.Set(pod.Labels)) {
			out[name] = pod.Labels[appsv1.DefaultDeploymentUniqueLabelKey]
		}
	}
	return out
}

// isReady is true for a pod that is to get traffic.
func isReady(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// readPods of both revisions.
func readPods(ctx context.Context, reader client.Reader, target providers.Target) (podSet, error) {
	var revisions []string
	for _, r := range []string{target.StableRevision, target.CanaryRevision} {
		if r != "" {
			revisions = append(revisions, r)
		}
	}
	if len(revisions) == 0 {
		return podSet{}, nil
	}
	of, err := labels.NewRequirement(appsv1.DefaultDeploymentUniqueLabelKey, selection.In, revisions)
	if err != nil {
		return nil, fmt.Errorf("cannot select pods of revisions %v: %w", revisions, err)
	}
	var list corev1.PodList
	err = reader.List(ctx, &list, client.InNamespace(target.Namespace), client.MatchingLabelsSelector{Selector: labels.NewSelector().Add(*of)})
	if err != nil {
		return nil, fmt.Errorf("cannot list pods: %w", err)
	}
	out := podSet{}
	for _, pod := range list.Items {
		out[pod.Name] = pod
	}
	return out, nil
}

// readServices that select any of the pods, in the order of their names.
func readServices(ctx context.Context, reader client.Reader, target providers.Target, pods podSet) ([]corev1.Service, error) {
	var list corev1.ServiceList
	if err := reader.List(ctx, &list, client.InNamespace(target.Namespace)); err != nil {
		return nil, fmt.Errorf("cannot list Services: %w", err)
	}
	wanted := func(name string) bool {
		return len(target.Pairs) == 0 || slices.ContainsFunc(target.Pairs, func(p providers.Pair) bool { return p.Stable == name })
	}
	out := slices.DeleteFunc(list.Items, func(s corev1.Service) bool {
		return len(s.Spec.Selector) == 0 || s.Labels[v1alpha1.ManagedLabel] != "" || !wanted(s.Name) || !pods.any(s.Spec.Selector)
	})
	slices.SortFunc(out, func(a, b corev1.Service) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// any is true when the selector matches a pod.
func (s podSet) any(selector map[string]string) bool {
	for _, pod := range s {
		if labels.SelectorFromSet(selector).Matches(labels.Set(pod.Labels)) {
			return true
		}
	}
	return false
}

// readEndpoints gives the pods to which a Service sends traffic, with their
// revisions. A pod counts once, however many addresses it has.
func readEndpoints(ctx context.Context, reader client.Reader, service corev1.Service, pods podSet) (map[string]string, error) {
	var list discoveryv1.EndpointSliceList
	err := reader.List(ctx, &list, client.InNamespace(service.Namespace), client.MatchingLabels{discoveryv1.LabelServiceName: service.Name})
	if err != nil {
		return nil, fmt.Errorf("cannot list the EndpointSlices of Service %q: %w", service.Name, err)
	}
	out := map[string]string{}
	for _, slice := range list.Items {
		for _, e := range slice.Endpoints {
			if e.TargetRef == nil || e.TargetRef.Kind != "Pod" || !serves(e.Conditions) {
				continue
			}
			if pod, ok := pods[e.TargetRef.Name]; ok {
				out[pod.Name] = pod.Labels[appsv1.DefaultDeploymentUniqueLabelKey]
			}
		}
	}
	return out, nil
}

// serves is true for an endpoint that gets new connections. Unknown readiness
// counts as ready, as the API says.
func serves(c discoveryv1.EndpointConditions) bool {
	return (c.Ready == nil || *c.Ready) && (c.Terminating == nil || !*c.Terminating)
}

// backend is the pods behind one Service, each with its revision.
type backend struct {
	service string
	// ready pods as the EndpointSlices say, and as they themselves say.
	ready, want map[string]string
}

// summarize the backends, worst first.
func summarize(backends []backend, target providers.Target) providers.Observation {
	o := providers.Observation{Accepted: true, Processed: true}
	for i, b := range backends {
		share, canary := b.share(target)
		o.Split = o.Split || canary > 0
		o.Weight = max(o.Weight, share)
		if i == 0 || share < o.LowestWeight {
			o.LowestWeight = share
		}
		if b.service == "" {
			continue
		}
		o.Services = append(o.Services, b.service)
		if o.Accepted && !maps.Equal(b.ready, b.want) {
			o.Accepted, o.Processed = false, false
			o.Message = fmt.Sprintf("Service/%s: pods that are ready and not in its EndpointSlices yet: %d; not ready and still in them: %d",
				b.service, lacking(b.want, b.ready), lacking(b.ready, b.want))
		}
	}
	return o
}

// lacking is how many pods of a are not in b.
func lacking(a, b map[string]string) int {
	n := 0
	for name := range a {
		if _, ok := b[name]; !ok {
			n++
		}
	}
	return n
}

// share of the canary in parts per 10,000, to the nearest, and its pods.
func (b backend) share(target providers.Target) (share int32, canary int64) {
	if target.CanaryRevision == "" {
		return 0, 0
	}
	for _, revision := range b.ready {
		if revision == target.CanaryRevision {
			canary++
		}
	}
	total := int64(len(b.ready))
	if total == 0 {
		return 0, 0
	}
	return int32((canary*int64(v1alpha1.FullWeight) + total/2) / total), canary
}
