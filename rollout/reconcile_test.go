package rollout

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/rollout/decide"
	"github.com/weir-dev/weir/rollout/workload"
)

func notFound(name string) error {
	return apierrors.NewNotFound(schema.GroupResource{Group: "weir.dev", Resource: "rollouts"}, name)
}

func conflict() error {
	return apierrors.NewConflict(schema.GroupResource{Group: "weir.dev", Resource: "rollouts"}, "web", errors.New("changed"))
}

// recorded is a status with a number.
func recorded(seq int64) *v1alpha1.RolloutStatus {
	r := newRollout(progressing)
	r.Status.Record.Seq = seq
	return &r.Status
}

func TestPass(t *testing.T) {
	act := decide.Decision{
		Status:  recorded(41),
		Effects: []decide.Effect{{Kind: decide.EffectSealCanary, Name: "web-w1"}, {Kind: decide.EffectScaleCanary, Name: "web-w1"}},
		Events:  []decide.Event{{Type: decide.EventNormal, Reason: "StepStarted", Action: "Release", Message: "step 2 of 3: 25%"}},
	}
	watching := []string{"watch pods of w1", "look no more"}
	cases := map[string]struct {
		reason    string
		setUp     func(*shell)
		decisions []decide.Decision
		want      []string
		err       string
		after     time.Duration
	}{
		"NothingToDo": {
			reason:    "what the caches show needs no live read and no write",
			decisions: []decide.Decision{{}},
			want:      append([]string{"decide on caches"}, watching...),
		},
		"WakeAt": {
			reason:    "a decision that time can change is made again then",
			decisions: []decide.Decision{{WakeAt: began.Add(time.Minute)}},
			want:      append([]string{"decide on caches"}, watching...),
			after:     time.Minute,
		},
		"WakeAtNow": {
			reason:    "a timer that has run out makes no busy loop",
			decisions: []decide.Decision{{WakeAt: began.Add(-time.Second)}},
			want:      append([]string{"decide on caches"}, watching...),
			after:     minWake,
		},
		"Lower": {
			reason:    "what only lowers may rest on caches: record, act, tell, in this order",
			decisions: []decide.Decision{act},
			want: append([]string{
				"decide on caches", "write status of *v1alpha1.Rollout", "SealCanary web-w1 at seq 41", "ScaleCanary web-w1 at seq 41",
				"event Normal StepStarted Release: step 2 of 3: 25%",
			}, watching...),
		},
		"ReadLive": {
			reason:    "everything else is decided again on live reads",
			decisions: []decide.Decision{{ReadLive: true}, act},
			want: append([]string{
				"decide on caches", "decide live", "write status of *v1alpha1.Rollout", "SealCanary web-w1 at seq 41", "ScaleCanary web-w1 at seq 41",
				"event Normal StepStarted Release: step 2 of 3: 25%",
			}, watching...),
		},
		"Trouble": {
			reason:    "trouble of a pod shows only in live reads, so the pass begins with them",
			setUp:     func(s *shell) { s.trouble = true },
			decisions: []decide.Decision{{}},
			want:      append([]string{"decide live"}, watching...),
		},
		"RecordConflict": {
			reason:    "without the record there is no effect: read live and decide again, at once",
			setUp:     func(s *shell) { s.fail["write status of *v1alpha1.Rollout"] = conflict() },
			decisions: []decide.Decision{act, {}},
			want:      append([]string{"decide on caches", "write status of *v1alpha1.Rollout", "decide live"}, watching...),
		},
		"EffectConflict": {
			reason:    "an effect that meets a newer object ends the pass, what was recorded is told, and the next pass reads live",
			setUp:     func(s *shell) { s.fail["SealCanary"] = conflict() },
			decisions: []decide.Decision{act, {}},
			want: append(append([]string{
				"decide on caches", "write status of *v1alpha1.Rollout", "SealCanary web-w1 at seq 41",
				"event Normal StepStarted Release: step 2 of 3: 25%",
			}, watching...), append([]string{"decide live"}, watching...)...),
		},
		"Precondition": {
			reason:    "so does one whose precondition does not hold",
			setUp:     func(s *shell) { s.fail["ScaleCanary"] = workload.ErrPrecondition },
			decisions: []decide.Decision{{Effects: act.Effects}, {}},
			want: append(append([]string{
				"decide on caches", "SealCanary web-w1 at seq 40", "ScaleCanary web-w1 at seq 40",
			}, watching...), append([]string{"decide live"}, watching...)...),
		},
		"Fenced": {
			reason:    "so does one on an object with a newer stamp",
			setUp:     func(s *shell) { s.fail["SealCanary"] = providers.ErrFenced },
			decisions: []decide.Decision{{Effects: act.Effects[:1]}, {}},
			want: append(append([]string{"decide on caches", "SealCanary web-w1 at seq 40"}, watching...),
				append([]string{"decide live"}, watching...)...),
		},
		"EffectError": {
			reason:    "an error of another kind is left to the queue's back-off",
			setUp:     func(s *shell) { s.fail["SealCanary"] = errors.New("no answer") },
			decisions: []decide.Decision{{Effects: act.Effects}},
			want:      append([]string{"decide on caches", "SealCanary web-w1 at seq 40"}, watching...),
			err:       "cannot perform SealCanary web-w1: no answer",
		},
		"ReadError": {
			reason:    "what cannot be read is not what is not there: no decision rests on it",
			setUp:     func(s *shell) { s.fail["observe the workload"] = errors.New("no answer") },
			decisions: []decide.Decision{act},
			want:      nil,
			err:       "cannot observe the workload: no answer",
		},
		"NotInCache": {
			reason:    "that a Rollout is not in the cache means nothing",
			setUp:     func(s *shell) { s.stale[web] = true },
			decisions: []decide.Decision{{}},
			want:      append([]string{"decide on caches"}, watching...),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := newShell(t, newRollout(progressing))
			s.decisions = tc.decisions
			if tc.setUp != nil {
				tc.setUp(s)
			}
			result, err := s.reconcile()
			if (err == nil) != (tc.err == "") || err != nil && err.Error() != tc.err {
				t.Errorf("%s: error is %v, want %q", tc.reason, err, tc.err)
			}
			if diff := cmp.Diff(tc.want, s.log); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
			if result.RequeueAfter != tc.after {
				t.Errorf("%s: comes back after %s, want %s", tc.reason, result.RequeueAfter, tc.after)
			}
		})
	}
}

