package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// abortAndRevert aborts the release, if one is under way, and writes the stable
// version's template back into the workload, so that nothing is left that a
// later resume could ship.
func (s *session) abortAndRevert(ctx context.Context, name, reason string) error {
	c, r, err := s.rollout(ctx, name)
	if err != nil {
		return err
	}
	switch stage := r.Status.Release.Stage; {
	case stage == v1alpha1.StageAborted, stage == v1alpha1.StageRollingBack: // only the template is left to revert
	case r.Spec.Paused && !stage.UnderWay(): // a template that waits for its release
	default:
		if err := s.decide(ctx, name, v1alpha1.ActionAbort, "", reason); err != nil {
			return err
		}
	}
	if err := revertTemplate(ctx, c, r); err != nil {
		return err
	}
	return s.say("the template of %s %s is that of the stable version %s again; where it comes from Git, revert it there too\n",
		r.Spec.WorkloadRef.Kind, r.Spec.WorkloadRef.Name, r.Status.Stable.Revision)
}

// revertTemplate replaces the Deployment's template by that of the stable
// ReplicaSet. Objects are read unstructured, so that fields which this binary
// does not know survive, and the patch tests the resourceVersion, so that it
// never undoes a change that nobody has looked at.
func revertTemplate(ctx context.Context, c client.Client, r *v1alpha1.Rollout) error {
	stable := r.Status.Stable.Revision
	if stable == "" {
		return errors.New("there is no stable version yet whose template could be written back")
	}
	sets := &unstructured.UnstructuredList{}
	sets.SetGroupVersionKind(appsv1.SchemeGroupVersion.WithKind("ReplicaSetList"))
	if err := c.List(ctx, sets, client.InNamespace(r.Namespace), client.MatchingLabels{appsv1.DefaultDeploymentUniqueLabelKey: stable}); err != nil {
		return fmt.Errorf("cannot list the ReplicaSets of revision %s: %w", stable, err)
	}
	deployment := &unstructured.Unstructured{}
	deployment.SetGroupVersionKind(appsv1.SchemeGroupVersion.WithKind("Deployment"))
	if err := c.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: r.Spec.WorkloadRef.Name}, deployment); err != nil {
		return fmt.Errorf("cannot read the Deployment: %w", err)
	}
	template, err := templateOf(sets.Items, deployment.GetUID())
	if err != nil {
		return fmt.Errorf("cannot revert to revision %s: %w", stable, err)
	}
	patch, err := json.Marshal([]map[string]any{
		{"op": "test", "path": "/metadata/resourceVersion", "value": deployment.GetResourceVersion()},
		{"op": "replace", "path": "/spec/template", "value": template},
	})
	if err != nil {
		return fmt.Errorf("cannot write the patch: %w", err)
	}
	if err := c.Patch(ctx, deployment, client.RawPatch(types.JSONPatchType, patch)); err != nil {
		return fmt.Errorf("cannot write the template of revision %s back: %w", stable, err)
	}
	return nil
}

// templateOf is the template of the one ReplicaSet that belongs to a
// Deployment, less the hash label that a Deployment's template must not have.
func templateOf(sets []unstructured.Unstructured, owner types.UID) (any, error) {
	for i := range sets {
		for _, ref := range sets[i].GetOwnerReferences() {
			if ref.UID != owner {
				continue
			}
			set := sets[i].DeepCopy()
			unstructured.RemoveNestedField(set.Object, "spec", "template", "metadata", "labels", appsv1.DefaultDeploymentUniqueLabelKey)
			template, found, err := unstructured.NestedMap(set.Object, "spec", "template")
			if err != nil || !found {
				return nil, fmt.Errorf("replica set %s has no template: %w", set.GetName(), err)
			}
			return template, nil
		}
	}
	return nil, errors.New("its ReplicaSet is gone: raise spec.revisionHistoryLimit of the Deployment, and put the old template back by hand")
}
