package workload

import (
	"context"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// canarySetLabels are the ReplicaSet's own labels before the handover. A
// Deployment adopts every ReplicaSet whose own labels match its selector, so
// these must match none: nobody's selector asks for them, and whatever a
// selector does ask for they lack. What is left are selectors that ask for
// nothing and only exclude: see adopters.
func canarySetLabels(rollout, revision string) labels.Set {
	return labels.Set{v1alpha1.ManagedLabel: rollout, HashLabel: revision}
}

const (
	// adoptersAge is how long the adopters of a namespace are remembered, so
	// that many releases at once list its Deployments once. Selectors are
	// immutable, and a Deployment made a moment after the canary adopts it as
	// well as one made a moment before.
	adoptersAge = 30 * time.Second
	// maxNamespaces bounds for how many namespaces they are.
	maxNamespaces = 1024
)

// adoptersOf is what is remembered of a namespace.
type adoptersOf struct {
	read  time.Time
	names []string
}

// adopters are the Deployments in the Rollout's namespace, by name, that would
// take in the ReplicaSet of a canary.
func (c *Client) adopters(ctx context.Context, rollout *v1alpha1.Rollout) ([]string, error) {
	now := c.now()
	if memo, ok := c.adopting.Get(rollout.Namespace); ok && now.Sub(memo.(adoptersOf).read) < adoptersAge {
		return memo.(adoptersOf).names, nil
	}
	list := &appsv1.DeploymentList{}
	if err := c.live.List(ctx, list, client.InNamespace(rollout.Namespace)); err != nil {
		return nil, fmt.Errorf("cannot list the Deployments of namespace %q: %w", rollout.Namespace, err)
	}
	var names []string
	set := canarySetLabels(rollout.Name, revisionPrefix)
	for i := range list.Items {
		d := &list.Items[i]
		selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
		if err != nil {
			return nil, fmt.Errorf("cannot read spec.selector of Deployment %q: %w", d.Name, err)
		}
		if selector.Matches(set) {
			names = append(names, d.Name)
		}
	}
	slices.Sort(names)
	c.adopting.Add(rollout.Namespace, adoptersOf{read: now, names: names})
	return names, nil
}
