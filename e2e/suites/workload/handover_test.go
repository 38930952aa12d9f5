package workload

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/rollout/decide"
)

// TestHandOver: the pods that were verified are the Deployment's, none was
// restarted, and its history and undo work as ever.
func TestHandOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox, 4)
	first := w.rollout.Status.Stable.Revision
	revision, verified := w.release(t, "v2", 4)
	if kept := w.pods.survivors(verified); len(kept) != 4 {
		t.Errorf("of the verified pods %v only %v are left", verified, kept)
	}
	if diff := cmp.Diff([]string{first, revision}, w.pods.revisions()); diff != "" {
		t.Errorf("versions of all pods that there ever were (-want +got):\n%s", diff)
	}
	d := w.deployment(t)
	if d.Spec.Paused || d.Annotations["weir.dev/handover"] != "" {
		t.Errorf("the Deployment must be as before: paused %t, annotations %v", d.Spec.Paused, d.Annotations)
	}
	if d.Status.CollisionCount != nil {
		t.Errorf("the Deployment's controller took the canary's name for a collision: %d", *d.Status.CollisionCount)
	}
	if diff := cmp.Diff([]string{"1", "2"}, w.history(t)); diff != "" {
		t.Errorf("revisions in history (-want +got):\n%s", diff)
	}

	stdout, _, err := w.Kubectl(t.Context(), harness.GitOps, "", "--namespace", w.namespace, "rollout", "history", "deployment/web")
	must(t, err)
	if !strings.Contains(stdout, "1 ") || !strings.Contains(stdout, "2 ") {
		t.Errorf("kubectl rollout history prints %q", stdout)
	}
	_, _, err = w.Kubectl(t.Context(), harness.GitOps, "", "--namespace", w.namespace, "rollout", "undo", "deployment/web")
	must(t, err)
	if image := w.deployment(t).Spec.Template.Spec.Containers[0].Image; image != "weir.dev/shop:v1" {
		t.Errorf("after an undo the image is %q", image)
	}
	// The undo is a new template, and was held. Without Weir it rolls natively:
	// a veto that was left somewhere would keep it from that.
	w.apply(t, decide.Effect{Kind: decide.EffectUnlabel})
	_, _, err = w.Kubectl(t.Context(), harness.GitOps, "", "--namespace", w.namespace, "rollout", "resume", "deployment/web")
	must(t, err)
	w.awaitComplete(t, 4)
	w.pods.of(t, first, 4)
}

// TestHandOverUnderAutoscaler: an autoscaler that writes at any moment around
// the handover never costs a verified pod that is still wanted, and never
// brings in a third version.
func TestHandOverUnderAutoscaler(t *testing.T) {
	t.Parallel()
	const trials = 24
	seed := rand.Uint64()
	for i := range trials {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			from, to := int32(6), []int32{4, 9}[i%2]
			w := newWorld(t, sandbox, from)
			w.push(t, "v2")
			revision := w.startRelease(t, 1)
			verified := w.grow(t, revision, from)
			w.startAdopting(t)
			w.pods.reset()

			delay := time.Duration(random.IntN(400)) * time.Millisecond
			scaled := make(chan error, 1)
			time.AfterFunc(delay, func() { scaled <- w.scale(t.Context(), to) })
			w.handOver(t, revision, nil)
			must(t, <-scaled)
			// A canary that was full before the autoscaler wrote is the controller's
			// to scale by now.
			w.awaitComplete(t, to)
			w.pods.of(t, revision, to)
			kept := len(w.pods.survivors(verified))
			if want := int(min(from, to)); kept != want {
				t.Errorf("seed %d, scaled to %d after %s: %d verified pods are left, want %d", seed, to, delay, kept, want)
			}
			if least := w.pods.least(); least < int(min(from, to)) {
				t.Errorf("seed %d, scaled to %d after %s: only %d pods were ready at one time", seed, to, delay, least)
			}
			if versions := w.pods.revisions(); len(versions) != 2 {
				t.Errorf("seed %d: pods of versions %v", seed, versions)
			}
		})
	}
}