func TestTroubleIsLookedAtInTheEnd(t *testing.T) {
	s := newShell(t, newRollout(progressing))
	s.decisions = []decide.Decision{{}}
	s.trouble = true
	s.fail["observe the workload"] = errors.New("no answer")
	if _, err := s.reconcile(); err == nil {
		t.Fatal("what cannot be read is an error")
	}
	for range 2 {
		if _, err := s.reconcile(); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.inputs) != 2 || !s.inputs[0].Fresh || s.inputs[1].Fresh {
		t.Errorf("the pass after one that failed begins with live reads, the next one does not: got %d decisions", len(s.inputs))
	}
}

func TestGoneWhileDecided(t *testing.T) {
	s := newShell(t, newRollout(progressing))
	s.decisions = []decide.Decision{{Status: recorded(41)}}
	s.fail["write status of *v1alpha1.Rollout"] = notFound("web")
	s.Live = noRollouts{s.Live}
	if _, err := s.reconcile(); err != nil {
		t.Fatal(err)
	}
	if got := s.log[len(s.log)-1]; got != "remove what is left of shop/web" {
		t.Errorf("a Rollout that the cache still shows is let go when it is gone: got %q", got)
	}
}

// noRollouts is an API server without Rollouts.
type noRollouts struct{ client.Reader }

func (n noRollouts) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	if _, ok := obj.(*v1alpha1.Rollout); ok {
		return notFound(key.Name)
	}
	return n.Reader.Get(ctx, key, obj, opts...)
}

func TestOldDecisionIsNotRecorded(t *testing.T) {
	s := newShell(t, newRollout(progressing))
	now := began
	s.Now = func() time.Time { return now }
	decided := s.Decide
	s.Decide = func(in decide.Input) decide.Decision {
		if len(s.inputs) == 0 {
			now = now.Add(maxAge + time.Second) // The process is stopped, once.
		}
		return decided(in)
	}
	s.decisions = []decide.Decision{{Status: recorded(41)}, {Status: recorded(42)}}
	if _, err := s.reconcile(); err != nil {
		t.Fatal(err)
	}
	want := []string{"decide on caches", "decide live", "write status of *v1alpha1.Rollout"}
	if diff := cmp.Diff(want, s.log[:3]); diff != "" || s.rollout().Status.Record.Seq != 42 {
		t.Errorf("a decision whose times are old is made anew: seq %d, -want, +got:\n%s", s.rollout().Status.Record.Seq, diff)
	}
}

func TestConflictsEnd(t *testing.T) {
	s := newShell(t, newRollout(progressing))
	s.decisions = []decide.Decision{{Effects: []decide.Effect{{Kind: decide.EffectSealCanary}}}}
	s.Workload = alwaysUnmet{s.Workload}
	_, err := s.reconcile()
	if !errors.Is(err, workload.ErrPrecondition) || len(s.inputs) != maxAttempts {
		t.Errorf("a precondition that never holds ends in the queue's back-off: got %v after %d passes, want %d", err, len(s.inputs), maxAttempts)
	}
}

type alwaysUnmet struct{ Workload }

