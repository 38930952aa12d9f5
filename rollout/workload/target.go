package workload

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
)

// label puts the Rollout's name on the workload, by which the hold policy knows
// it.
func (c *Client) label(ctx context.Context, pass Pass, _ decide.Effect) error {
	target, err := c.target(ctx, pass)
	if err != nil {
		return err
	}
	switch other := target.Labels[v1alpha1.RolloutLabel]; other {
	case pass.Rollout.Name:
		return nil
	case "":
	default:
		return unmet("Deployment %q has the label %s of Rollout %q", target.Name, v1alpha1.RolloutLabel, other)
	}
	before := target.DeepCopy()
	setLabel(target, v1alpha1.RolloutLabel, pass.Rollout.Name)
	return c.patch(ctx, pass, before, target)
}

// unlabel takes the workload out of the hold policy's hands, with what the policy
// has written on it.
func (c *Client) unlabel(ctx context.Context, pass Pass, _ decide.Effect) error {
	target, err := c.target(ctx, pass)
	if err != nil {
		return err
	}
	if target.Labels[v1alpha1.RolloutLabel] != pass.Rollout.Name {
		return nil
	}
	before := target.DeepCopy()
	delete(target.Labels, v1alpha1.RolloutLabel)
	delete(target.Annotations, v1alpha1.ChangedByAnnotation)
	delete(target.Annotations, v1alpha1.ResumeRefusedAnnotation)
	return c.patch(ctx, pass, before, target)
}

// pause holds the workload between releases, where no policy does it in the
// write that changes the template.
func (c *Client) pause(ctx context.Context, pass Pass, effect decide.Effect) error {
	s, err := c.decidedOn(ctx, pass)
	if err != nil {
		return err
	}
	if err := s.templateIs(effect.Revision); err != nil {
		return err
	}
	return c.setPaused(ctx, pass, s.target, true)
}

// unpause lets the workload's controller roll to its template. The size, where
// one is given, keeps a workload that was scaled up from zero in the meantime
// from starting a version that nobody has seen run.
func (c *Client) unpause(ctx context.Context, pass Pass, effect decide.Effect) error {
	s, err := c.decidedOn(ctx, pass)
	if err != nil {
		return err
	}
	if err := s.templateIs(effect.Revision); err != nil {
		return err
	}
	if have := replicas(s.target.Spec.Replicas); effect.Size >= 0 && have != effect.Size {
		return unmet("Deployment %q has %d replicas, not %d", s.target.Name, have, effect.Size)
	}
	return c.setPaused(ctx, pass, s.target, false)
}

// setPaused sets spec.paused, if the workload is still as it was read.
func (c *Client) setPaused(ctx context.Context, pass Pass, target *appsv1.Deployment, paused bool) error {
	if target.Spec.Paused == paused {
		return nil
	}
	before := target.DeepCopy()
	target.Spec.Paused = paused
	return c.patch(ctx, pass, before, target)
}

// revertTemplate gives the workload the template of its stable set and unpauses
// it, in one write. The template is copied whole, as the API server has it.
func (c *Client) revertTemplate(ctx context.Context, pass Pass, effect decide.Effect) error {
	if pass.Rollout.DeletionTimestamp == nil {
		return unmet("the Rollout is not being deleted")
	}
	s, err := c.readLive(ctx, pass.Rollout, noPods)
	if err != nil {
		return err
	}
	if s.target == nil {
		return unmet("Deployment %q does not exist", pass.Rollout.Spec.WorkloadRef.Name)
	}
	for _, set := range s.sets {
		if set.owner != decide.OwnerTarget || set.hash() != effect.Revision {
			continue
		}
		if set.digest == s.digest {
			return c.setPaused(ctx, pass, s.target, false)
		}
		return c.copyTemplate(ctx, pass, s.target, set)
	}
	return unmet("Deployment %q has no ReplicaSet of revision %q to go back to", s.target.Name, effect.Revision)
}

// copyTemplate writes the template of a set into the workload and unpauses it.
func (c *Client) copyTemplate(ctx context.Context, pass Pass, target *appsv1.Deployment, from set) error {
	source, err := c.full(ctx, replicaSetKind, from.ReplicaSet)
	if err != nil {
		return err
	}
	t, err := templateOf(source)
	if err != nil {
		return err
	}
	full, err := c.full(ctx, deploymentKind, target)
	if err != nil {
		return err
	}
	if err := unstructured.SetNestedMap(full.Object, t.withoutHash(), "spec", "template"); err != nil {
		return fmt.Errorf("cannot copy the template of ReplicaSet %q: %w", from.Name, err)
	}
	unstructured.RemoveNestedField(full.Object, "spec", "paused")
	if err := pass.confirm(ctx); err != nil {
		return err
	}
	if err := c.writer.Update(ctx, full, client.FieldOwner(FieldManager)); err != nil {
		return fmt.Errorf("cannot change Deployment %q: %w", target.Name, err)
	}
	return nil
}

// target reads the Deployment alone.
func (c *Client) target(ctx context.Context, pass Pass) (*appsv1.Deployment, error) {
	target := &appsv1.Deployment{}
	if err := c.live.Get(ctx, key(pass.Rollout, pass.Rollout.Spec.WorkloadRef.Name), target); err != nil {
		return nil, fmt.Errorf("cannot read Deployment %q: %w", pass.Rollout.Spec.WorkloadRef.Name, err)
	}
	return target, nil
}

// setLabel sets a label.
func setLabel(obj client.Object, key, value string) {
	labels := obj.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[key] = value
	obj.SetLabels(labels)
}
