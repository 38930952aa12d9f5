package decide

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

var now = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// release is an input in the middle of a release behind a route: step 1 of 2 at
// 20 percent, verified a minute ago, waiting for its hold.
func release(change func(*Input)) Input {
	verified, start := metav1.NewMicroTime(now.Add(-time.Minute)), metav1.NewTime(now.Add(-2*time.Minute))
	in := Input{
		Now: now, Term: "t1", Fresh: true, Provider: v1alpha1.ProviderGatewayAPI,
		Rollout: &v1alpha1.Rollout{
			ObjectMeta: metav1.ObjectMeta{Name: "web", UID: "u1", Generation: 1, Finalizers: []string{v1alpha1.Finalizer}},
			Spec: v1alpha1.RolloutSpec{
				Steps: []v1alpha1.Step{
					{Weight: percent(20), Gates: &v1alpha1.Gates{Hold: "10m"}},
					{Weight: percent(100), Gates: &v1alpha1.Gates{Hold: "1m", Approvals: []v1alpha1.ApprovalGate{{Name: "sre", MinApprovals: 2}}}},
				},
			},
			Status: v1alpha1.RolloutStatus{
				ObservedGeneration: 1,
				WaitingFor:         "hold until 2026-01-01T12:09:00Z",
				Workload:           v1alpha1.WorkloadStatus{UID: "t1", ObservedGeneration: 5},
				Stable:             v1alpha1.RevisionStatus{Revision: "s1"},
				Canary:             v1alpha1.RevisionStatus{Revision: "wc"},
				Traffic:            v1alpha1.TrafficStatus{Provider: v1alpha1.ProviderGatewayAPI},
				Release: v1alpha1.ReleaseStatus{Number: 3, Stage: v1alpha1.StageProgressing, StartTime: &start, VerifiedAt: &verified,
					ChangeAuthor: "dora"},
				Record: v1alpha1.Record{Seq: 9, ExposureSeq: 7, ReleaseSeq: 7, TermSeq: 7, Term: "t1", DesiredWeight: 2000, StepsGeneration: 1},
			},
		},
		Target: Target{UID: "t1", Generation: 5, ObservedGeneration: 5, Revision: "wc", Replicas: 10, Paused: true, ActsPaused: true,
			Label: "web", Hold: v1alpha1.HoldAdmissionPolicy},
		Sets: []Set{
			{Name: "web-s1", Revision: "s1", Hash: "s1", Owner: OwnerTarget, Size: 10, Pods: 10, Available: 10, Labelled: true, Created: now.Add(-time.Hour)},
			{Name: "web-wc", Revision: "wc", Hash: "wc", Owner: OwnerWeir, Size: 2, Pods: 2, Available: 2, Stamp: 8, Created: now.Add(-time.Minute)},
		},
		Route: &Route{Split: true, Weight: 2000, LowestWeight: 2000, Accepted: true, Stamp: 8, HighestStamp: 8},
		Backends: []Backend{
			{Name: "web", Exists: true, Revision: "s1", Seen: "s1"},
			{Name: "web-canary", Canary: true, Exists: true, Revision: "wc", Seen: "wc", ReadyCanary: 2, Stamp: 8},
		},
	}
	in.Rollout.Status.Conditions = settled(in).Conditions
	if change != nil {
		change(&in)
	}
	return in
}

// settled is the status that the input would have once its display is recorded.
func settled(in Input) *v1alpha1.RolloutStatus {
	if d := Decide(in); d.Status != nil {
		return d.Status
	}
	return &in.Rollout.Status
}

func percent(n int32) *intstr.IntOrString { v := intstr.FromInt32(n); return &v }

// summary is what the table below compares.
type summary struct {
	ReadLive bool
	Stage    v1alpha1.Stage
	Cause    v1alpha1.Cause
	Effects  []EffectKind
	Waits    WaitReason
	Ready    string
}

func summarise(d Decision) summary {
	s := summary{ReadLive: d.ReadLive, Waits: d.Waiting.Reason}
	if d.Status != nil {
		s.Stage, s.Cause = d.Status.Release.Stage, d.Status.Release.Cause
		s.Ready = d.Status.Conditions[0].Reason
	}
	for _, e := range d.Effects {
		s.Effects = append(s.Effects, e.Kind)
	}
	return s
}

