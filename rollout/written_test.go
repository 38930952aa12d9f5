package rollout

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
	"github.com/weir-dev/weir/rollout/workload"
)

func TestWritten(t *testing.T) {
	version := func(uid, version string) *v1alpha1.Rollout {
		r := newRollout()
		r.UID, r.ResourceVersion = types.UID(uid), version
		return r
	}
	cases := map[string]struct {
		reason         string
		kept, cached   *v1alpha1.Rollout
		want           string
		remembersAfter bool
	}{
		"Nothing":  {"what was not written is what the cache has", nil, version("a", "7"), "7", false},
		"Behind":   {"until the echo of a write arrives, it is what was written", version("a", "10"), version("a", "9"), "10", true},
		"Echo":     {"after that, it is what the cache has", version("a", "10"), version("a", "10"), "10", false},
		"Ahead":    {"others write too", version("a", "10"), version("a", "11"), "11", false},
		"Other":    {"a Rollout of the same name is another one", version("a", "10"), version("b", "9"), "9", false},
		"NoNumber": {"versions that cannot be compared tell nothing", version("a", "10"), version("a", "x"), "x", false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var w written
			if tc.kept != nil {
				w.keep(tc.kept)
			}
			if got := w.newest(tc.cached).ResourceVersion; got != tc.want {
				t.Errorf("%s: got version %s, want %s", tc.reason, got, tc.want)
			}
			if got := len(w.rollouts) > 0; got != tc.remembersAfter {
				t.Errorf("%s: it is remembered: %t, want %t", tc.reason, got, tc.remembersAfter)
			}
		})
	}
}

// TestPassAfterRecord: a pass that begins before the echo of a record has arrived
// rests on the record.
func TestPassAfterRecord(t *testing.T) {
	s := newShell(t, newRollout(progressing))
	s.decisions = []decide.Decision{{Status: recorded(41)}, {}}
	before := s.rollout()
	for range 2 {
		if _, err := s.reconcile(); err != nil {
			t.Fatal(err)
		}
		s.outdated = before
	}
	if got := s.inputs[1].Rollout.Status.Record.Seq; got != 41 {
		t.Errorf("the second pass rests on record %d, want 41", got)
	}
}

// TestOutdatedRollout: what others wrote may not be in the cache yet. A record
// fails then, and the next attempt reads the Rollout live.
func TestOutdatedRollout(t *testing.T) {
	s := newShell(t, newRollout(progressing))
	s.outdated = s.rollout()
	edited := s.rollout()
	edited.Spec.Paused = true
	if err := s.Writer.Update(t.Context(), edited); err != nil {
		t.Fatal(err)
	}
	s.decisions = []decide.Decision{{ReadLive: true}, {Status: recorded(41)}, {}}
	if _, err := s.reconcile(); err != nil {
		t.Fatal(err)
	}
	var paused []bool
	for _, in := range s.inputs {
		paused = append(paused, in.Rollout.Spec.Paused)
	}
	if diff := cmp.Diff([]bool{false, false, true}, paused); diff != "" {
		t.Errorf("the third decision knows that the Rollout is paused: -want, +got:\n%s", diff)
	}
	if got := s.rollout().Status.Record.Seq; got != 40 {
		t.Errorf("what was decided on the outdated Rollout is recorded: seq %d", got)
	}
}

// TestOutdatedAnswer: an Approval is answered once, so not by an outdated Rollout.
func TestOutdatedAnswer(t *testing.T) {
	approval := &v1alpha1.Approval{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "yes", UID: "yes-uid"},
		Spec:       v1alpha1.ApprovalSpec{TargetRef: v1alpha1.ApprovalTarget{Kind: "Rollout", Name: "web", UID: "web-uid"}},
	}
	s := newShell(t, newRollout(progressing), approval)
	s.decisions = []decide.Decision{{Answers: []decide.Answer{{Name: "yes", UID: "yes-uid", Reason: v1alpha1.ReasonWrongRelease}}}}
	s.fail["check"] = workload.ErrPrecondition
	for want := range 2 {
		if _, err := s.reconcile(); err != nil {
			t.Fatal(err)
		}
		if err := s.Live.Get(t.Context(), client.ObjectKeyFromObject(approval), approval); err != nil {
			t.Fatal(err)
		}
		if got := len(approval.Status.Conditions); got != want {
			t.Errorf("pass %d: the Approval has %d answers, want %d", want+1, got, want)
		}
	}
}

// TestApprovalsRead: they are read live while one can end the release or hold it
// back.
func TestApprovalsRead(t *testing.T) {
	want := map[v1alpha1.Stage]bool{
		v1alpha1.StageIdle: false, v1alpha1.StageProgressing: true, v1alpha1.StagePromoting: true,
		v1alpha1.StageAdopting: false, v1alpha1.StageRollingBack: false, v1alpha1.StageAborted: false,
	}
	got := map[v1alpha1.Stage]bool{}
	for stage := range want {
		s := newShell(t, newRollout(progressing, func(r *v1alpha1.Rollout) { r.Status.Release.Stage = stage }))
		s.Live = toldLists{s.Live, func() { got[stage] = true }}
		got[stage] = false
		if _, err := s.observe(t.Context(), s.rollout(), true); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stages at which Approvals are read live: -want, +got:\n%s", diff)
	}
}

// toldLists tells of lists.
type toldLists struct {
	client.Reader
	told func()
}

func (n toldLists) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	n.told()
	return n.Reader.List(ctx, list, opts...)
}
