package decide

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// TestMissingData: what ends a release is that data have been missing for as long
// as the timeout, and neither a restart nor one look that failed.
func TestMissingData(t *testing.T) {
	verified := metav1.NewMicroTime(now.Add(-time.Hour))
	verdict := func(step v1alpha1.VerdictValue, since time.Time) *Verdict {
		return &Verdict{Release: 3, Revision: "wc", StepStart: verified.Time, Value: step, Step: step, MissingSince: since}
	}
	cases := map[string]struct {
		reason  string
		verdict *Verdict
		policy  v1alpha1.HoldAction
		waits   WaitReason
		wake    time.Time
		stage   v1alpha1.Stage
	}{
		"Restarted":  {reason: "a process that has begun just now has not looked yet", policy: v1alpha1.HoldActionRollback, waits: WaitAnalysis},
		"OneLook":    {reason: "one look failed", verdict: verdict(v1alpha1.VerdictNoData, now.Add(-time.Minute)), policy: v1alpha1.HoldActionRollback, waits: WaitMissingData, wake: now.Add(29 * time.Minute)},
		"LongEnough": {reason: "data have been missing for half an hour", verdict: verdict(v1alpha1.VerdictNoData, now.Add(-30*time.Minute)), policy: v1alpha1.HoldActionRollback, stage: v1alpha1.StageRollingBack},
		"Hold":       {reason: "the release holds for however long", verdict: verdict(v1alpha1.VerdictNoData, now.Add(-50*time.Minute)), waits: WaitMissingData},
		"TooFew":     {reason: "too few data are not missing data", verdict: verdict(v1alpha1.VerdictInconclusive, time.Time{}), policy: v1alpha1.HoldActionRollback, waits: WaitTimedOut},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			d := Decide(release(func(in *Input) {
				in.Rollout.Spec.Steps[0].Gates = nil
				in.Rollout.Spec.Analysis = &v1alpha1.Analysis{OnMissingData: tc.policy}
				in.Rollout.Status.Release.VerifiedAt = &verified
				in.Verdict = tc.verdict
			}))
			stage := v1alpha1.StageProgressing
			if d.Status != nil {
				stage = d.Status.Release.Stage
			}
			switch {
			case tc.stage != "" && stage != tc.stage:
				t.Errorf("%s: the stage is %s, want %s", tc.reason, stage, tc.stage)
			case tc.stage == "" && (stage != v1alpha1.StageProgressing || d.Waiting.Reason != tc.waits):
				t.Errorf("%s: the stage is %s, waiting for %s, want %s", tc.reason, stage, d.Waiting.Reason, tc.waits)
			case !tc.wake.IsZero() && !d.WakeAt.Equal(tc.wake):
				t.Errorf("%s: the next pass is at %s, want %s", tc.reason, d.WakeAt, tc.wake)
			}
		})
	}
}

// TestShareIsLookedAtAgain: nobody calls when only the measured share changes.
func TestShareIsLookedAtAgain(t *testing.T) {
	verified := now.Add(-time.Minute)
	d := Decide(release(func(in *Input) {
		in.Rollout.Spec.Steps[0].Gates = nil
		in.Rollout.Spec.Analysis = &v1alpha1.Analysis{}
		in.Verdict = &Verdict{Release: 3, Revision: "wc", StepStart: verified, Value: v1alpha1.VerdictPass, Step: v1alpha1.VerdictPass}
		in.Measured = &Measured{Canary: 10, Total: 1000, Start: verified, End: now}
	}))
	if d.Waiting.Reason != WaitShare || !d.WakeAt.Equal(now.Add(shareInterval)) {
		t.Errorf("waits for %s until %s, want %s until %s", d.Waiting.Reason, d.WakeAt, WaitShare, now.Add(shareInterval))
	}
}

// TestSessionsAreNoShare: with sessions the weight is the share of the users. What
// was measured of their requests keeps no step from ending.
func TestSessionsAreNoShare(t *testing.T) {
	verified := now.Add(-time.Minute)
	d := Decide(release(func(in *Input) {
		in.Rollout.Spec.Traffic = &v1alpha1.Traffic{SessionAffinity: &v1alpha1.SessionAffinity{}}
		in.Rollout.Spec.Steps[0].Gates = nil
		in.Rollout.Spec.Analysis = &v1alpha1.Analysis{}
		in.Verdict = &Verdict{Release: 3, Revision: "wc", StepStart: verified, Value: v1alpha1.VerdictPass, Step: v1alpha1.VerdictPass}
		in.Measured = &Measured{Canary: 10, Total: 1000, Start: verified, End: now}
	}))
	if d.Waiting.Reason == WaitShare || d.Status == nil || d.Status.Release.StepIndex != 1 {
		t.Errorf("waits for %s, status %+v: want the next step", d.Waiting.Reason, d.Status)
	}
}

