package analysis

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics"
	"github.com/weir-dev/weir/metrics/evaluate"
)

var web = types.NamespacedName{Namespace: "shop", Name: "web"}

var templates = []metrics.Template{{Ref: "AnalysisTemplate/a"}}

// subject is a request about a template.
func subject(request metrics.Request) metrics.Request {
	request.Templates = templates
	return request
}

func measureNothing(context.Context, string, string, []string, []string, time.Time, time.Time) (evaluate.Share, bool, error) {
	return evaluate.Share{}, false, nil
}

// script answers each look with the next function, the last one for ever.
type script struct {
	mutex sync.Mutex
	looks []metrics.Request
	next  []func(metrics.Request) (metrics.Verdict, error)
}

func (s *script) Evaluate(_ context.Context, request metrics.Request) (metrics.Verdict, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	answer := s.next[min(len(s.looks), len(s.next)-1)]
	s.looks = append(s.looks, request)
	return answer(request)
}

func (s *script) count() int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return len(s.looks)
}

// says answers with a verdict after which another look is worth making in pace.
func says(value v1alpha1.VerdictValue, pace time.Duration) func(metrics.Request) (metrics.Verdict, error) {
	return func(r metrics.Request) (metrics.Verdict, error) {
		return metrics.Verdict{Release: r.Release, Revision: r.CanaryRevision, Value: value, Step: value, NextLook: r.Now.Add(pace)}, nil
	}
}

type names struct{ unknown bool }

func (n names) Names(types.NamespacedName) (stable, canary []string, ok bool) {
	return []string{"web-a-1"}, []string{"web-w1-1"}, !n.unknown
}

type counter struct {
	mutex  sync.Mutex
	errors int
}

func (c *counter) Look(_ v1alpha1.VerdictValue, _ time.Duration, err error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if err != nil {
		c.errors++
	}
}

// start runs a Runner in the bubble of the test until the test ends.
func start(t *testing.T, evaluator Evaluator, pods Pods) (*Runner, *counter, func() int) {
	t.Helper()
	var mutex sync.Mutex
	calls := 0
	seen := &counter{}
	r := New(evaluator, measureNothing, pods, seen, func(types.NamespacedName) {
		mutex.Lock()
		defer mutex.Unlock()
		calls++
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.Start(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return r, seen, func() int {
		mutex.Lock()
		defer mutex.Unlock()
		return calls
	}
}

func TestPace(t *testing.T) {
	cases := map[string]struct {
		reason string
		pace   time.Duration
		within time.Duration
		looks  int
	}{
		"AsAsked":  {reason: "the evaluator knows when another look can say more", pace: 10 * time.Second, within: 35 * time.Second, looks: 4},
		"TooOften": {reason: "no evaluator makes a busy loop", pace: time.Millisecond, within: 3500 * time.Millisecond, looks: 4},
		"TooLate":  {reason: "none makes the runner go to sleep", pace: time.Hour, within: 150 * time.Second, looks: 3},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{next: []func(metrics.Request) (metrics.Verdict, error){says(v1alpha1.VerdictNoFailure, tc.pace)}}
				r, _, calls := start(t, s, names{})
				r.Follow(web, subject(metrics.Request{Release: 1, CanaryRevision: "w1"}))
				time.Sleep(tc.within)
				synctest.Wait()
				if got := s.count(); got != tc.looks {
					t.Errorf("%s: %d looks within %s, want %d", tc.reason, got, tc.within, tc.looks)
				}
				if got := calls(); got != 1 {
					t.Errorf("an answer that stays the same calls once: got %d calls", got)
				}
			})
		})
	}
}

func TestChangeCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{next: []func(metrics.Request) (metrics.Verdict, error){
			says(v1alpha1.VerdictInconclusive, time.Second),
			says(v1alpha1.VerdictInconclusive, time.Second),
			says(v1alpha1.VerdictFail, time.Minute),
		}}
		r, _, calls := start(t, s, names{})
		r.Follow(web, subject(metrics.Request{Release: 3, CanaryRevision: "w1"}))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := calls(); got != 2 {
			t.Errorf("the first answer and the changed one call: got %d calls, want 2", got)
		}
		got, ok := r.Answer(web)
		if !ok || got.Verdict.Value != v1alpha1.VerdictFail || got.Verdict.Release != 3 {
			t.Errorf("the newest verdict is kept: got %+v, %t", got, ok)
		}
		want := metrics.Request{Templates: templates, Release: 3, CanaryRevision: "w1", StablePods: []string{"web-a-1"}, CanaryPods: []string{"web-w1-1"}, Now: s.looks[0].Now}
		if diff := cmp.Diff(want, s.looks[0]); diff != "" {
			t.Errorf("a look has the pods and the time: -want, +got:\n%s", diff)
		}
	})
}

func TestNewStepIsLookedAtAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{next: []func(metrics.Request) (metrics.Verdict, error){says(v1alpha1.VerdictPass, time.Minute)}}
		r, _, _ := start(t, s, names{})
		r.Follow(web, subject(metrics.Request{Release: 1, CanaryRevision: "w1"}))
		synctest.Wait()
		r.Follow(web, subject(metrics.Request{Release: 1, CanaryRevision: "w1"}))
		synctest.Wait()
		if got := s.count(); got != 1 {
			t.Errorf("following the same again costs no look: got %d looks", got)
		}
		began := time.Now()
		r.Follow(web, subject(metrics.Request{Release: 1, CanaryRevision: "w1", StepStart: began}))
		synctest.Wait()
		if got := s.count(); got != 2 {
			t.Errorf("a new step needs a new look: got %d looks, want 2", got)
		}
		if got, _ := r.Answer(web); !got.StepStart.Equal(began) {
			t.Errorf("a verdict names the step that it is about: got %s, want %s", got.StepStart, began)
		}
		r.Follow(web, subject(metrics.Request{Release: 2, CanaryRevision: "w1"}))
		if _, ok := r.Answer(web); ok {
			t.Error("another release begins without a verdict")
		}
		synctest.Wait()
		r.Forget(web)
		looks := s.count()
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := s.count(); got != looks {
			t.Errorf("what is forgotten is not looked at: got %d looks more", got-looks)
		}
	})
}

// TestCountersStay: what carries the routes is not forgotten within a release.
func TestCountersStay(t *testing.T) {
	before := &metrics.RequestCounters{ServiceLabel: "before"}
	after := &metrics.RequestCounters{ServiceLabel: "after"}
	cases := map[string]struct {
		reason string
		next   metrics.Request
		want   *metrics.RequestCounters
	}{
		"Unknown":  {reason: "a route whose parents are in doubt is counted as before", next: metrics.Request{Release: 1, CanaryRevision: "w1"}, want: before},
		"Step":     {reason: "in the next step, too", next: metrics.Request{Release: 1, CanaryRevision: "w1", StepStart: time.Unix(60, 0)}, want: before},
		"Known":    {reason: "what is known now counts", next: metrics.Request{Release: 1, CanaryRevision: "w1", Requests: after}, want: after},
		"Release":  {reason: "another release begins without", next: metrics.Request{Release: 2, CanaryRevision: "w1"}},
		"Revision": {reason: "so does another revision", next: metrics.Request{Release: 1, CanaryRevision: "w2"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{next: []func(metrics.Request) (metrics.Verdict, error){says(v1alpha1.VerdictNoFailure, time.Second)}}
				r, _, _ := start(t, s, names{})
				r.Follow(web, subject(metrics.Request{Release: 1, CanaryRevision: "w1", Requests: before}))
				synctest.Wait()
				r.Follow(web, subject(tc.next))
				time.Sleep(5 * time.Second)
				synctest.Wait()
				if diff := cmp.Diff(tc.want, s.looks[len(s.looks)-1].Requests); diff != "" {
					t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
				}
			})
		})
	}
}

