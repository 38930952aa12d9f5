package workload

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
)

// createCanary makes the canary's ReplicaSet from the workload's template.
func (c *Client) createCanary(ctx context.Context, pass Pass, effect decide.Effect) error {
	s, err := c.decidedOn(ctx, pass)
	if err != nil {
		return err
	}
	if err := s.templateIs(effect.Revision); err != nil {
		return err
	}
	if err := s.noTwin(effect.Revision); err != nil {
		return err
	}
	if err := c.checkPinned(ctx, pass); err != nil {
		return err
	}
	if names, err := c.adopters(ctx, pass.Rollout); err != nil || len(names) > 0 {
		return orUnmet(err, "the selector of Deployment %s would take in the canary", quoted(names))
	}
	full, err := c.full(ctx, deploymentKind, s.target)
	if err != nil {
		return err
	}
	canary, err := s.newCanary(full, effect.Revision, effect.Size)
	if err != nil {
		return err
	}
	pass.stamp(canary)
	err = c.create(ctx, pass, canary)
	if apierrors.IsAlreadyExists(err) {
		return c.checkCanary(ctx, pass, canary.GetName(), s.digest)
	}
	if err != nil {
		return err
	}
	// What is not remembered is computed when it is needed.
	_, _ = c.rememberDigest(canary)
	return nil
}

// noTwin makes sure that the workload has no other set with its template. Its
// controller takes the oldest of equal sets for its own, and would move the
// canary's pods there after the handover.
func (s *snapshot) noTwin(revision string) error {
	for _, set := range s.sets {
		canary := set.owner != decide.OwnerTarget && set.hash() == revision
		if !canary && set.digest == s.digest {
			return unmet("ReplicaSet %q of Deployment %q has the template of revision %q already", set.Name, s.target.Name, revision)
		}
	}
	return nil
}

// checkCanary makes sure that the set which has the canary's name is the canary,
// made by an earlier attempt or by another controller a moment ago.
func (c *Client) checkCanary(ctx context.Context, pass Pass, name, digest string) error {
	s, err := c.readLive(ctx, pass.Rollout, noPods)
	if err != nil {
		return err
	}
	set, ok := s.named(name)
	if !ok || set.owner != decide.OwnerWeir || set.digest != digest || set.DeletionTimestamp != nil {
		return unmet("ReplicaSet %q exists and is not the canary", name)
	}
	return nil
}

// newCanary builds the ReplicaSet. It is unstructured, so that no field of the
// template is lost.
func (s *snapshot) newCanary(full *unstructured.Unstructured, revision string, size int32) (*unstructured.Unstructured, error) {
	t, err := templateOf(full)
	if err != nil {
		return nil, err
	}
	selector := metav1.CloneSelectorAndAddLabel(s.target.Spec.Selector, HashLabel, revision)
	rawSelector, err := runtime.DefaultUnstructuredConverter.ToUnstructured(selector)
	if err != nil {
		return nil, fmt.Errorf("cannot render the selector of Deployment %q: %w", s.target.Name, err)
	}
	canary := &unstructured.Unstructured{Object: map[string]any{
		"spec": map[string]any{
			"replicas": int64(size),
			// The Deployment would set its own at the adoption, and count the pods
			// as not available until they are that old again.
			"minReadySeconds": int64(s.target.Spec.MinReadySeconds),
			"selector":        rawSelector,
			"template":        map[string]any(t.withHash(revision)),
		},
	}}
	canary.SetGroupVersionKind(replicaSetKind)
	canary.SetNamespace(s.target.Namespace)
	canary.SetName(replicaSetName(s.target.Name, revision))
	canary.SetLabels(canarySetLabels(s.rollout.Name, revision))
	canary.SetAnnotations(map[string]string{revisionAnnotation: s.nextRevisionNumber()})
	canary.SetOwnerReferences([]metav1.OwnerReference{{
		APIVersion: deploymentKind.GroupVersion().String(),
		Kind:       deploymentKind.Kind,
		Name:       s.target.Name,
		UID:        s.target.UID,
	}})
	return canary, nil
}

