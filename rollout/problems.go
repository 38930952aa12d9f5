package rollout

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// observeSpec finds what is wrong with the spec by itself and cannot be said in
// its schema.
func (o *observation) observeSpec() {
	for _, err := range v1alpha1.ValidateSpec(&o.rollout.Spec) {
		o.problem(v1alpha1.ReasonInvalidSpec, err.Field, err.ErrorBody())
	}
}

// observeOthers finds what other Rollouts have to do with this one. One
// workload, and one Service behind one route, have one Rollout: of two the one
// that came first counts, and the other says so.
func (r *Reconciler) observeOthers(ctx context.Context, o *observation) error {
	list := &v1alpha1.RolloutList{}
	if err := r.Cached.List(ctx, list, client.InNamespace(o.rollout.Namespace), client.MatchingFields{ReferenceIndex: workloadReference(o.rollout)}); err != nil {
		return fmt.Errorf("cannot list Rollouts: %w", err)
	}
	for i := range list.Items {
		if other := &list.Items[i]; o.hasWorkload(other) {
			o.problem(v1alpha1.ReasonInvalidSpec, "spec.workloadRef.name", fmt.Sprintf(
				"%s %q already has Rollout %q, which came first: delete one of the two",
				o.rollout.Spec.WorkloadRef.Kind, o.rollout.Spec.WorkloadRef.Name, other.Name))
			return nil
		}
	}
	if o.rollout.Spec.Traffic == nil {
		return nil
	}
	for _, ref := range o.rollout.Spec.Traffic.RouteRefs {
		if err := r.observeRouteClaims(ctx, o, ref); err != nil {
			return err
		}
	}
	return nil
}

// hasWorkload tells whether another Rollout of the same workload has it. The
// label on the workload says which of them came first, and can only be written
// by one: two Rollouts that are made in the same second have the same age.
func (o *observation) hasWorkload(other *v1alpha1.Rollout) bool {
	switch label := o.facts.Target.Label; {
	case other.UID == o.rollout.UID || label == o.rollout.Name:
		return false
	case label == other.Name:
		return true
	default:
		return older(other, o.rollout)
	}
}

// observeRouteClaims looks for an older Rollout on the same rules of a route.
// Several Rollouts may share a route: each has the backends of its own workload.
func (r *Reconciler) observeRouteClaims(ctx context.Context, o *observation, ref v1alpha1.RouteReference) error {
	list := &v1alpha1.RolloutList{}
	if err := r.Cached.List(ctx, list, client.InNamespace(o.rollout.Namespace), client.MatchingFields{ReferenceIndex: Reference(ref.Kind, ref.Name)}); err != nil {
		return fmt.Errorf("cannot list Rollouts: %w", err)
	}
	for i := range list.Items {
		other := &list.Items[i]
		if !older(other, o.rollout) {
			continue
		}
		if shared := o.sharedWith(other, ref); shared != "" {
			o.problem(v1alpha1.ReasonInvalidSpec, "spec.traffic.routeRefs", fmt.Sprintf(
				"%s %q: %s already has Rollout %q, which came first: name other rules or Services, or delete one of the two",
				ref.Kind, ref.Name, shared, other.Name))
			return nil
		}
	}
	return nil
}

// sharedWith names what two Rollouts on one route would both split: a rule that
// both name, or a Service that selects the pods of both.
func (o *observation) sharedWith(other *v1alpha1.Rollout, ref v1alpha1.RouteReference) string {
	their := routes(other)
	theirs := their[slices.IndexFunc(their, func(theirs v1alpha1.RouteReference) bool {
		return theirs.Kind == ref.Kind && theirs.Name == ref.Name
	})]
	for _, rule := range ref.RuleNames {
		if slices.Contains(theirs.RuleNames, rule) {
			return fmt.Sprintf("rule %q", rule)
		}
	}
	if len(ref.RuleNames) > 0 && len(theirs.RuleNames) > 0 {
		return "" // Different rules may well have the same backend.
	}
	for _, service := range o.facts.Services() {
		if slices.Contains(other.Status.Traffic.Services, service) {
			return fmt.Sprintf("Service %q", service)
		}
	}
	return ""
}

// older tells whether a is another Rollout than b and came before it.
func older(a, b *v1alpha1.Rollout) bool {
	if a.UID == b.UID {
		return false
	}
	if c := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); c != 0 {
		return c < 0
	}
	return strings.Compare(string(a.UID), string(b.UID)) < 0
}

// ReferenceIndex is the name of the cache index of Rollouts by the objects that
// they refer to. Register it with IndexReferences.
const ReferenceIndex = "references"

// IndexReferences gives what a Rollout refers to: its workload, its routes, and
// its analysis templates.
func IndexReferences(obj client.Object) []string {
	rollout, ok := obj.(*v1alpha1.Rollout)
	if !ok {
		return nil
	}
	refs := []string{workloadReference(rollout)}
	for _, ref := range routes(rollout) {
		refs = append(refs, Reference(ref.Kind, ref.Name))
	}
	if rollout.Spec.Analysis != nil {
		for _, ref := range rollout.Spec.Analysis.TemplateRefs {
			refs = append(refs, Reference(ref.Kind, ref.Name))
		}
	}
	return refs
}

// Reference is the entry of ReferenceIndex for an object.
func Reference(kind, name string) string { return kind + "/" + name }

func workloadReference(rollout *v1alpha1.Rollout) string {
	return Reference(rollout.Spec.WorkloadRef.Kind, rollout.Spec.WorkloadRef.Name)
}