func TestLookThatFails(t *testing.T) {
	cases := map[string]struct {
		reason string
		answer func(metrics.Request) (metrics.Verdict, error)
		want   string
	}{
		"Error": {
			reason: "an error is missing data, never a failure and never a pass",
			answer: func(metrics.Request) (metrics.Verdict, error) {
				return metrics.Verdict{Value: v1alpha1.VerdictPass}, errors.New("cannot query: no answer")
			},
			want: "cannot query: no answer",
		},
		"Panic": {
			reason: "an answer that breaks the evaluator breaks one look",
			answer: func(metrics.Request) (metrics.Verdict, error) { panic("index out of range") },
			want:   "cannot evaluate the analysis: panic: index out of range",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{next: []func(metrics.Request) (metrics.Verdict, error){tc.answer}}
				r, seen, calls := start(t, s, names{})
				began := time.Now()
				r.Follow(web, subject(metrics.Request{Release: 7, CanaryRevision: "w1"}))
				time.Sleep(12 * time.Second)
				synctest.Wait()
				got, _ := r.Answer(web)
				want := &metrics.Verdict{
					Release: 7, Revision: "w1", Value: v1alpha1.VerdictNoData, Step: v1alpha1.VerdictNoData,
					Reason: "EvaluationFailed", Message: tc.want, MissingSince: began,
				}
				if diff := cmp.Diff(want, got.Verdict); diff != "" {
					t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
				}
				if seen.errors != 3 || calls() != 1 {
					t.Errorf("%s: %d errors counted and %d calls, want 3 and 1", tc.reason, seen.errors, calls())
				}
			})
		})
	}
}

func TestNoLookWithoutPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{next: []func(metrics.Request) (metrics.Verdict, error){says(v1alpha1.VerdictPass, time.Second)}}
		r, _, _ := start(t, s, names{unknown: true})
		r.Follow(web, subject(metrics.Request{Release: 1}))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := s.count(); got != 0 {
			t.Errorf("a look before the pods are known would see no requests at all: got %d looks", got)
		}
	})
}

func TestFollowBeforeStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{next: []func(metrics.Request) (metrics.Verdict, error){says(v1alpha1.VerdictPass, time.Minute)}}
		r := New(s, measureNothing, names{}, &counter{}, func(types.NamespacedName) {})
		r.Follow(web, subject(metrics.Request{Release: 1}))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Start(ctx) }()
		synctest.Wait()
		if got := s.count(); got != 1 {
			t.Errorf("what was followed before the start is looked at: got %d looks, want 1", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestShare(t *testing.T) {
	cases := map[string]struct {
		reason string
		step   bool
		ok     bool
		err    error
		panics bool
		want   *evaluate.Share
	}{
		"Measured":    {reason: "the share of a step is measured since the step began", step: true, ok: true, want: &evaluate.Share{Canary: 5, Total: 100}},
		"NotVerified": {reason: "before the step began there is nothing to measure", ok: true},
		"NotCounted":  {reason: "a source that counts no requests by Service measures nothing", step: true},
		"Error":       {reason: "an error measures nothing, and holds nothing", step: true, ok: true, err: errors.New("no answer")},
		"Panic":       {reason: "neither does a panic, and other releases go on", step: true, ok: true, panics: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				measure := func(_ context.Context, _, namespace string, stable, canary []string, start, end time.Time) (evaluate.Share, bool, error) {
					if !start.Equal(began) || !end.Equal(time.Now()) || namespace != "shop" || len(stable) != 1 || len(canary) != 1 {
						t.Errorf("asked for %s from %s to %s, Services %v and %v", namespace, start, end, stable, canary)
					}
					if tc.panics {
						panic("an answer that nobody has thought of")
					}
					return evaluate.Share{Canary: 5, Total: 100}, tc.ok, tc.err
				}
				r := New(&script{}, measure, names{}, &counter{}, func(types.NamespacedName) {})
				s := metrics.Request{Namespace: "shop", Release: 1, StableServices: []string{"web"}, CanaryServices: []string{"web-canary"}}
				if tc.step {
					s.StepStart = began
				}
				r.Follow(web, s)
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- r.Start(ctx) }()
				synctest.Wait()
				got, ok := r.Answer(web)
				if !ok || got.Verdict != nil {
					t.Errorf("without templates there is an answer without a verdict: got %+v, %t", got, ok)
				}
				var share *evaluate.Share
				if got.Share != nil {
					share = &got.Share.Share
				}
				if diff := cmp.Diff(tc.want, share); diff != "" {
					t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
				}
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}
