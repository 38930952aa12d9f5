package rollout

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics"
	"github.com/weir-dev/weir/metrics/evaluate"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/rollout/analysis"
	"github.com/weir-dev/weir/rollout/decide"
)

func TestObserveRoutes(t *testing.T) {
	missing := func(name string) error { return &providers.NotFoundError{Kind: "HTTPRoute", Name: name} }
	refused := &providers.UnsupportedError{Object: "HTTPRoute/web", Field: "spec.rules[0]", Problem: "has 16 backends", Remedy: "take one out"}
	missingProblem := decide.Problem{
		Reason: v1alpha1.ReasonInvalidSpec, Field: "spec.traffic.routeRefs",
		Message: `HTTPRoute "gone" does not exist in this namespace: create it, or correct spec.traffic.routeRefs`,
	}
	cases := map[string]struct {
		reason   string
		rollout  *v1alpha1.Rollout
		routes   func(target providers.Target, live bool) (providers.Observation, error)
		want     *decide.Route
		problems []decide.Problem
		err      bool
	}{
		"Native": {
			reason:  "without routes there is no route",
			rollout: newRollout(),
		},
		"Found": {
			reason:  "what the provider saw is what the core gets",
			rollout: newRollout(routed("web")),
			routes: func(providers.Target, bool) (providers.Observation, error) {
				return providers.Observation{Split: true, Weight: 500, LowestWeight: 400, Accepted: true, Message: "m", Loose: true, Stamp: 3, ForeignWriter: "flux", Routes: []string{"HTTPRoute/web"}}, nil
			},
			want: &decide.Route{Split: true, Weight: 500, LowestWeight: 400, Accepted: true, Message: "m", Loose: true, Stamp: 3, ForeignWriter: "flux", Routes: []string{"HTTPRoute/web"}},
		},
		"OneMissing": {
			reason:  "a route that does not exist is a problem, and the others are seen without it",
			rollout: newRollout(routed("gone", "web")),
			routes: func(target providers.Target, _ bool) (providers.Observation, error) {
				if len(target.Routes) > 1 {
					return providers.Observation{}, errors.Join(missing("gone"), nil)
				}
				return providers.Observation{Accepted: true, Processed: true, Stamp: 3, Routes: []string{"HTTPRoute/" + target.Routes[0].Name}}, nil
			},
			want:     &decide.Route{Accepted: true, Processed: true, Stamp: 3, Routes: []string{"HTTPRoute/web"}},
			problems: []decide.Problem{missingProblem},
		},
		"AllMissing": {
			reason:  "over no routes at all nothing can be behind",
			rollout: newRollout(routed("gone")),
			routes: func(providers.Target, bool) (providers.Observation, error) {
				return providers.Observation{}, missing("gone")
			},
			want:     &decide.Route{Accepted: true, Processed: true, Stamp: math.MaxInt64},
			problems: []decide.Problem{missingProblem},
		},
		"MissingNotInSpec": {
			reason: "a route that was split, taken out of the spec and deleted is no problem",
			rollout: newRollout(routed("web"), progressing, func(r *v1alpha1.Rollout) {
				r.Status.Traffic.Routes = []string{"HTTPRoute/web", "HTTPRoute/gone"}
			}),
			routes: func(target providers.Target, _ bool) (providers.Observation, error) {
				if len(target.Routes) > 1 {
					return providers.Observation{}, missing("gone")
				}
				return providers.Observation{Accepted: true, Processed: true}, nil
			},
			want: &decide.Route{Accepted: true, Processed: true},
		},
		"Unsupported": {
			reason:  "a route that cannot be split is still seen, so that it can be lowered",
			rollout: newRollout(routed("web")),
			routes: func(providers.Target, bool) (providers.Observation, error) {
				return providers.Observation{Split: true, Weight: 500}, errors.Join(refused)
			},
			want: &decide.Route{Split: true, Weight: 500},
			problems: []decide.Problem{{
				Reason: v1alpha1.ReasonUnsupported, Field: "spec.traffic.routeRefs",
				Message: "HTTPRoute/web: spec.rules[0]: has 16 backends: take one out",
			}},
		},
		"Error": {
			reason:  "a route that cannot be read is no observation",
			rollout: newRollout(routed("web")),
			routes: func(providers.Target, bool) (providers.Observation, error) {
				return providers.Observation{}, errors.Join(refused, errors.New("no answer"))
			},
			err: true,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := newShell(t, tc.rollout)
			s.routes = tc.routes
			o, err := s.observe(t.Context(), s.rollout(), false)
			if tc.err {
				if err == nil {
					t.Errorf("%s: got no error", tc.reason)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if diff := cmp.Diff(tc.want, o.input.Route); diff != "" {
				t.Errorf("%s: route: -want, +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.problems, o.input.Problems); diff != "" {
				t.Errorf("%s: problems: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestPairsComeFromTheServicesThatSelectTheWorkload(t *testing.T) {
	s := newShell(t, newRollout(routed("web")))
	s.facts.Backends = []decide.Backend{{Name: "web", Exists: true}, {Name: "web-canary", Canary: true}}
	var asked [][]providers.Pair
	s.routes = func(target providers.Target, _ bool) (providers.Observation, error) {
		asked = append(asked, target.Pairs)
		return providers.Observation{Services: []string{"web", "other"}, Split: len(target.Pairs) > 0}, nil
	}
	o, err := s.observe(t.Context(), s.rollout(), true)
	if err != nil {
		t.Fatal(err)
	}
	want := [][]providers.Pair{nil, {{Stable: "web", Canary: "web-canary"}}}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("the routes are read again for the pairs that were found: -want, +got:\n%s", diff)
	}
	if !o.input.Route.Split || !o.input.Fresh {
		t.Errorf("the second look counts: got %+v, fresh %t", o.input.Route, o.input.Fresh)
	}
}

func TestOthers(t *testing.T) {
	named := func(name string, uid types.UID, age time.Duration, with ...func(*v1alpha1.Rollout)) *v1alpha1.Rollout {
		r := newRollout(with...)
		r.Name, r.UID, r.CreationTimestamp = name, uid, metav1.NewTime(began.Add(-age))
		return r
	}
	onAPI := func(r *v1alpha1.Rollout) { r.Spec.WorkloadRef.Name = "api" }
	withService := func(r *v1alpha1.Rollout) { r.Status.Traffic.Services = []string{"web"} }
	rule := func(name string) func(*v1alpha1.Rollout) {
		return func(r *v1alpha1.Rollout) { r.Spec.Traffic.RouteRefs[0].RuleNames = []string{name} }
	}
	workloadTaken := `Deployment "web" already has Rollout "other", which came first: delete one of the two`
	routeTaken := func(what string) string {
		return `HTTPRoute "web": ` + what + ` already has Rollout "other", which came first: name other rules or Services, or delete one of the two`
	}
	cases := map[string]struct {
		reason string
		mine   *v1alpha1.Rollout
		other  client.Object
		label  string
		want   string
	}{
		"Alone":    {reason: "one workload, one Rollout", mine: newRollout(), other: named("other", "o", time.Hour, onAPI)},
		"Younger":  {reason: "the older of two counts", mine: newRollout(), other: named("other", "o", -time.Hour)},
		"Older":    {reason: "the younger of two says so", mine: newRollout(), other: named("other", "o", time.Hour), want: workloadTaken},
		"SameAge":  {reason: "of two made in the same second the smaller UID counts", mine: newRollout(), other: named("other", "a", 0), want: workloadTaken},
		"Labelled": {reason: "of two made in the same second the one counts that has labelled the workload", mine: newRollout(), other: named("other", "a", 0), label: newRollout().Name},
		"OtherLabelled": {
			reason: "however old the other one is", mine: newRollout(), other: named("other", "o", -time.Hour), label: "other", want: workloadTaken,
		},
		"Off":       {reason: "a workload that is taken out of Weir's hands belongs to the older", mine: newRollout(), other: named("other", "o", time.Hour), label: v1alpha1.RolloutOff, want: workloadTaken},
		"Elsewhere": {reason: "another namespace is another world", mine: newRollout(), other: func() client.Object { r := named("other", "o", time.Hour); r.Namespace = "x"; return r }()},
		"SharedRoute": {
			reason: "several workloads may share a route", mine: newRollout(routed("web")),
			other: named("other", "o", time.Hour, onAPI, routed("web")),
		},
		"SharedService": {
			reason: "but not a Service behind it", mine: newRollout(routed("web")),
			other: named("other", "o", time.Hour, onAPI, routed("web"), withService), want: routeTaken(`Service "web"`),
		},
		"SharedRule": {
			reason: "nor a rule that both name", mine: newRollout(routed("web"), rule("a")),
			other: named("other", "o", time.Hour, onAPI, routed("web"), rule("a")), want: routeTaken(`rule "a"`),
		},
		"OtherRule": {
			reason: "different rules may have the same backend", mine: newRollout(routed("web"), rule("a")),
			other: named("other", "o", time.Hour, onAPI, routed("web"), rule("b"), withService),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := newShell(t, tc.mine, tc.other)
			s.facts.Backends = []decide.Backend{{Name: "web", Exists: true}}
			s.facts.Target.Label = tc.label
			s.routes = func(providers.Target, bool) (providers.Observation, error) { return providers.Observation{}, nil }
			o, err := s.observe(t.Context(), s.rollout(), false)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if len(o.input.Problems) > 0 {
				got = o.input.Problems[0].Message
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestObserveAnalysis(t *testing.T) {
	s := newShell(t, newRollout(progressing))
	s.problems = []decide.Problem{{Reason: v1alpha1.ReasonInvalidSpec, Message: "no such template"}}
	s.answer = &analysis.Answer{
		Verdict:   &metrics.Verdict{Release: 7, Revision: "w1", Value: v1alpha1.VerdictFail, Step: v1alpha1.VerdictFail, Reason: "r", Message: "m", WindowEnd: began},
		Share:     &analysis.Share{Share: evaluate.Share{Canary: 4.6, Total: 100.2}, Start: began, End: began.Add(time.Second)},
		StepStart: began,
	}
	o, err := s.observe(t.Context(), s.rollout(), false)
	if err != nil {
		t.Fatal(err)
	}
	want := &decide.Verdict{Release: 7, Revision: "w1", StepStart: began, Value: v1alpha1.VerdictFail, Step: v1alpha1.VerdictFail, Reason: "r", Message: "m", WindowEnd: began}
	if diff := cmp.Diff(want, o.input.Verdict); diff != "" {
		t.Errorf("the newest verdict goes to the core as it is: -want, +got:\n%s", diff)
	}
	if diff := cmp.Diff(&decide.Measured{Canary: 5, Total: 100, Start: began, End: began.Add(time.Second)}, o.input.Measured); diff != "" {
		t.Errorf("so does the measured share: -want, +got:\n%s", diff)
	}
	if diff := cmp.Diff(s.problems, o.input.Problems); diff != "" {
		t.Errorf("so does what is wrong with the templates: -want, +got:\n%s", diff)
	}
}