// rollingBack is a release that was rolled back some time ago. Its traffic was
// taken away, and the data plane has not reported on that.
func rollingBack(age time.Duration, change func(*Input)) func(*Input) {
	return func(in *Input) {
		r := &in.Rollout.Status.Release
		r.Stage, r.Cause, r.FailedRevision, r.VerifiedAt = v1alpha1.StageRollingBack, v1alpha1.CauseFailed, "wc", nil
		r.Deadline = micro(now.Add(defaultProgressDeadline - age))
		in.Rollout.Status.Record.DesiredWeight = 0
		in.Rollout.Status.WaitingFor = "the data plane to take the canary's traffic away"
		in.Route.Weight, in.Route.LowestWeight, in.Route.Accepted = 0, 0, false
		change(in)
	}
}

func TestDecide(t *testing.T) {
	failed := &Verdict{Release: 3, Revision: "wc", Value: v1alpha1.VerdictFail, Message: "8 of 100 requests failed"}
	cases := map[string]struct {
		reason string
		change func(*Input)
		want   summary
	}{
		"Rest": {
			reason: "A hold that is not over is no reason to write anything.",
			want:   summary{Waits: WaitHold},
		},
		"RestOnCaches": {
			reason: "Nor is it a reason to read live.",
			change: func(in *Input) { in.Fresh = false },
			want:   summary{Waits: WaitHold},
		},
		"HoldIsOverOnCaches": {
			reason: "What raises is decided again on live reads.",
			change: func(in *Input) { in.Fresh, in.Now = false, now.Add(10*time.Minute) },
			want:   summary{ReadLive: true, Waits: WaitLiveRead},
		},
		"HoldIsOver": {
			reason: "The next step begins with pods, before any weight.",
			change: func(in *Input) { in.Now = now.Add(10 * time.Minute) },
			want: summary{Stage: v1alpha1.StageProgressing, Effects: []EffectKind{EffectScaleCanary}, Waits: WaitPods,
				Ready: v1alpha1.ReasonReleasing},
		},
		"Fail": {
			reason: "A verdict may rest on caches, for it only lowers; the traffic goes in the same pass.",
			change: func(in *Input) { in.Fresh, in.Verdict = false, failed },
			want: summary{Stage: v1alpha1.StageRollingBack, Cause: v1alpha1.CauseFailed,
				Effects: []EffectKind{EffectSetWeight, EffectSealCanary}, Waits: WaitExposure, Ready: v1alpha1.ReasonRollingBack},
		},
		"FailOfAnotherRelease": {
			reason: "A verdict about an earlier attempt of the same revision says nothing.",
			change: func(in *Input) { v := *failed; v.Release = 2; in.Verdict = &v },
			want:   summary{Waits: WaitHold},
		},
		"OldObservation": {
			reason: "A read that is older than what the record rests on is ignored whole.",
			change: func(in *Input) { in.Target.Generation, in.Target.Revision = 4, "s1" },
			want:   summary{Waits: WaitNewerRead},
		},
		"WorkloadGoneOnCaches": {
			reason: "Absence in a cache is no evidence.",
			change: func(in *Input) { in.Fresh, in.Target = false, Target{} },
			want:   summary{ReadLive: true, Waits: WaitLiveRead},
		},
		"WorkloadGone": {
			reason: "Without its workload a release is over.",
			change: func(in *Input) { in.Target = Target{} },
			want: summary{Stage: v1alpha1.StageRollingBack, Cause: v1alpha1.CauseTargetGone,
				Effects: []EffectKind{EffectSetWeight, EffectSealCanary}, Waits: WaitExposure, Ready: v1alpha1.ReasonRollingBack},
		},
		"Problem": {
			reason: "Nothing is raised while something is wrong with the spec; the hold may be over.",
			change: func(in *Input) {
				in.Now = now.Add(10 * time.Minute)
				in.Problems = []Problem{{Reason: v1alpha1.ReasonInvalidSpec, Message: "AnalysisTemplate x does not exist"}}
			},
			want: summary{Stage: v1alpha1.StageProgressing, Waits: WaitProblem, Ready: v1alpha1.ReasonInvalidSpec},
		},
		"ProblemAndFail": {
			reason: "The guard works in spite of problems.",
			change: func(in *Input) {
				in.Verdict = failed
				in.Problems = []Problem{{Reason: v1alpha1.ReasonInvalidSpec, Message: "AnalysisTemplate x does not exist"}}
			},
			want: summary{Stage: v1alpha1.StageRollingBack, Cause: v1alpha1.CauseFailed,
				Effects: []EffectKind{EffectSetWeight, EffectSealCanary}, Waits: WaitExposure, Ready: v1alpha1.ReasonRollingBack},
		},
		"LabelDropped": {
			reason: "The policies know the workload by its label, so it comes back at once.",
			change: func(in *Input) { in.Target.Label = "" },
			want:   summary{Effects: []EffectKind{EffectLabel}, Waits: WaitHold},
		},
		"NewProcessAtRest": {
			reason: "A new process has nothing to write while the release waits.",
			change: func(in *Input) { in.Term = "t2" },
			want:   summary{Waits: WaitHold},
		},
		"NewProcessRaises": {
			reason: "Before it raises, it records its term and stamps the objects of the release.",
			change: func(in *Input) { in.Term, in.Now = "t2", now.Add(10*time.Minute) },
			want: summary{Stage: v1alpha1.StageProgressing, Effects: []EffectKind{EffectSealCanary, EffectSetWeight}, Waits: WaitExposure,
				Ready: v1alpha1.ReasonReleasing},
		},
		"RouteCarriesMore": {
			reason: "More weight than is allowed goes at once, whoever wrote it.",
			change: func(in *Input) { in.Fresh, in.Route.Weight = false, 9000 },
			want:   summary{Effects: []EffectKind{EffectSetWeight}, Waits: WaitExposure},
		},
		"OOM": {
			reason: "A canary that is killed for memory fails at once.",
			change: func(in *Input) { in.Sets[1].Crash = &Crash{Pod: "p", Container: "c", Restarts: 1, Reason: "OOMKilled"} },
			want: summary{Stage: v1alpha1.StageRollingBack, Cause: v1alpha1.CauseFailed,
				Effects: []EffectKind{EffectSetWeight, EffectSealCanary}, Waits: WaitExposure, Ready: v1alpha1.ReasonRollingBack},
		},
		"OneRestart": {
			reason: "One restart is no crash loop.",
			change: func(in *Input) { in.Sets[1].Crash = &Crash{Pod: "p", Container: "c", Restarts: 1, Reason: "Error"} },
			want:   summary{Waits: WaitHold},
		},
		"GatewaySilent": {
			reason: "A data plane that is slow is waited for, on caches.",
			change: rollingBack(10*time.Second, func(in *Input) { in.Fresh = false }),
			want:   summary{Waits: WaitExposure},
		},
		"GatewaySilentForLong": {
			reason: "Whether it is gone only live reads can show.",
			change: rollingBack(time.Minute, func(in *Input) { in.Fresh = false }),
			want:   summary{ReadLive: true, Waits: WaitLiveRead},
		},
		"GatewayGone": {
			reason: "What is gone sends nobody anything: the pods need only drain.",
			change: rollingBack(time.Minute, func(in *Input) { in.Route.Processed = true }),
			want:   summary{Stage: v1alpha1.StageRollingBack, Cause: v1alpha1.CauseFailed, Waits: WaitDrain, Ready: v1alpha1.ReasonRollingBack},
		},
		"AnotherVersionRuns": {
			reason: "Only stable runs beside a canary; the workload's controller has revived a set of its history.",
			change: func(in *Input) {
				in.Sets = append(in.Sets, Set{Name: "web-s0", Revision: "s0", Hash: "s0", Owner: OwnerTarget, Size: 3, Pods: 3, Labelled: true})
			},
			want: summary{Effects: []EffectKind{EffectExpelSet}, Waits: WaitRemoval},
		},
		"ProviderChanged": {
			reason: "A release ends with the provider that it began with.",
			change: func(in *Input) { in.Provider = v1alpha1.ProviderKubernetes },
			want: summary{Stage: v1alpha1.StageRollingBack, Cause: v1alpha1.CauseSuperseded,
				Effects: []EffectKind{EffectSetWeight, EffectSealCanary}, Waits: WaitExposure, Ready: v1alpha1.ReasonRollingBack},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			in := release(c.change)
			before := in.Rollout.DeepCopy()
			first, second := Decide(in), Decide(in)
			if diff := cmp.Diff(first, second); diff != "" {
				t.Errorf("two decisions on one input differ:\n%s", diff)
			}
			if diff := cmp.Diff(before, in.Rollout); diff != "" {
				t.Errorf("the input was changed:\n%s", diff)
			}
			if diff := cmp.Diff(c.want, summarise(first)); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", c.reason, diff)
			}
			if first.Status != nil && first.Status.Record.Seq != before.Status.Record.Seq+1 {
				t.Errorf("record %d follows record %d", first.Status.Record.Seq, before.Status.Record.Seq)
			}
		})
	}
}

