package sim

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// crashWorld is one release in calm weather, from a new template to its end.
func crashWorld(routes int, hold v1alpha1.HoldMode, q quality) *World {
	cfg := Config{Replicas: 3, Surge: 1, HistoryLimit: 10, Labelled: true, Hold: hold, PinPolicy: true, SplitPolicy: true,
		ExemptRevert: true, Deadline: "10m", Drain: "30s", Routes: routes,
		Steps: parseSteps("34:hold=1m,100"), Analysis: &v1alpha1.Analysis{TemplateRefs: []v1alpha1.TemplateReference{{Name: "golden"}}}}
	w := newWorld(1, cfg)
	w.calm = true
	w.quality[2] = q
	for w.breathe() {
	}
	w.deploy(2, "alice")
	return w
}

// settleWithCrashes brings a world to rest. The leader dies after its steps
// first and second, which count its micro-steps: a read, a record, a check, a
// write. It gives their number.
func settleWithCrashes(w *World, first, second int) int {
	steps := 0
	for range maxRounds {
		if w.leader.due() {
			w.leader.step()
			if steps++; steps == first || steps == second {
				w.newLeader()
			}
			w.checkState()
			continue
		}
		if w.breathe() {
			w.checkState()
			continue
		}
		at := w.nextTime()
		if at.IsZero() {
			w.checkRest()
			return steps
		}
		w.now, w.leader.dirty = at, true
	}
	w.violate("L1", "no rest")
	return steps
}

// end is what must be the same however the leader died.
func (w *World) end() string {
	st := w.status()
	return fmt.Sprintf("%s %s stable %s canary %s failed %s\n%s", stageOf(st), st.Release.Cause, st.Stable.Revision, st.Canary.Revision,
		st.Release.FailedRevision, strings.ReplaceAll(w.objects(), "; ", "\n"))
}

// TestCrashes lets the leader die at every pair of micro-steps of a release: H6.
func TestCrashes(t *testing.T) {
	runs, most := 0, 0
	for _, c := range []struct {
		name   string
		routes int
		hold   v1alpha1.HoldMode
	}{
		{"Native", 0, v1alpha1.HoldAdmissionPolicy},
		{"Route", 1, v1alpha1.HoldAdmissionPolicy},
		{"HoldPaused", 1, v1alpha1.HoldPaused},
	} {
		for q := good; q < qualities; q++ {
			plain := crashWorld(c.routes, c.hold, q)
			n := settleWithCrashes(plain, 0, 0)
			want, writes := plain.end(), plain.ledger.writes
			for first := 1; first <= n; first++ {
				for second := first; second <= n+8; second++ {
					w := crashWorld(c.routes, c.hold, q)
					settleWithCrashes(w, first, second)
					if len(w.ledger.violations) > 0 {
						t.Fatalf("%s, pods %d, crashes after %d and %d: %v", c.name, q, first, second, w.ledger.violations)
					}
					if diff := cmp.Diff(want, w.end()); diff != "" {
						t.Fatalf("%s, pods %d, crashes after %d and %d end otherwise:\n%s", c.name, q, first, second, diff)
					}
					most = max(most, w.ledger.writes-writes)
					runs++
				}
			}
		}
	}
	t.Logf("%d runs, at most %d more writes", runs, most)
	if most > 12 {
		t.Errorf("two crashes cost %d writes", most)
	}
}