func (alwaysUnmet) Apply(context.Context, workload.Pass, decide.Effect) error {
	return workload.ErrPrecondition
}

func TestWeights(t *testing.T) {
	found := providers.Observation{Services: []string{"web"}, Accepted: true}
	cases := map[string]struct {
		reason string
		effect decide.Effect
		setUp  func(*shell)
		want   []string
	}{
		"Lower": {
			reason: "lowering waits for nothing",
			effect: decide.Effect{Kind: decide.EffectSetWeight, Weight: 0},
			want:   []string{"lower [{web web-canary}] to 0 at seq 40"},
		},
		"Raise": {
			reason: "raising checks everything else again, the record last",
			effect: decide.Effect{Kind: decide.EffectSetWeight, Weight: 2500, Raise: true},
			want:   []string{"check pods and Services", "check the record and the template", "raise [{web web-canary}] to 2500 at seq 40"},
		},
		"NoRaise": {
			reason: "a check that fails leaves the route alone",
			effect: decide.Effect{Kind: decide.EffectSetWeight, Weight: 2500, Raise: true},
			setUp:  func(s *shell) { s.fail["check"] = errors.New("no answer") },
			want:   []string{"check pods and Services", "check the record and the template"},
		},
		"NoPods": {
			reason: "so does a canary without the pods for it",
			effect: decide.Effect{Kind: decide.EffectSetWeight, Weight: 2500, Raise: true},
			setUp:  func(s *shell) { s.fail["check pods"] = workload.ErrPrecondition },
			want:   []string{"check pods and Services"},
		},
		"Restore": {
			reason: "the route is given back by the newest decision",
			effect: decide.Effect{Kind: decide.EffectRestoreRoute},
			want:   []string{"check the record", "restore [{web web-canary}] to 0 at seq 40"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := newShell(t, newRollout(progressing, routed("web")))
			s.facts.Backends = []decide.Backend{{Name: "web", Exists: true}, {Name: "web-canary", Canary: true}}
			s.routes = func(providers.Target, bool) (providers.Observation, error) { return found, nil }
			s.decisions = []decide.Decision{{Effects: []decide.Effect{tc.effect}}, {}}
			if tc.setUp != nil {
				tc.setUp(s)
			}
			_, _ = s.reconcile() // The log tells.
			var writes []string
			for _, line := range s.log {
				if !strings.HasPrefix(line, "decide") && !strings.HasPrefix(line, "watch") && !strings.HasPrefix(line, "look") {
					writes = append(writes, line)
				}
			}
			if diff := cmp.Diff(tc.want, writes); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestRoutesGone(t *testing.T) {
	s := newShell(t, newRollout(progressing, routed("web")))
	s.facts.Backends = []decide.Backend{{Name: "web", Exists: true}}
	s.routes = func(target providers.Target, _ bool) (providers.Observation, error) {
		if len(target.Routes) > 0 {
			return providers.Observation{}, &providers.NotFoundError{Kind: "HTTPRoute", Name: "web"}
		}
		return providers.Observation{}, nil
	}
	s.decisions = []decide.Decision{{Effects: []decide.Effect{{Kind: decide.EffectDeleteCanary, Name: "web-w1"}}}}
	var pass workload.Pass
	s.Workload = passOf{s.Workload, &pass}
	if _, err := s.reconcile(); err != nil {
		t.Fatal(err)
	}
	want := providers.Observation{Accepted: true, Processed: true}
	got, err := pass.Routes(t.Context())
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("routes that are gone send nothing, so that a rollback goes on: %v, -want, +got:\n%s", err, diff)
	}
}

// passOf keeps what the effects rest on.
type passOf struct {
	Workload
	pass *workload.Pass
}

func (p passOf) Apply(_ context.Context, pass workload.Pass, _ decide.Effect) error {
	*p.pass = pass
	return nil
}

func TestFinalizer(t *testing.T) {
	s := newShell(t, newRollout(progressing))
	s.decisions = []decide.Decision{{Status: recorded(41), Effects: []decide.Effect{
		{Kind: decide.EffectAddFinalizer}, {Kind: decide.EffectSealCanary},
	}}}
	if _, err := s.reconcile(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{v1alpha1.Finalizer}, s.rollout().Finalizers); diff != "" {
		t.Errorf("the finalizer is on: -want, +got:\n%s", diff)
	}
	if got := s.rollout().Status.Record.Seq; got != 41 {
		t.Errorf("the record stays as it was: got seq %d, want 41", got)
	}
	s.decisions = []decide.Decision{{Effects: []decide.Effect{{Kind: decide.EffectRemoveFinalizer}}}}
	if _, err := s.reconcile(); err != nil {
		t.Fatal(err)
	}
	if got := s.rollout().Finalizers; len(got) > 0 {
		t.Errorf("the finalizer is off: got %v", got)
	}
}

func TestAnswers(t *testing.T) {
	approval := &v1alpha1.Approval{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "yes", UID: "yes-uid"},
		Spec:       v1alpha1.ApprovalSpec{TargetRef: v1alpha1.ApprovalTarget{Kind: "Rollout", Name: "web", UID: "web-uid"}},
	}
	other := approval.DeepCopy()
	other.Name, other.UID, other.Spec.TargetRef.UID = "other", "other-uid", "another-uid"
	forged := approval.DeepCopy()
	forged.Name, forged.UID, forged.Spec.TargetRef.Name = "forged", "forged-uid", "api"
	s := newShell(t, newRollout(progressing), approval, other, forged)
	s.decisions = []decide.Decision{{Answers: []decide.Answer{{Name: "yes", UID: "yes-uid", Counted: true, Reason: v1alpha1.ReasonCounted, Message: "1 of 2"}}}}
	if _, err := s.reconcile(); err != nil {
		t.Fatal(err)
	}
	if got := s.inputs[0].Approvals; len(got) != 1 || got[0].Name != "yes" {
		t.Errorf("only Approvals that name both the UID and the name, which RBAC was asked about, are looked at: got %d", len(got))
	}
	if err := s.Live.Get(t.Context(), client.ObjectKeyFromObject(approval), approval); err != nil {
		t.Fatal(err)
	}
	want := []metav1.Condition{{
		Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonCounted, Message: "1 of 2",
		LastTransitionTime: metav1.NewTime(began.Local()),
	}}
	if diff := cmp.Diff(want, approval.Status.Conditions); diff != "" {
		t.Errorf("an Approval says whether it counted: -want, +got:\n%s", diff)
	}
}

func TestEndIsCountedOnce(t *testing.T) {
	s := newShell(t, newRollout(progressing))
	ended := recorded(41)
	ended.Release.Stage = v1alpha1.StageIdle
	ended.History = []v1alpha1.HistoryEntry{{Number: 7, Revision: "w1", Result: v1alpha1.ResultPromoted}}
	s.decisions = []decide.Decision{{Status: ended}, {}}
	for range 2 {
		if _, err := s.reconcile(); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]v1alpha1.ReleaseResult{v1alpha1.ResultPromoted}, s.ended); diff != "" {
		t.Errorf("a release ends once: -want, +got:\n%s", diff)
	}
	if got := s.log[len(s.log)-2:]; cmp.Diff([]string{"watch no pods", "look no more"}, got) != "" {
		t.Errorf("at rest nothing is watched: got %v", got)
	}
}

func TestStartWarns(t *testing.T) {
	s := newShell(t, newRollout())
	s.warnings = []string{"the budget counts pods, not shares"}
	s.decisions = []decide.Decision{{Status: recorded(1)}, {}}
	for range 2 {
		if _, err := s.reconcile(); err != nil {
			t.Fatal(err)
		}
	}
	said := 0
	for _, line := range s.log {
		if line == "event Warning LessSafe Release: the budget counts pods, not shares" {
			said++
		}
	}
	if said != 1 {
		t.Errorf("what makes a release less safe is said once, at its start: got %d times", said)
	}
}

func TestFollowMetrics(t *testing.T) {
	verified := metav1.NewMicroTime(began)
	verifiedStep := func(r *v1alpha1.Rollout) { r.Status.Release.VerifiedAt = &verified }
	rollingBack := func(r *v1alpha1.Rollout) { r.Status.Release.Stage = v1alpha1.StageRollingBack }
	template := []metrics.Template{{Ref: "AnalysisTemplate/a"}}
	cases := map[string]struct {
		reason    string
		rollout   *v1alpha1.Rollout
		templates []metrics.Template
		want      string
	}{
		"Analysis":    {reason: "a release with an analysis is looked at", rollout: newRollout(progressing, verifiedStep), templates: template, want: "look at release 7 with 1 templates and Services [], step since true"},
		"Routed":      {reason: "so is the share of one with routes", rollout: newRollout(progressing, routed("web")), want: "look at release 7 with 0 templates and Services [web-canary], step since false"},
		"Nothing":     {reason: "without either there is nothing to ask", rollout: newRollout(progressing), want: "look no more"},
		"RollingBack": {reason: "what was decided is not asked again", rollout: newRollout(progressing, rollingBack), templates: template, want: "look no more"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := newShell(t, tc.rollout)
			s.templates = tc.templates
			s.routes = func(providers.Target, bool) (providers.Observation, error) { return providers.Observation{}, nil }
			s.facts.Backends = []decide.Backend{{Name: "web", Exists: true}}
			s.decisions = []decide.Decision{{}}
			if _, err := s.reconcile(); err != nil {
				t.Fatal(err)
			}
			if got := s.log[len(s.log)-1]; got != tc.want {
				t.Errorf("%s: got %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}
