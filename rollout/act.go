package rollout

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/rollout/decide"
	"github.com/weir-dev/weir/rollout/workload"
)

// act performs the effects in order, each on its object as it is now. The first
// that cannot be performed ends the pass: those after it rest on it.
func (r *Reconciler) act(ctx context.Context, o *observation, effects []decide.Effect) error {
	for _, effect := range effects {
		err := r.perform(ctx, o, effect)
		o.done = o.done || workload.Handles(effect.Kind)
		r.Telemetry.Effect(string(effect.Kind), err)
		if err != nil {
			return err
		}
		log.FromContext(ctx).Info("Performed", "effect", effect.Kind, "name", effect.Name, "revision", effect.Revision,
			"size", effect.Size, "weight", effect.Weight, "raise", effect.Raise, "why", effect.Why)
	}
	return nil
}

// perform one effect.
func (r *Reconciler) perform(ctx context.Context, o *observation, effect decide.Effect) error {
	pass := o.workloadPass()
	target := o.target
	target.Extras = o.rollout.Spec.Extras(effect.Extras)
	target.Session = session(o.rollout, effect.Weight)
	var err error
	switch {
	case effect.Kind == decide.EffectSetWeight && effect.Raise:
		err = o.provider.Raise(ctx, target, effect.Weight, seq(o.rollout), r.confirmRaise(pass, effect))
	case effect.Kind == decide.EffectSetWeight:
		err = o.provider.Lower(ctx, target, effect.Weight, seq(o.rollout))
	case effect.Kind == decide.EffectRestoreRoute:
		err = o.provider.Restore(ctx, o.target, seq(o.rollout), func(ctx context.Context) error {
			return r.Workload.Confirm(ctx, pass)
		})
	case effect.Kind == decide.EffectAddFinalizer:
		err = r.setFinalizer(ctx, o, controllerutil.AddFinalizer)
	case effect.Kind == decide.EffectRemoveFinalizer:
		err = r.setFinalizer(ctx, o, controllerutil.RemoveFinalizer)
	default:
		err = r.Workload.Apply(ctx, pass, effect)
	}
	if err != nil {
		return fmt.Errorf("cannot perform %s: %w", strings.TrimSpace(string(effect.Kind)+" "+effect.Name), err)
	}
	return nil
}

// confirmRaise reads everything but the routes again, between the read of a route
// and the write that raises it.
func (r *Reconciler) confirmRaise(pass workload.Pass, effect decide.Effect) providers.Confirm {
	return func(ctx context.Context) error {
		if err := r.Workload.CheckExposure(ctx, pass, effect); err != nil {
			return fmt.Errorf("the canary may not have this weight: %w", err)
		}
		// The record comes last: what was read before it is not younger.
		return r.Workload.ConfirmRaise(ctx, pass)
	}
}

// workloadPass is what effects on the workload rest on.
func (o *observation) workloadPass() workload.Pass {
	pass := workload.Pass{Rollout: o.rollout, Services: o.facts.Services(), Recorded: o.recorded}
	if !o.done {
		pass.Facts = &o.facts
	}
	if o.provider != nil {
		pass.Routes = func(ctx context.Context) (providers.Observation, error) {
			if len(o.target.Routes) == 0 {
				return providers.Observation{Accepted: true, Processed: true}, nil // Routes that are gone carry nothing.
			}
			seen, err := o.provider.Observe(ctx, o.target, true)
			for _, cause := range causes(err) {
				var unsupported *providers.UnsupportedError
				// What is wrong with a route does not hide what it carries.
				if cause != nil && !errors.As(cause, &unsupported) {
					return seen, cause
				}
			}
			return seen, nil
		}
	}
	return pass
}

// setFinalizer changes the finalizers of the Rollout, which then has another
// resourceVersion on which the rest of the pass rests.
func (r *Reconciler) setFinalizer(ctx context.Context, o *observation, set func(client.Object, string) bool) error {
	changed := o.rollout.DeepCopy()
	if !set(changed, v1alpha1.Finalizer) {
		return nil
	}
	patch := client.MergeFromWithOptions(o.rollout, client.MergeFromWithOptimisticLock{})
	began := r.Now()
	if err := r.Writer.Patch(ctx, changed, patch); err != nil {
		return fmt.Errorf("cannot change metadata.finalizers: %w", err)
	}
	o.rollout, o.recorded = changed, began
	r.written.keep(changed)
	return nil
}

// seq is the stamp of a recorded Rollout.
func seq(rollout *v1alpha1.Rollout) int64 { return rollout.Status.Record.Seq }
