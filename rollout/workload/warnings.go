package workload

import (
	"context"
	"fmt"

	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// Warnings are sentences about objects beside the workload that do not stop a
// release but make it less safe than it looks. They are meant to be said once,
// at its start, from the live Facts that it started on.
func (c *Client) Warnings(ctx context.Context, rollout *v1alpha1.Rollout, facts Facts) ([]string, error) {
	s := facts.snapshot
	if s == nil || s.target == nil {
		return nil, nil
	}
	budgets := &policyv1.PodDisruptionBudgetList{}
	if err := c.live.List(ctx, budgets, client.InNamespace(rollout.Namespace)); err != nil {
		return nil, fmt.Errorf("cannot list the PodDisruptionBudgets of namespace %q: %w", rollout.Namespace, err)
	}
	var warnings []string
	for i := range budgets.Items {
		budget := &budgets.Items[i]
		selector, err := metav1.LabelSelectorAsSelector(budget.Spec.Selector)
		if err != nil {
			return nil, fmt.Errorf("cannot read spec.selector of PodDisruptionBudget %q: %w", budget.Name, err)
		}
		if !selector.Matches(labels.Set(s.target.Spec.Template.Labels)) {
			continue
		}
		// The pods of the canary count as well, so that beside a full canary a
		// whole number allows all of stable to be evicted at once.
		if least := budget.Spec.MinAvailable; least != nil && least.Type == intstr.Int {
			warnings = append(warnings, fmt.Sprintf(
				"PodDisruptionBudget %q has spec.minAvailable %d: while canary pods run, it allows as many more evictions: use a percentage, or maxUnavailable",
				budget.Name, least.IntVal))
		}
	}
	return warnings, nil
}
