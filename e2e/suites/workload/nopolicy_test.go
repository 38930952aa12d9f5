package workload

import (
	"context"
	"fmt"
	"testing"

	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/rollout/decide"
)

// TestWithoutMutatingPolicies: on a cluster without MutatingAdmissionPolicy the
// Deployment stays paused between releases, so that a new template is held all
// the same; and a pin that a robot takes away is put back.
func TestWithoutMutatingPolicies(t *testing.T) {
	t.Parallel()
	s, err := harness.Up(t.Context(), "workload-nopolicy", append(bulk, "--disable-mutating-policies")...)
	must(t, err)
	t.Cleanup(func() {
		if err := s.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	must(t, install(t.Context(), s, map[string]any{"mutatingAdmissionPolicy": map[string]any{"enabled": false}}))
	w := newWorld(t, s, 3)
	for _, version := range []string{"v2", "v3"} {
		stable := w.rollout.Status.Stable.Revision
		w.apply(t, decide.Effect{Kind: decide.EffectPause, Revision: stable})
		w.push(t, version)
		w.refused(t, decide.Effect{Kind: decide.EffectUnpause, Revision: stable, Size: -1}, "the template is a new one")
		revision := w.startRelease(t, 2)
		verified := w.grow(t, revision, 3)

		w.resync(t)
		harness.Eventually(t, patience, "the robot's Service to be wide", func(context.Context) error {
			if b := w.observe(t).Backends[0]; b.Revision != "" || b.ReadyCanary != 3 {
				return fmt.Errorf("backend %+v", b)
			}
			return nil
		})
		w.apply(t, decide.Effect{Kind: decide.EffectPin, Name: "web", Revision: stable})
		harness.Eventually(t, patience, "the pin to be back", func(context.Context) error {
			if b := w.observe(t).Backends[0]; b.Revision != stable || b.Seen != stable || w.ready(t, b.Name) != 3 || b.ReadyCanary != 0 {
				return fmt.Errorf("backend %+v", b)
			}
			return nil
		})

		w.startAdopting(t)
		w.handOver(t, revision, nil)
		w.finish(t, revision, 3)
		if kept := w.pods.survivors(verified); len(kept) != 3 {
			t.Errorf("of the verified pods %v only %v are left", verified, kept)
		}
	}
	if versions := w.pods.revisions(); len(versions) != 3 {
		t.Errorf("pods of versions %v", versions)
	}
}