// scaleCanary sets the size of the canary.
func (c *Client) scaleCanary(ctx context.Context, pass Pass, effect decide.Effect) error {
	canary, err := c.canary(ctx, pass, effect.Name)
	if err != nil {
		return err
	}
	have := replicas(canary.Spec.Replicas)
	if grows := effect.Size > have; have != effect.Size && grows != effect.Raise {
		return unmet("ReplicaSet %q has size %d, from which %d is not the change that was decided", canary.Name, have, effect.Size)
	}
	if effect.Raise {
		if stamp := stampOf(canary); stamp < pass.Rollout.Status.Record.TermSeq {
			return unmet("ReplicaSet %q has stamp %d of an earlier term", canary.Name, stamp)
		}
		if pass.Rollout.Status.Release.Stage != v1alpha1.StageAdopting {
			if err := c.checkPinned(ctx, pass); err != nil {
				return err
			}
		}
	}
	before := canary.DeepCopy()
	canary.Spec.Replicas = &effect.Size
	pass.stamp(canary)
	return c.patch(ctx, pass, before, canary)
}

// sealCanary only stamps the canary, so that older writes in flight fail.
func (c *Client) sealCanary(ctx context.Context, pass Pass, effect decide.Effect) error {
	canary, err := c.canary(ctx, pass, effect.Name)
	if err != nil {
		return err
	}
	before := canary.DeepCopy()
	pass.stamp(canary)
	return c.patch(ctx, pass, before, canary)
}

// deleteCanary deletes the canary, in the foreground: the set stays until its
// pods are gone, so that the decision sees them go.
func (c *Client) deleteCanary(ctx context.Context, pass Pass, effect decide.Effect) error {
	canary, err := c.canary(ctx, pass, effect.Name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil || canary.DeletionTimestamp != nil {
		return err
	}
	if err := c.checkNoTraffic(ctx, pass, canary.Labels[HashLabel]); err != nil {
		return err
	}
	return c.remove(ctx, pass, canary, metav1.DeletePropagationForeground)
}

// canary reads a ReplicaSet that Weir made for the Rollout and that nobody has
// adopted.
func (c *Client) canary(ctx context.Context, pass Pass, name string) (*appsv1.ReplicaSet, error) {
	rs, err := c.replicaSet(ctx, pass, name)
	if err != nil {
		return nil, err
	}
	if rs.Labels[v1alpha1.ManagedLabel] != pass.Rollout.Name || metav1.GetControllerOfNoCopy(rs) != nil {
		return nil, unmet("ReplicaSet %q was not made by Weir for this Rollout, or is adopted", name)
	}
	return rs, pass.fence(rs)
}

// replicaSet is a ReplicaSet of the Rollout, as it was read for the decision or is
// now.
func (c *Client) replicaSet(ctx context.Context, pass Pass, name string) (*appsv1.ReplicaSet, error) {
	if pass.decided != nil {
		if set, ok := pass.decided.named(name); ok {
			return set.DeepCopy(), nil
		}
	}
	return c.liveSet(ctx, pass, name)
}

// liveSet reads a ReplicaSet of the Rollout.
func (c *Client) liveSet(ctx context.Context, pass Pass, name string) (*appsv1.ReplicaSet, error) {
	rs := &appsv1.ReplicaSet{}
	if err := c.live.Get(ctx, key(pass.Rollout, name), rs); err != nil {
		return nil, fmt.Errorf("cannot read ReplicaSet %q: %w", name, err)
	}
	return rs, nil
}

// orUnmet is err, or else an ErrPrecondition.
func orUnmet(err error, format string, args ...any) error {
	if err != nil {
		return err
	}
	return unmet(format, args...)
}
