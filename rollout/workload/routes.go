package workload

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
)

// CheckExposure is what must be true of the workload and its Services, beside
// ConfirmRaise, before a provider raises the canary's weight: no caller beside the
// routes meets the canary; its set has taken part in this term and has enough
// available pods; and each of its Services has ready ones. What stable has
// ready does not count: a version may be released because stable is broken.
func (c *Client) CheckExposure(ctx context.Context, pass Pass, effect decide.Effect) error {
	if err := c.checkPinned(ctx, pass); err != nil {
		return missing(err)
	}
	facts, err := c.Observe(ctx, pass.Rollout, pass.Services, true)
	if err != nil {
		return err
	}
	canary := pass.Rollout.Status.Canary.Revision
	for _, set := range facts.Sets {
		if set.Hash != canary {
			continue
		}
		if set.Stamp < pass.Rollout.Status.Record.TermSeq {
			return unmet("ReplicaSet %q has stamp %d of an earlier term", set.Name, set.Stamp)
		}
		if set.Available < max(effect.Size, 1) {
			return unmet("ReplicaSet %q has %d available pods of %d", set.Name, set.Available, effect.Size)
		}
		return facts.canaryReady(pass.Services)
	}
	return unmet("there is no canary of revision %q", canary)
}

// canaryReady makes sure that the canary's twin of each Service has endpoints.
func (f Facts) canaryReady(services []string) error {
	for _, service := range services {
		name := CanaryServiceName(service)
		ready := slices.ContainsFunc(f.Backends, func(b decide.Backend) bool { return b.Name == name && b.ReadyCanary > 0 })
		if !ready {
			return unmet("Service %q has no ready endpoint", name)
		}
	}
	return nil
}

// checkNoWeight makes sure that the routes send nothing to the canary.
func (c *Client) checkNoWeight(ctx context.Context, pass Pass) error {
	if pass.Routes == nil {
		return nil
	}
	routes, err := pass.Routes(ctx)
	if err != nil {
		return err
	}
	if routes.Exposes() || !routes.Processed {
		return unmet("the routes send %s to the canary, beside the weight %t, processed %t",
			v1alpha1.FormatWeight(routes.Weight), routes.Extras || routes.Stray, routes.Processed)
	}
	return nil
}

// checkNoTraffic makes sure that the routes send nothing to the pods of a hash.
// What they send to the canary's Services is of no concern to a set of another
// release, which a process that was stopped has made too late.
func (c *Client) checkNoTraffic(ctx context.Context, pass Pass, hash string) error {
	serves := c.checkNoWeight(ctx, pass)
	if serves == nil || !errors.Is(serves, ErrPrecondition) || hash == pass.Rollout.Status.Canary.Revision {
		return serves
	}
	for _, name := range pass.Services {
		service := &corev1.Service{}
		err := c.live.Get(ctx, key(pass.Rollout, CanaryServiceName(name)), service)
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return fmt.Errorf("cannot read Service %q: %w", CanaryServiceName(name), err)
		case service.Spec.Selector[HashLabel] == hash:
			return serves
		}
	}
	return nil
}

// checkUsersOwn makes sure that every route is as its user wrote it, and that
// the data plane has taken note of that: no backend of Weir's is referred to.
func (c *Client) checkUsersOwn(ctx context.Context, pass Pass) error {
	if pass.Routes == nil {
		return nil
	}
	routes, err := pass.Routes(ctx)
	if err != nil {
		return err
	}
	if routes.Split || !routes.Processed {
		return unmet("the routes are not as their users wrote them: split %t, processed %t", routes.Split, routes.Processed)
	}
	return nil
}