// TestSameTextTwice shows that what was recorded is not recorded again.
func TestSameTextTwice(t *testing.T) {
	in := release(func(in *Input) {
		in.Now = now.Add(10 * time.Minute)
		in.Rollout.Spec.Steps[0].Gates.Approvals = []v1alpha1.ApprovalGate{{Name: "qa", MinApprovals: 1}}
	})
	d := Decide(in)
	if d.Status == nil || d.Status.WaitingFor != "approval qa 0/1" {
		t.Fatalf("people are not asked: %+v", d.Waiting)
	}
	in.Rollout.Status = *d.Status
	in.Now = in.Now.Add(time.Hour)
	if d = Decide(in); d.Status != nil || len(d.Effects) > 0 || len(d.Events) > 0 {
		t.Errorf("the same wait is recorded again: %v %v", d.Status, d.Effects)
	}
}

// TestEvidenceIsShown shows that what an analysis says is recorded while a step
// waits for it: when it changes in kind, and not when only its numbers do.
func TestEvidenceIsShown(t *testing.T) {
	says := func(age time.Duration, reason, message string) func(*Input) {
		return func(in *Input) {
			in.Rollout.Spec.Analysis = &v1alpha1.Analysis{}
			in.Rollout.Spec.Steps[0].Gates = &v1alpha1.Gates{Hold: "0s"}
			in.Rollout.Status.Release.VerifiedAt = micro(now.Add(-age))
			in.Rollout.Status.WaitingFor = "analysis Pass"
			in.Verdict = &Verdict{Release: 3, Revision: "wc", StepStart: now.Add(-age), Reason: reason, Message: message,
				Value: v1alpha1.VerdictInconclusive, Step: v1alpha1.VerdictInconclusive}
		}
	}
	shown := settled(release(says(time.Minute, "NoRequests", "requests: no request yet")))
	cases := map[string]struct {
		reason string
		change func(*Input)
		want   string
		wakeAt time.Time
	}{
		"New": {
			reason: "People see why a step does not go on.",
			change: says(time.Minute, "FewRequests", "requests: 0 bad of 3"),
			want:   "needs the verdict Pass, it is Inconclusive: requests: 0 bad of 3",
		},
		"Early": {
			reason: "At the beginning of a step there are never enough data.",
			change: says(10*time.Second, "FewRequests", "requests: 0 bad of 3"),
			wakeAt: now.Add(20 * time.Second),
		},
		"Recorded": {
			reason: "Other numbers of the same kind are no reason to write.",
			change: says(time.Minute, "NoRequests", "requests: still no request"),
			wakeAt: now.Add(29 * time.Minute),
		},
		"OfAnotherStep": {
			reason: "A verdict about the step before says nothing of this one.",
			change: func(in *Input) {
				says(time.Minute, "FewRequests", "requests: 0 bad of 3")(in)
				in.Verdict.StepStart = now.Add(-time.Hour)
			},
			wakeAt: now.Add(29 * time.Minute),
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			in := release(nil)
			c.change(&in)
			at := in.Rollout.Status.Release.VerifiedAt
			in.Rollout.Status = *shown.DeepCopy()
			in.Rollout.Status.Release.VerifiedAt = at
			d, got := Decide(in), ""
			if d.Status != nil {
				got = d.Status.Release.Gates[0].Message
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
			if c.want == "" && !d.WakeAt.Equal(c.wakeAt) {
				t.Errorf("%s\nit looks again at %s, want %s", c.reason, d.WakeAt, c.wakeAt)
			}
		})
	}
}

