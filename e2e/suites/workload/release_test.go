package workload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/rollout/decide"
	"github.com/weir-dev/weir/rollout/workload"
)

// startRelease brings a pushed template to a canary of the given size, with the
// Service narrowed, and gives its revision.
func (w *world) startRelease(t *testing.T, size int32) string {
	t.Helper()
	revision := w.startCanary(t, size)
	w.pods.of(t, revision, size)
	return revision
}

// startCanary is startRelease without the wait for the canary's pods.
func (w *world) startCanary(t *testing.T, size int32) string {
	t.Helper()
	facts := w.observe(t)
	revision := facts.Target.Revision
	w.record(t, func(status *v1alpha1.RolloutStatus) {
		status.Canary.Revision = revision
		status.Release.Number++
		status.Release.Stage = v1alpha1.StageProgressing
		status.Record.ReleaseSeq = status.Record.Seq + 1
		status.Record.ExposureSeq = status.Record.Seq + 1
		status.Workload.UID = facts.Target.UID
	})
	for _, set := range facts.Sets {
		if set.Owner == decide.OwnerTarget && set.Revision == revision && set.Size == 0 {
			w.apply(t, decide.Effect{Kind: decide.EffectDeleteTwin, Name: set.Name})
		}
	}
	w.apply(t, decide.Effect{Kind: decide.EffectEnsureBackend, Name: "web-canary", Revision: revision})
	w.apply(t, decide.Effect{Kind: decide.EffectPin, Name: "web", Revision: w.rollout.Status.Stable.Revision})
	w.apply(t, decide.Effect{Kind: decide.EffectCreateCanary, Revision: revision, Size: size})
	return revision
}

// canary is the set of the revision.
func (w *world) canary(t *testing.T, revision string) decide.Set {
	t.Helper()
	for _, set := range w.observe(t).Sets {
		if set.Hash == revision {
			return set
		}
	}
	t.Fatalf("there is no set of revision %s", revision)
	return decide.Set{}
}

// grow scales the canary up to size and waits for its pods.
func (w *world) grow(t *testing.T, revision string, size int32) []string {
	t.Helper()
	w.apply(t, decide.Effect{Kind: decide.EffectScaleCanary, Name: w.canary(t, revision).Name, Size: size, Raise: true})
	return w.pods.of(t, revision, size)
}

// startAdopting records that the canary has passed, and widens the Service.
func (w *world) startAdopting(t *testing.T) {
	t.Helper()
	w.record(t, func(status *v1alpha1.RolloutStatus) { status.Release.Stage = v1alpha1.StageAdopting })
	w.apply(t, decide.Effect{Kind: decide.EffectWiden, Name: "web"})
}

// nextOfHandOver is the next effect of the handover as it stands: none while it
// waits for the Deployment's controller, and done when nothing is left to do.
func nextOfHandOver(facts workload.Facts, revision string) (effect decide.Effect, wait, done bool) {
	i := slices.IndexFunc(facts.Sets, func(s decide.Set) bool { return s.Hash == revision })
	if i < 0 {
		return effect, true, false
	}
	canary := facts.Sets[i]
	switch {
	case canary.Owner == decide.OwnerNone:
		return effect, true, false
	case canary.Owner == decide.OwnerWeir && canary.Size != facts.Target.Replicas:
		grows := canary.Size < facts.Target.Replicas
		return decide.Effect{Kind: decide.EffectScaleCanary, Name: canary.Name, Size: facts.Target.Replicas, Raise: grows}, false, false
	case canary.Owner == decide.OwnerWeir && (!facts.Target.Vetoed || facts.Target.Paused):
		return decide.Effect{Kind: decide.EffectBeginHandOver, Revision: revision, Raise: true}, false, false
	case canary.Owner == decide.OwnerWeir:
		return decide.Effect{Kind: decide.EffectAdopt, Name: canary.Name, Revision: revision, Raise: true}, false, false
	case facts.Target.Vetoed:
		return decide.Effect{Kind: decide.EffectEndHandOver}, false, false
	}
	for _, set := range facts.Sets {
		if set.Vetoed {
			return decide.Effect{Kind: decide.EffectUnveto, Name: set.Name}, false, false
		}
	}
	return effect, false, true
}

// handOver performs the handover to its end. crash, if not nil, is asked after
// each effect, and ends it there by returning true.
func (w *world) handOver(t *testing.T, revision string, crash func(decide.EffectKind) bool) {
	t.Helper()
	crashed := errors.New("crashed")
	step := func(ctx context.Context) error {
		facts, err := w.workload.Observe(ctx, w.rollout, []string{"web"}, true)
		if err != nil {
			return err
		}
		effect, wait, done := nextOfHandOver(facts, revision)
		switch {
		case done:
			return nil
		case wait:
			return errors.New("waiting for the adoption")
		}
		if err := w.workload.Apply(ctx, w.pass(), effect); err != nil {
			return err
		}
		if crash != nil && crash(effect.Kind) {
			return crashed
		}
		return fmt.Errorf("%s is done", effect.Kind)
	}
	harness.Eventually(t, patience, "handover of "+revision, func(ctx context.Context) error {
		err := step(ctx)
		if errors.Is(err, crashed) {
			return nil
		}
		return err
	})
}

// release brings a version to all pods without a pause between the steps.
func (w *world) release(t *testing.T, version string, size int32) (revision string, verified []string) {
	t.Helper()
	w.push(t, version)
	revision = w.startRelease(t, 1)
	verified = w.grow(t, revision, size)
	w.startAdopting(t)
	w.handOver(t, revision, nil)
	w.finish(t, revision, size)
	return revision, verified
}

// finish waits until the revision is the only one, and records it as stable.
func (w *world) finish(t *testing.T, revision string, size int32) {
	t.Helper()
	w.awaitComplete(t, size)
	w.record(t, func(status *v1alpha1.RolloutStatus) {
		status.Stable.Revision, status.Canary.Revision = revision, ""
		status.Release.Stage = v1alpha1.StageIdle
	})
	w.apply(t, decide.Effect{Kind: decide.EffectDeleteBackend, Name: "web-canary"})
}

// ready counts the ready endpoints of a Service, of all versions.
func (w *world) ready(t *testing.T, service string) int {
	t.Helper()
	list := &discoveryv1.EndpointSliceList{}
	must(t, w.weir.List(t.Context(), list, client.InNamespace(w.namespace), client.MatchingLabels{discoveryv1.LabelServiceName: service}))
	n := 0
	for i := range list.Items {
		for _, e := range list.Items[i].Endpoints {
			if ready := e.Conditions.Ready; ready == nil || *ready {
				n++
			}
		}
	}
	return n
}