// TestLooseSessions: rules that lack something of the sessions are put right by a
// raise to the weight that they have, and by no lowering; the clock of the step runs
// on, and its gates are looked at afterwards.
func TestLooseSessions(t *testing.T) {
	verified := metav1.NewMicroTime(now.Add(-time.Hour))
	d := Decide(release(func(in *Input) {
		in.Route.Loose = true
		in.Rollout.Status.Release.VerifiedAt = &verified
	}))
	if len(d.Effects) != 1 || d.Effects[0].Kind != EffectSetWeight || !d.Effects[0].Raise || d.Effects[0].Weight != release(func(*Input) {}).Rollout.Status.Record.DesiredWeight {
		t.Errorf("effects are %+v, want a raise to the same weight", d.Effects)
	}
	if st := d.Status; st != nil && (st.Release.Stage != v1alpha1.StageProgressing || st.Record.Lowerings != 0 || !st.Release.VerifiedAt.Equal(&verified) || st.Release.StepIndex != 0) {
		t.Errorf("the release is at %s after %d rewrites, step %d since %s", st.Release.Stage, st.Record.Lowerings, st.Release.StepIndex, st.Release.VerifiedAt)
	}
	before := Decide(release(func(in *Input) { in.Route.Loose, in.Rollout.Status.Release.VerifiedAt = true, nil }))
	if st := before.Status; st != nil && st.Release.VerifiedAt != nil {
		t.Error("the clock of the step has started without the sessions")
	}
}

// TestWeightBefore: at which weight users were drawn before.
func TestWeightBefore(t *testing.T) {
	at := func(weights ...int) *v1alpha1.RolloutSpec {
		spec := &v1alpha1.RolloutSpec{}
		for _, w := range weights {
			v := intstr.FromInt32(int32(w))
			spec.Steps = append(spec.Steps, v1alpha1.Step{Weight: &v})
		}
		return spec
	}
	for name, tc := range map[string]struct {
		spec         *v1alpha1.RolloutSpec
		weight, want int32
	}{
		"First":     {at(0, 5, 25), 500, 0},
		"Next":      {at(0, 5, 25), 2500, 500},
		"Same":      {at(5, 25, 25, 50), 2500, 500},
		"Promoted":  {at(5, 25), 10000, 2500},
		"NoSteps":   {at(), 2500, 500},
		"EditedOut": {at(5, 50), 2500, 500},
	} {
		if got := WeightBefore(tc.spec, tc.weight); got != tc.want {
			t.Errorf("%s: got %d, want %d", name, got, tc.want)
		}
	}
}

// TestUnmet: an analysis that waits for requests says when none of them meet the canary.
func TestUnmet(t *testing.T) {
	const unmet = "no request meets the canary"
	verified := now.Add(-time.Minute)
	for name, tc := range map[string]struct {
		reason string
		canary int64
		value  v1alpha1.VerdictValue
		want   bool
	}{
		"None":   {"callers without the mesh's proxy are one reason", 0, v1alpha1.VerdictInconclusive, true},
		"Some":   {"they are on their way", 400, v1alpha1.VerdictInconclusive, false},
		"Passed": {"that it is none of the allowed share is said in other words", 0, v1alpha1.VerdictPass, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := Decide(release(func(in *Input) {
				in.Rollout.Spec.Steps[0].Gates = nil
				in.Rollout.Spec.Analysis = &v1alpha1.Analysis{}
				in.Verdict = &Verdict{Release: 3, Revision: "wc", StepStart: verified, Value: tc.value, Step: tc.value}
				in.Measured = &Measured{Canary: tc.canary, Total: 1000, Start: verified, End: now}
			}))
			got := ""
			for _, g := range d.Status.Release.Gates {
				got += g.Message
			}
			if strings.Contains(got, unmet) != tc.want {
				t.Errorf("%s: gates say %q", tc.reason, got)
			}
		})
	}
}

// TestLeaveTaken: a Rollout that goes leaves a workload alone that is not in its
// hands: its template, its pause, and where another Rollout has it, its traffic.
func TestLeaveTaken(t *testing.T) {
	for label, want := range map[string][]EffectKind{
		v1alpha1.RolloutOff: {EffectSetWeight},
		"other":             {EffectRemoveFinalizer},
	} {
		d := Decide(release(func(in *Input) {
			deleted := metav1.NewTime(now)
			in.Rollout.DeletionTimestamp = &deleted
			in.Rollout.Status.Release.Stage = v1alpha1.StageAborted
			in.Rollout.Status.Release.FailedRevision = "wc"
			in.Target.Label = label
			in.Sets = in.Sets[:1]
		}))
		var got []EffectKind
		for _, e := range d.Effects {
			got = append(got, e.Kind)
		}
		if len(got) != len(want) || got[0] != want[0] {
			t.Errorf("label %s: effects %v, want %v", label, got, want)
		}
	}
}