// TestHandOverAfterCrash: a controller that dies after any of the writes is
// followed by one that finishes, whatever the autoscaler did in between.
func TestHandOverAfterCrash(t *testing.T) {
	t.Parallel()
	kinds := []decide.EffectKind{decide.EffectBeginHandOver, decide.EffectAdopt, decide.EffectEndHandOver}
	for _, kind := range kinds {
		for _, to := range []int32{4, 3, 6} {
			t.Run(fmt.Sprintf("%s/%d", kind, to), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, sandbox, 4)
				w.push(t, "v2")
				revision := w.startRelease(t, 1)
				verified := w.grow(t, revision, 4)
				w.startAdopting(t)
				w.pods.reset()
				w.handOver(t, revision, func(done decide.EffectKind) bool { return done == kind })
				must(t, w.scale(t.Context(), to))
				w.settle(t)
				w.workload = w.newWorkload()
				w.handOver(t, revision, nil)
				w.awaitComplete(t, to)
				w.pods.of(t, revision, to)
				if kept, want := len(w.pods.survivors(verified)), int(min(4, to)); kept != want {
					t.Errorf("%d verified pods are left, want %d", kept, want)
				}
				if least := w.pods.least(); least < int(min(4, to)) {
					t.Errorf("only %d pods were ready at one time", least)
				}
				if versions := w.pods.revisions(); len(versions) != 2 {
					t.Errorf("pods of versions %v", versions)
				}
			})
		}
	}
}

// settle waits until the Deployment's controller has seen the newest size, and
// all pods that it wants are there. (Its observedGeneration does not tell: while
// it is refused a ReplicaSet, it does not get as far as to write it.)
func (w *world) settle(t *testing.T) {
	t.Helper()
	harness.Eventually(t, patience, "the Deployment's controller to settle", func(context.Context) error {
		facts := w.observe(t)
		total := int32(0)
		for _, set := range facts.Sets {
			if set.Owner == decide.OwnerTarget {
				total += set.Available
			}
			if set.Owner == decide.OwnerNone || set.Available != set.Size {
				return fmt.Errorf("set %+v", set)
			}
		}
		if total < facts.Target.Replicas {
			return fmt.Errorf("%d pods of %d", total, facts.Target.Replicas)
		}
		return nil
	})
}

// TestNewTemplateInHandOver: a template that is pushed between the writes is
// held, and what becomes of the canary follows from whether it was adopted.
func TestNewTemplateInHandOver(t *testing.T) {
	t.Parallel()
	for _, kind := range []decide.EffectKind{decide.EffectBeginHandOver, decide.EffectAdopt} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sandbox, 4)
			stable := w.rollout.Status.Stable.Revision
			old := w.pods.of(t, stable, 4)
			w.push(t, "v2")
			revision := w.startRelease(t, 1)
			verified := w.grow(t, revision, 4)
			w.startAdopting(t)
			w.handOver(t, revision, func(done decide.EffectKind) bool { return done == kind })
			w.push(t, "v3")
			if d := w.deployment(t); !d.Spec.Paused {
				t.Fatal("the new template was not held")
			}
			w.settle(t)
			if kind == decide.EffectBeginHandOver {
				w.refused(t, decide.Effect{Kind: decide.EffectAdopt, Name: w.canary(t, revision).Name, Revision: revision}, "a newer template is there")
				w.apply(t, decide.Effect{Kind: decide.EffectEndHandOver})
				w.settle(t)
				if kept := w.pods.survivors(slices.Concat(old, verified)); len(kept) != 8 {
					t.Errorf("both versions must keep their pods: %v", kept)
				}
				if d := w.deployment(t); !d.Spec.Paused || d.Annotations["weir.dev/handover"] != "" {
					t.Errorf("the Deployment must be held: paused %t, annotations %v", d.Spec.Paused, d.Annotations)
				}
			} else {
				w.handOver(t, revision, nil)
				w.settle(t)
				if canary := w.canary(t, revision); canary.Owner != decide.OwnerTarget || canary.Vetoed {
					t.Errorf("the canary must be the Deployment's: %+v", canary)
				}
			}
			for _, version := range w.pods.revisions() {
				if version != stable && version != revision {
					t.Errorf("a pod of the held template ran: %s", version)
				}
			}
		})
	}
}

// TestRelease after release: each leaves the Deployment as a plain one.
func TestReleaseAfterRelease(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox, 3)
	for i, version := range []string{"v2", "v3", "v2", "v4"} {
		_, verified := w.release(t, version, 3)
		if kept := w.pods.survivors(verified); len(kept) != 3 {
			t.Errorf("release %d: of the verified pods %v only %v are left", i, verified, kept)
		}
	}
	if d := w.deployment(t); d.Status.CollisionCount != nil {
		t.Errorf("collisions: %d", *d.Status.CollisionCount)
	}
}
