package workload

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
)

// problems are what keeps a release of this workload from working. Each names
// the field, the value and the remedy; their order is fixed.
func (c *Client) problems(ctx context.Context, s *snapshot, found frontage) ([]decide.Problem, error) {
	if s.target == nil {
		name := s.rollout.Spec.WorkloadRef.Name
		return []decide.Problem{{
			Reason:  v1alpha1.ReasonWorkloadNotFound,
			Field:   "spec.workloadRef.name",
			Message: fmt.Sprintf("Deployment %q does not exist in this namespace: create it, or delete this Rollout", name),
		}}, nil
	}
	problems := deploymentProblems(s.target)
	volumes, err := c.volumeProblems(ctx, s)
	if err != nil {
		return nil, err
	}
	problems = append(problems, volumes...)
	adopting, err := c.adopterProblems(ctx, s)
	if err != nil {
		return nil, err
	}
	problems = append(problems, adopting...)
	problems = append(problems, s.serviceProblems(found)...)
	return append(problems, s.previewProblems(found)...), nil
}

// deploymentProblems are fields of a Deployment that no canary can live with.
func deploymentProblems(d *appsv1.Deployment) []decide.Problem {
	var problems []decide.Problem
	if d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
		problems = append(problems, unsupported("spec.workloadRef",
			"Deployment %q has spec.strategy.type Recreate, which allows no two versions at a time: set it to RollingUpdate", d.Name))
	}
	if limit := d.Spec.RevisionHistoryLimit; limit != nil && *limit == 0 {
		problems = append(problems, unsupported("spec.workloadRef",
			"Deployment %q has spec.revisionHistoryLimit 0, by which the stable version is lost when it is scaled to zero during a release: set it to 1 or more", d.Name))
	}
	return problems
}

// volumeProblems are volumes that only one node can mount: pods of the canary
// would wait for those of stable to let go of them.
func (c *Client) volumeProblems(ctx context.Context, s *snapshot) ([]decide.Problem, error) {
	var problems []decide.Problem
	for _, volume := range s.target.Spec.Template.Spec.Volumes {
		if volume.PersistentVolumeClaim == nil {
			continue
		}
		claim := &corev1.PersistentVolumeClaim{}
		err := c.live.Get(ctx, key(s.rollout, volume.PersistentVolumeClaim.ClaimName), claim)
		if apierrors.IsNotFound(err) {
			continue // the pods say so themselves
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read PersistentVolumeClaim %q: %w", volume.PersistentVolumeClaim.ClaimName, err)
		}
		many := slices.ContainsFunc(claim.Spec.AccessModes, func(m corev1.PersistentVolumeAccessMode) bool {
			return m == corev1.ReadWriteMany || m == corev1.ReadOnlyMany
		})
		if !many {
			problems = append(problems, unsupported("spec.workloadRef",
				"Deployment %q mounts PersistentVolumeClaim %q, whose access mode %v lets one node mount it: a canary needs ReadWriteMany or ReadOnlyMany",
				s.target.Name, claim.Name, claim.Spec.AccessModes))
		}
	}
	return problems, nil
}

// adopterProblems are Deployments that would take in the canary's ReplicaSet.
func (c *Client) adopterProblems(ctx context.Context, s *snapshot) ([]decide.Problem, error) {
	names, err := c.adopters(ctx, s.rollout)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	return []decide.Problem{unsupported("spec.workloadRef",
		"the selector of Deployment %s asks for no label and would take in the canary's ReplicaSet: give it a label to ask for",
		quoted(names))}, nil
}

// serviceProblems are Services that cannot be split.
func (s *snapshot) serviceProblems(found frontage) []decide.Problem {
	var problems []decide.Problem
	traffic := s.rollout.Spec.Traffic
	if traffic == nil {
		return nil
	}
	for _, ref := range traffic.ServiceRefs {
		if !slices.ContainsFunc(found.backends, func(b decide.Backend) bool { return b.Name == ref.Name }) {
			problems = append(problems, decide.Problem{
				Reason: v1alpha1.ReasonInvalidSpec,
				Field:  "spec.traffic.serviceRefs",
				Message: fmt.Sprintf("Service %q is not a backend of these routes that selects the pods of Deployment %q: correct the name, or leave serviceRefs out",
					ref.Name, s.target.Name),
			})
		}
	}
	if len(found.backends) == 0 && len(traffic.ServiceRefs) == 0 {
		problems = append(problems, decide.Problem{
			Reason: v1alpha1.ReasonInvalidSpec,
			Field:  "spec.traffic.routeRefs",
			Message: fmt.Sprintf("no backend of these routes is a Service that selects the pods of Deployment %q: correct routeRefs, or the selector of the Service",
				s.target.Name),
		})
	}
	for _, name := range found.taken {
		problems = append(problems, unsupported("spec.traffic.routeRefs",
			"Service %q exists and was not made by Weir, which needs the name for the canary: rename it", name))
	}
	for _, name := range slices.Sorted(maps.Keys(found.strangers)) {
		problems = append(problems, unsupported("spec.traffic.otherCallers",
			"Service %q also selects pod %q, which is not of Deployment %q, and would lose it when it is narrowed to the stable version: narrow its selector, or set otherCallers to Shared",
			name, found.strangers[name], s.target.Name))
	}
	return problems
}

// unsupported is a Problem of a workload that cannot be released in steps.
func unsupported(field, format string, args ...any) decide.Problem {
	return decide.Problem{Reason: v1alpha1.ReasonUnsupported, Field: field, Message: fmt.Sprintf(format, args...)}
}

// quoted lists names in quotes.
func quoted(names []string) string {
	out := make([]string, 0, len(names))
	for _, name := range names {
		out = append(out, fmt.Sprintf("%q", name))
	}
	return strings.Join(out, ", ")
}
