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
	// adoptersPage is how many Deployments are in memory at a time.
	adoptersPage = 200
)

// adoptersOf is what is remembered of a namespace.
type adoptersOf struct {
	read  time.Time
	names []string
}

// adopters are the Deployments in the Rollout's namespace, by name, that would
// take in the ReplicaSet of a canary. Those who ask at the same time share one
// look.
func (c *Client) adopters(ctx context.Context, rollout *v1alpha1.Rollout) ([]string, error) {
	namespace, now := rollout.Namespace, c.now()
	if memo, ok := c.adopting.Get(namespace); ok && now.Sub(memo.(adoptersOf).read) < adoptersAge {
		return memo.(adoptersOf).names, nil
	}
	names, err, _ := c.looking.Do(namespace, func() (any, error) {
		names, err := c.listAdopters(ctx, namespace, canarySetLabels(rollout.Name, revisionPrefix))
		if err == nil {
			c.adopting.Add(namespace, adoptersOf{read: now, names: names})
		}
		return names, err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot tell who would take in the canary: %w", err)
	}
	return names.([]string), nil
}

// listAdopters reads the Deployments of a namespace, of which there may be
// thousands, page by page.
func (c *Client) listAdopters(ctx context.Context, namespace string, canary labels.Set) ([]string, error) {
	var names []string
	for next := ""; ; {
		page := &appsv1.DeploymentList{}
		if err := c.live.List(ctx, page, client.InNamespace(namespace), client.Limit(adoptersPage), client.Continue(next)); err != nil {
			return nil, fmt.Errorf("cannot list the Deployments of namespace %q: %w", namespace, err)
		}
		for i := range page.Items {
			d := &page.Items[i]
			selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
			if err != nil {
				return nil, fmt.Errorf("cannot read spec.selector of Deployment %q: %w", d.Name, err)
			}
			if selector.Matches(canary) {
				names = append(names, d.Name)
			}
		}
		if next = page.Continue; next == "" {
			slices.Sort(names)
			return names, nil
		}
	}
}
