package rollout

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics"
	"github.com/weir-dev/weir/rollout/pods"
)

// follow begins or ends what runs beside the passes, as the release stands now.
func (r *Reconciler) follow(o *observation) {
	rollout, name := o.rollout, key(o.rollout)
	status := &rollout.Status
	if !status.Release.Stage.UnderWay() || status.Canary.Revision == "" {
		r.Pods.Forget(name)
		r.Analyses.Forget(name)
		return
	}
	release := pods.Release{Number: status.Release.Number, Canary: status.Canary.Revision}
	if len(o.templates) > 0 {
		release.Stable = status.Stable.Revision // Only metrics need to know its pods.
	}
	r.Pods.Follow(name, release)
	subject := o.subject()
	if !measured(rollout) || len(subject.Templates)+len(subject.CanaryServices) == 0 {
		r.Analyses.Forget(name)
		return
	}
	r.Analyses.Follow(name, subject)
}

// subject is what the metrics are asked about the release as it stands.
func (o *observation) subject() metrics.Request {
	rollout, status := o.rollout, &o.rollout.Status
	subject := metrics.Request{
		Namespace: rollout.Namespace, Workload: rollout.Spec.WorkloadRef.Name, Release: status.Release.Number,
		StableRevision: status.Stable.Revision, CanaryRevision: status.Canary.Revision,
		Templates: o.templates, Requests: o.requests,
	}
	if t := status.Release.StartTime; t != nil {
		subject.Start = t.Time
	}
	if t := status.Release.VerifiedAt; t != nil {
		subject.StepStart = t.Time
	}
	if o.provider != nil {
		for _, pair := range o.target.Pairs {
			subject.StableServices = append(subject.StableServices, pair.Stable)
			subject.CanaryServices = append(subject.CanaryServices, pair.Canary)
		}
	}
	return subject
}

// measured tells whether the metrics of a release count at its stage: from its
// first exposure to its promotion.
func measured(rollout *v1alpha1.Rollout) bool {
	stage := rollout.Status.Release.Stage
	return stage == v1alpha1.StageProgressing || stage == v1alpha1.StagePromoting
}

// goneInterval is how often it is looked whether what is left of a Rollout that is
// gone has gone, too.
const goneInterval = 2 * time.Second

// forget a Rollout that is gone. One that was deleted at rest had no finalizer,
// so its label may still be on a workload, and the hold policy would hold that
// workload for ever. Of one that was deleted by force more is left: see clean.
func (r *Reconciler) forget(ctx context.Context, name types.NamespacedName) (reconcile.Result, error) {
	r.Pods.Forget(name)
	r.Analyses.Forget(name)
	r.Telemetry.Forget(name)
	r.written.forget(name)
	if name.Name == v1alpha1.RolloutOff {
		return reconcile.Result{}, nil // No Rollout has that name: it says that a workload is not in Weir's hands.
	}

	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"})
	err := r.Cached.List(ctx, list, client.InNamespace(name.Namespace), client.MatchingLabels{v1alpha1.RolloutLabel: name.Name})
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("cannot list the Deployments with the label of the Rollout: %w", err)
	}
	for i := range list.Items {
		if err := r.letGo(ctx, &list.Items[i]); err != nil {
			return reconcile.Result{}, err
		}
	}
	return r.clean(ctx, name)
}

// letGo takes a workload out of the hold policy's hands, with what the policy has
// written on it. Nothing is unpaused: what a workload was paused for is not known
// any more. A workload in the middle of a handover is paused rather than left to a
// veto that nobody would take away, or to a template that only the veto held.
func (r *Reconciler) letGo(ctx context.Context, labelled *unstructured.Unstructured) error {
	labelled = labelled.DeepCopy()
	annotations := labelled.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	// The cache does not have this one. A patch that takes it off is right whether
	// it is there or not.
	annotations[v1alpha1.ResumeRefusedAnnotation] = ""
	labelled.SetAnnotations(annotations)

	free := labelled.DeepCopy()
	labels := free.GetLabels()
	delete(labels, v1alpha1.RolloutLabel)
	free.SetLabels(labels)
	vetoed := annotations[v1alpha1.HandoverAnnotation] != ""
	for _, of := range []string{v1alpha1.ChangedByAnnotation, v1alpha1.ResumeRefusedAnnotation, v1alpha1.HandoverAnnotation} {
		delete(annotations, of)
	}
	free.SetAnnotations(annotations)
	if vetoed {
		if err := unstructured.SetNestedField(free.Object, true, "spec", "paused"); err != nil {
			return fmt.Errorf("cannot pause Deployment %q: %w", labelled.GetName(), err)
		}
	}
	err := r.Writer.Patch(ctx, free, client.MergeFromWithOptions(labelled, client.MergeFromWithOptimisticLock{}))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("cannot take the label off Deployment %q: %w", labelled.GetName(), err)
	}
	return nil
}

// clean removes what is left of a Rollout that is gone. As long as a route is
// split for it, all stays as it is: without a record nothing can be taken away in
// order, and the canary may have passed half of its steps. A Rollout of the same
// name takes it over, and gives it back when it is deleted in its turn.
func (r *Reconciler) clean(ctx context.Context, name types.NamespacedName) (reconcile.Result, error) {
	split, err := r.Splits.Splits(ctx, name.Namespace, name.Name)
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("cannot find what is left of the Rollout: %w", err)
	}
	if split {
		log.FromContext(ctx).Info("The Rollout is gone, and a route is still split for it: create it again to have that ended")
		return reconcile.Result{}, nil
	}
	switch done, err := r.Cleaner.Forget(ctx, name.Namespace, name.Name); {
	case err != nil:
		return reconcile.Result{}, fmt.Errorf("cannot remove what is left of the Rollout: %w", err)
	case !done:
		return reconcile.Result{RequeueAfter: goneInterval}, nil
	default:
		return reconcile.Result{}, nil
	}
}