// TestMeasuredIsOfItsStep shows that the measured share never stands beside a
// weight at which it was not measured.
func TestMeasuredIsOfItsStep(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(*Input)
		want   string
	}{
		"ThisStep": {
			reason: "What was measured since the step began is shown.",
			change: func(in *Input) { in.Measured = &Measured{Canary: 21, Total: 100, Start: now.Add(-time.Minute)} },
			want:   "21%",
		},
		"StepBefore": {
			reason: "What was measured before is not, once the weight is another.",
			change: func(in *Input) {
				in.Rollout.Status.Exposure = v1alpha1.ExposureStatus{Configured: "10%", Measured: "11%", MeasuredRequests: 50}
				in.Measured = &Measured{Canary: 11, Total: 100, Start: now.Add(-time.Hour)}
			},
		},
		"NotYet": {
			reason: "As long as the weight is the same, what was measured last stays.",
			change: func(in *Input) {
				in.Rollout.Status.Exposure = v1alpha1.ExposureStatus{Configured: "20%", Measured: "19%", MeasuredRequests: 50}
			},
			want: "19%",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			in := release(func(in *Input) { in.Now = now.Add(10 * time.Minute) }) // It leaves the step, and writes.
			c.change(&in)
			d := Decide(in)
			if d.Status == nil {
				t.Fatal("nothing is recorded")
			}
			if diff := cmp.Diff(c.want, d.Status.Exposure.Measured); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

// TestHandoverIsOneWait shows that a handover under way is recorded once, however
// long each of its parts takes.
func TestHandoverIsOneWait(t *testing.T) {
	in := release(func(in *Input) {
		in.Rollout.Status.Release.VerifiedAt = nil
		in.Rollout.Status.Release.Stage = v1alpha1.StageAdopting
		in.Rollout.Status.Release.Deadline = micro(now.Add(defaultProgressDeadline))
		in.Rollout.Status.Record.DesiredWeight = v1alpha1.FullWeight
		in.Now = now.Add(time.Minute)
		in.Target.Vetoed, in.Target.Paused = true, false
		in.Sets[1].Size, in.Sets[1].Pods, in.Sets[1].Available = 10, 10, 10
		in.Provider, in.Route, in.Backends = v1alpha1.ProviderKubernetes, nil, nil
		in.Rollout.Status.Traffic.Provider = in.Provider
	})
	first := Decide(in)
	if first.Waiting.Reason != WaitHandOver || first.Status == nil {
		t.Fatalf("a handover of a minute is not shown: %+v", first.Waiting)
	}
	in.Rollout.Status = *first.Status
	in.Target.ActsPaused = false
	second := Decide(in)
	if second.Waiting.Message == first.Waiting.Message {
		t.Fatalf("the handover does not go on: %+v", second.Waiting)
	}
	if second.Status != nil {
		t.Errorf("the next part of the handover is recorded by itself, waiting for %q", second.Status.WaitingFor)
	}
}

// TestImports keeps the core pure: it can reach no clock of its own, no network
// and no log.
func TestImports(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", `{{join .Imports "\n"}}`, ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	golden, err := os.ReadFile("testdata/imports.golden")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.TrimSpace(string(golden)), strings.TrimSpace(string(out))); diff != "" {
		t.Errorf("imports of the core (-allowed +found):\n%s", diff)
	}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name(), "_test.go") || !strings.HasSuffix(f.Name(), ".go") {
			continue
		}
		text, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, banned := range []string{"time.Now(", "time.Since(", "time.Until(", "metav1.Now("} {
			if strings.Contains(string(text), banned) {
				t.Errorf("%s calls %s)", f.Name(), banned)
			}
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	for name, change := range map[string]func(*Input){
		"Rest":    nil,
		"Advance": func(in *Input) { in.Now = now.Add(10 * time.Minute) },
	} {
		b.Run(name, func(b *testing.B) {
			in := release(change)
			b.ReportAllocs()
			for b.Loop() {
				Decide(in)
			}
		})
	}
}
