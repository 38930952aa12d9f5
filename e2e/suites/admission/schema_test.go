package admission

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
)

// What the documentation shows must work as it stands.
func TestExamplesAreAccepted(t *testing.T) {
	examples, err := filepath.Glob("../../../docs/examples/*.yaml")
	must(t, err)
	if len(examples) == 0 {
		t.Fatal("there are no examples in docs/examples")
	}
	c := newNamespace(t)
	for _, path := range examples {
		t.Run(filepath.Base(path), func(t *testing.T) {
			text, err := os.ReadFile(path)
			must(t, err)
			c.kubectl(t, harness.Admin, string(text), "apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-")
		})
	}
}

// object reads a manifest of a kind of Weir's.
func object(t *testing.T, namespace, kind, manifest string) *unstructured.Unstructured {
	t.Helper()
	var o unstructured.Unstructured
	if err := yaml.Unmarshal([]byte(manifest), &o.Object); err != nil {
		t.Fatalf("%v in:\n%s", err, manifest)
	}
	o.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	if o.GetName() == "" {
		o.SetName("test")
	}
	switch kind {
	case "ClusterAnalysisTemplate", "MetricSource":
	default:
		o.SetNamespace(namespace)
	}
	return &o
}

func TestBadObjectsAreRefused(t *testing.T) {
	c := newNamespace(t)
	admin := client.WithFieldValidation(c.client(t, harness.Admin), metav1.FieldValidationStrict)

	// workload and metric are the beginnings of a Rollout and of a template that
	// are good up to there.
	const (
		workload = "spec:\n  workloadRef: {kind: Deployment, name: web}\n"
		metric   = "spec: {metrics: [{name: m, "
		approval = "spec: {targetRef: {kind: Rollout, name: web, uid: u}, release: 1, revision: r, approver: {username: admin}, "
		routed   = workload + "  traffic: {routeRefs: [{kind: HTTPRoute, name: web}]}\n"
		virtual  = workload + "  traffic: {routeRefs: [{kind: VirtualService, name: web}]}\n"
	)
	steps := func(text string) string { return workload + "  steps: " + text }

	cases := map[string]struct {
		reason   string
		kind     string
		manifest string
		want     string
	}{
		"WeightsGoDown": {"a lower weight later is a plan nobody can mean", "Rollout",
			steps("[{weight: 25}, {weight: 5}]"), "weights may not go down: each step states its whole exposure"},
		"WeightForgotten": {"a step without weight has weight 0", "Rollout",
			steps("[{weight: 25}, {replicas: 50%}]"), "a step without weight has weight 0"},
		"SubPercentAfterPercent": {"0.5 % after 1 % goes down", "Rollout",
			steps("[{weight: 1}, {weight: 0.5%}]"), "weights may not go down"},
		"WeightTooHigh": {"more than everything", "Rollout",
			steps("[{weight: 101}]"), "weight is in percent, from 0 to 100"},
		"WeightNegative": {"less than nothing", "Rollout",
			steps("[{weight: -1}]"), "weight is in percent, from 0 to 100"},
		"WeightString": {"whole percents are numbers, so that no unit can be misread", "Rollout",
			steps("[{weight: 25%}]"), "below one percent write a string such as '0.1%'"},
		"WeightZeroString": {"0.00 % is 0", "Rollout",
			steps("[{weight: 0.00%}]"), "spec.steps[0].weight in body should match"},
		"WeightFraction": {"a fraction has no unit", "Rollout",
			steps("[{weight: 0.5}]"), "spec.steps[0].weight"},
		"SessionsOfGRPC": {"gRPC clients keep no cookies", "Rollout",
			workload + "  traffic: {routeRefs: [{kind: GRPCRoute, name: web}], sessionAffinity: {}}\n", "sessionAffinity needs a route of kind HTTPRoute or VirtualService"},
		"SessionsOfServiceProfile": {"a ServiceProfile tells no requests apart", "Rollout",
			workload + "  traffic: {routeRefs: [{kind: ServiceProfile, name: web}], sessionAffinity: {}}\n", "sessionAffinity needs a route of kind HTTPRoute or VirtualService"},
		"SessionsShared": {"a Service that serves both versions keeps nobody", "Rollout",
			workload + "  traffic: {routeRefs: [{kind: HTTPRoute, name: web}], otherCallers: Shared, sessionAffinity: {}}\n", "sessionAffinity needs otherCallers to be Stable"},
		"SessionCookie": {"a cookie has a name that every browser and every proxy reads", "Rollout",
			workload + "  traffic: {routeRefs: [{kind: HTTPRoute, name: web}], sessionAffinity: {cookieName: __Host-web}}\n", "spec.traffic.sessionAffinity.cookieName in body should match"},
		"SessionAge": {"a cookie's age is in seconds", "Rollout",
			workload + "  traffic: {routeRefs: [{kind: HTTPRoute, name: web}], sessionAffinity: {maxAge: 1500ms}}\n", "maxAge must be at least one second, and in whole seconds"},
		"ReplicasNegative": {"less than no pods", "Rollout",
			steps("[{replicas: -1}]"), "replicas is a number of pods from 0"},
		"ReplicasTooHigh": {"the canary is never larger than the workload", "Rollout",
			steps("[{replicas: 150%}]"), "spec.steps[0].replicas in body should match"},
		"ReplicasNoUnit": {"a number is not a string", "Rollout",
			steps(`[{replicas: "3"}]`), "a share of the workload's replicas from '0%' to '100%'"},
		"NoSteps": {"an empty list is not the default", "Rollout",
			steps("[]"), "spec.steps in body should have at least 1 items"},
		"EmptyStep": {"a step without anything says nothing", "Rollout",
			steps("[{}]"), "spec.steps[0] in body should have at least 1 properties"},
		"TooManySteps": {"thirty steps are the most", "Rollout",
			steps("[" + strings.Repeat("{weight: 1}, ", 31) + "]"), "must have at most 30 items"},
		"StepNameTwice": {"a step is known by its name", "Rollout",
			steps("[{name: a, weight: 1}, {name: a, weight: 2}]"), "the name of a step may be there only once"},
		"StepName": {"a name is a DNS label", "Rollout",
			steps("[{name: First Step, weight: 1}]"), "spec.steps[0].name in body should match"},
		"ApprovalTwiceInOneStep": {"a gate is known by its name", "Rollout",
			steps("[{weight: 1, gates: {approvals: [{name: a}, {name: a}]}}]"), "Duplicate value"},
		"ApprovalTwice": {"an Approval names a gate, not a step", "Rollout",
			steps("[{weight: 1, gates: {approvals: [{name: a}]}}, {weight: 2, gates: {approvals: [{name: a}]}}]"),
			"the name of an approval may be there only once in all steps"},
		"ApprovalSubresource": {"a gate is a subresource in RBAC, and status is taken", "Rollout",
			steps("[{weight: 1, gates: {approvals: [{name: status}]}}]"), "give the gate another name"},
		"ApprovalByTime": {"an approval is never given by time", "Rollout",
			steps("[{weight: 1, gates: {approvals: [{name: a, onTimeout: Advance}]}}]"), `supported values: "Hold", "Rollback"`},
		"NoApprovers": {"at least one person approves", "Rollout",
			steps("[{weight: 1, gates: {approvals: [{name: a, minApprovals: 0}]}}]"), "should be greater than or equal to 1"},
		"EmptyGates": {"gates without a gate would be a step without a wait", "Rollout",
			steps("[{weight: 1, gates: {}}]"), "spec.steps[0].gates in body should have at least 1 properties"},
		"HoldDays": {"days have no fixed length", "Rollout",
			steps("[{weight: 1, gates: {hold: 1d}}]"), "a duration is written as 90s, 10m or 1h30m"},
		"HoldNumber": {"a bare number has no unit", "Rollout",
			steps("[{weight: 1, gates: {hold: 90}}]"), `must be of type string: "integer"`},
		"UnknownField": {"a misspelt field would be ignored in silence", "Rollout",
			steps("[{weigth: 1}]"), `unknown field "spec.steps[0].weigth"`},
		"ZeroDeadline": {"every release would fail at once", "Rollout",
			workload + "  progressDeadline: 0m0s", "progressDeadline must be longer than zero"},
		"NoWorkload": {"a Rollout without workload has nothing to release", "Rollout",
			"spec: {}", "spec.workloadRef: Required value"},
		"Kind": {"other workloads join when they work", "Rollout",
			"spec: {workloadRef: {kind: StatefulSet, name: web}}", `supported values: "Deployment"`},
		"LongName": {"the names of other objects are made from it", "Rollout",
			"metadata: {name: " + strings.Repeat("a", 53) + "}\n" + workload, "metadata.name may have at most 52 characters"},
		"RouteKind": {"other routes join when they work", "Rollout",
			workload + "  traffic: {routeRefs: [{kind: Ingress, name: web}]}", `supported values: "HTTPRoute", "GRPCRoute"`},
		"NoRoutes": {"traffic without routes is no traffic", "Rollout",
			workload + "  traffic: {routeRefs: []}", "spec.traffic.routeRefs in body should have at least 1 items"},
		"RouteTwice": {"one route is split once", "Rollout",
			workload + "  traffic: {routeRefs: [{kind: HTTPRoute, name: web}, {kind: HTTPRoute, name: web}]}", "Duplicate value"},
		"MixedRoutes": {"a mesh follows one API for a Service", "Rollout",
			workload + "  traffic: {routeRefs: [{kind: HTTPRoute, name: web}, {kind: VirtualService, name: web}]}", "routeRefs are of one API"},
		"PreviewIsStable": {"a preview is not where users are", "Rollout",
			workload + "  traffic: {routeRefs: [{kind: HTTPRoute, name: web}], serviceRefs: [{name: web}], previewServiceName: web}", "the preview is a Service of its own"},
		"PreviewIsCanary": {"nor what routes send traffic to", "Rollout",
			workload + "  traffic: {routeRefs: [{kind: HTTPRoute, name: web}], serviceRefs: [{name: web}], previewServiceName: web-canary}", "the preview is a Service of its own"},
		"PreviewName": {"a Service has a DNS label", "Rollout",
			workload + "  traffic: {routeRefs: [{kind: HTTPRoute, name: web}], previewServiceName: 1-web}", "spec.traffic.previewServiceName in body should match"},
		"PreviewWithoutRoutes": {"without routes users meet a canary as soon as it has a pod", "Rollout",
			workload + "  traffic: {previewServiceName: web-preview}", "spec.traffic.routeRefs: Required value"},
		"MatchesWithoutRoutes": {"without routes requests cannot be told apart", "Rollout",
			steps("[{matches: [{headers: [{name: x, value: b}]}]}]"), "matches and mirror need spec.traffic.routeRefs"},
		"MirrorWithoutRoutes": {"nor copied", "Rollout",
			steps("[{mirror: {weight: 5}}]"), "matches and mirror need spec.traffic.routeRefs"},
		"MirrorWithWeight": {"evidence of copies and of users must not be mixed up", "Rollout",
			routed + "  steps: [{weight: 5, mirror: {weight: 5}}]", "mirror is for a step of its own"},
		"MirrorWithMatches": {"nor that of copies and of those who match", "Rollout",
			routed + "  steps: [{matches: [{headers: [{name: x, value: b}]}], mirror: {weight: 5}}]", "mirror is for a step of its own"},
		"MirrorOfNothing": {"a mirror of no request is none", "Rollout",
			routed + "  steps: [{mirror: {weight: 0}}]", "spec.steps[0].mirror.weight in body should be greater than or equal to 1"},
		"FaultWithoutMatches": {"a fault is for the canary's requests alone", "Rollout",
			virtual + "  steps: [{weight: 5, fault: {type: Abort, abort: {httpStatus: 503}, weight: 10}}]", "fault needs matches"},
		"FaultInHTTPRoute": {"Gateway API has no faults", "Rollout",
			routed + "  steps: [{matches: [{headers: [{name: x, value: b}]}], fault: {type: Abort, abort: {httpStatus: 503}, weight: 10}}]", "fault needs routes of kind VirtualService"},
		"FaultOfTwoTypes": {"one type, one member", "Rollout",
			virtual + "  steps: [{matches: [{headers: [{name: x, value: b}]}], fault: {type: Delay, abort: {httpStatus: 503}, weight: 10}}]", "a fault of type Delay has delay"},
		"NoDelay": {"a delay of nothing is none", "Rollout",
			virtual + "  steps: [{matches: [{headers: [{name: x, value: b}]}], fault: {type: Delay, delay: {duration: 0s}, weight: 10}}]", "duration must be longer than zero"},
		"EmptyMatch": {"a match of nothing would be one of everything", "Rollout",
			routed + "  steps: [{matches: [{}]}]", "should have at least 1 properties"},
		"TwoCookies": {"all cookies are one header", "Rollout",
			routed + "  steps: [{matches: [{cookies: [{name: a, value: b}, {name: c, value: d}]}]}]", "must have at most 1 item"},
		"HeaderName": {"a header's name is a token", "Rollout",
			routed + "  steps: [{matches: [{headers: [{name: 'a b', value: b}]}]}]", "spec.steps[0].matches[0].headers[0].name"},
		"OnMissingData": {"missing data never let a release go on", "Rollout",
			workload + "  analysis: {templateRefs: [{name: a}], onMissingData: Advance}", `supported values: "Hold", "Rollback"`},
		"AnalysisWithoutTemplates": {"an analysis needs metrics", "Rollout",
			workload + "  analysis: {templateRefs: []}", "spec.analysis.templateRefs in body should have at least 1 items"},

		"NoMetrics": {"a template without metrics says nothing", "AnalysisTemplate",
			"spec: {metrics: []}", "spec.metrics in body should have at least 1 items"},
		"WrongMember": {"one type, one member", "AnalysisTemplate",
			metric + `type: Condition, ratio: {bad: a, total: b, maxRatio: "1%"}}]}`, "ratio goes with type Ratio"},
		"MissingMember": {"a type without its member says nothing", "AnalysisTemplate",
			metric + "type: Ratio}]}", "type Ratio needs it"},
		"SelectorWithFunction": {"counters are read raw", "AnalysisTemplate",
			metric + `type: Ratio, ratio: {bad: "rate(a[1m])", total: b, maxRatio: "1%"}}]}`, "ratio.bad in body should match"},
		"SignalAndSelectors": {"a signal stands for both counters", "AnalysisTemplate",
			metric + `type: Ratio, ratio: {signal: RequestErrors, bad: a, total: b, maxRatio: "1%"}}]}`, "give either signal, or bad and total"},
		"SignalAndTotal": {"and for each of them", "ClusterAnalysisTemplate",
			metric + `type: Ratio, ratio: {signal: RequestErrors, total: b, maxRatio: "1%"}}]}`, "give either signal, or bad and total"},
		"BadAlone": {"a share is of something", "AnalysisTemplate",
			metric + `type: Ratio, ratio: {bad: a, maxRatio: "1%"}}]}`, "bad and total go together"},
		"NothingCounted": {"a limit needs what it limits", "AnalysisTemplate",
			metric + `type: Ratio, ratio: {maxRatio: "1%"}}]}`, "name a signal such as RequestErrors"},
		"UnknownSignal": {"signals are those there are", "AnalysisTemplate",
			metric + `type: Ratio, ratio: {signal: Saturation, maxRatio: "1%"}}]}`, `supported values: "RequestErrors"`},
		"SignalWithoutLimit": {"nobody knows what is acceptable but the user", "AnalysisTemplate",
			metric + `type: Ratio, ratio: {signal: RequestErrors}}]}`, "ratio.maxRatio"},
		"RatioNoUnit": {"a share has a unit", "AnalysisTemplate",
			metric + `type: Ratio, ratio: {bad: a, total: b, maxRatio: "0.01"}}]}`, "ratio.maxRatio in body should match"},
		"NeverFails": {"four of three looks can never be bad", "ClusterAnalysisTemplate",
			metric + `type: Condition, condition: {query: q, failAfter: 4, outOf: 3, failWhen: {operator: GreaterThan, value: "1"}}}]}`,
			"failAfter may not be greater than outOf"},
		"LimitNotANumber": {"a limit is a decimal number", "ClusterAnalysisTemplate",
			metric + `type: Condition, condition: {query: q, failWhen: {operator: GreaterThan, value: NaN}}}]}`, "failWhen.value in body should match"},
		"ParameterTwice": {"a parameter has one default", "AnalysisTemplate",
			`spec: {parameters: [{name: a}, {name: a}], metrics: [{name: m, type: Ratio, ratio: {bad: a, total: b, maxRatio: "1%"}}]}`, "Duplicate value"},

		"SourceScheme": {"only HTTP is spoken", "MetricSource",
			`spec: {type: Prometheus, prometheus: {url: "file:///etc/passwd"}}`, "url must be an http or https URL"},
		"SourceMember": {"one type, one member", "MetricSource",
			"spec: {type: Prometheus}", "prometheus goes with type Prometheus"},

		"ApproveWithoutGate": {"one approves a gate", "Approval",
			approval + "action: Approve}", "Approve and Reject name a gate"},
		"AbortOfAGate": {"one aborts a release", "Approval",
			approval + "action: Abort, gate: a}", "Approve and Reject name a gate"},
		"RejectWithoutReason": {"who rejects says why", "Approval",
			approval + "action: Reject, gate: a}", "a Reject needs a reason"},
		"NoRelease": {"releases count from one", "Approval",
			"spec: {targetRef: {kind: Rollout, name: web, uid: u}, release: 0, revision: r, approver: {username: admin}, action: Abort}", "should be greater than or equal to 1"},
		"NoUID": {"a name alone may be another's by now", "Approval",
			"spec: {targetRef: {kind: Rollout, name: web}, release: 1, revision: r, approver: {username: admin}, action: Abort}", "spec.targetRef.uid: Required value"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			o := object(t, c.namespace, tc.kind, tc.manifest)
			err := admin.Create(t.Context(), o, client.DryRunAll)
			if err == nil {
				t.Fatalf("%s: was accepted:\n%s", tc.reason, tc.manifest)
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: want %q in the error, got:\n%v", tc.reason, tc.want, err)
			}
		})
	}
}

// largestExtras are as many matches as the schema admits, and a fault.
func largestExtras(long func(prefix string, i int) string) v1alpha1.Extras {
	values := func(n int) []v1alpha1.ValueMatch {
		var out []v1alpha1.ValueMatch
		for i := range n {
			out = append(out, v1alpha1.ValueMatch{Name: long("n", i), Value: strings.Repeat("v", 256)})
		}
		return out
	}
	var matches []v1alpha1.Match
	for range 8 {
		matches = append(matches, v1alpha1.Match{Headers: values(8), Cookies: values(1), QueryParams: values(8)})
	}
	return v1alpha1.Extras{
		Matches: matches,
		Fault:   &v1alpha1.Fault{Type: v1alpha1.FaultDelay, Delay: &v1alpha1.FaultDelayed{Duration: "99999h99999h99999h99999h"}, Weight: 100},
	}
}

// The longest and widest object that the schema admits must not exceed the
// limits at which the API server stops to evaluate rules.
func TestLargestRolloutIsAccepted(t *testing.T) {
	c := newNamespace(t)
	long := func(prefix string, i int) string {
		return prefix + strings.Repeat("x", 60) + string(rune('a'+i%26)) + string(rune('a'+i/26))
	}
	r := &v1alpha1.Rollout{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: strings.Repeat("a", 52)},
		Spec:       v1alpha1.RolloutSpec{WorkloadRef: v1alpha1.WorkloadReference{Kind: "Deployment", Name: strings.Repeat("a", 253)}},
	}
	r.Spec.Traffic = &v1alpha1.Traffic{SessionAffinity: &v1alpha1.SessionAffinity{CookieName: strings.Repeat("c", 128), MaxAge: "99999h99999h99999h99999h"}}
	for i := range 8 {
		ref := v1alpha1.RouteReference{Kind: "VirtualService", Name: strings.Repeat("r", 252) + string(rune('a'+i))}
		for j := range 16 {
			ref.RuleNames = append(ref.RuleNames, strings.Repeat("n", 252)+string(rune('a'+j)))
		}
		r.Spec.Traffic.RouteRefs = append(r.Spec.Traffic.RouteRefs, ref)
	}
	for i := range 30 {
		weight, replicas := intstr.FromString("0.99%"), intstr.FromString("100%")
		step := v1alpha1.Step{Name: long("s", i), Weight: &weight, Replicas: &replicas, Gates: &v1alpha1.Gates{Hold: "99999h99999h99999h99999h"}}
		step.Extras = largestExtras(long)
		for j := range 4 {
			step.Gates.Approvals = append(step.Gates.Approvals, v1alpha1.ApprovalGate{Name: long("g", i*4+j), Timeout: "99999h99999h99999h99999h"})
		}
		r.Spec.Steps = append(r.Spec.Steps, step)
	}
	must(t, c.client(t, harness.Admin).Create(t.Context(), r, client.DryRunAll))
}

func TestDefaults(t *testing.T) {
	c := newNamespace(t)
	r := object(t, c.namespace, "Rollout", "spec:\n  workloadRef: {kind: Deployment, name: web}\n  steps: [{weight: 1, gates: {approvals: [{name: a}]}}]")
	must(t, c.client(t, harness.Admin).Create(t.Context(), r, client.DryRunAll))
	want := map[string]any{
		"workloadRef": map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
		"steps": []any{map[string]any{"weight": int64(1), "gates": map[string]any{"approvals": []any{map[string]any{
			"name": "a", "minApprovals": int64(1), "changeAuthor": "Allowed", "ask": "AfterOtherGates", "onTimeout": "Hold",
		}}}}},
	}
	if diff := cmp.Diff(want, r.Object["spec"]); diff != "" {
		t.Errorf("fields that a class of Rollouts may default one day must not be filled in by the schema: -want, +got:\n%s", diff)
	}
}

func TestWhatMayChange(t *testing.T) {
	c := newNamespace(t)
	admin := c.client(t, harness.Admin)

	cases := map[string]struct {
		reason string
		stage  v1alpha1.Stage
		change func(*v1alpha1.Rollout)
		want   string
	}{
		"Workload": {"another workload is another Rollout", "",
			func(r *v1alpha1.Rollout) { r.Spec.WorkloadRef.Name = "other" }, "workloadRef is immutable: delete this Rollout and create another"},
		"TrafficIdle": {"between releases routes may change", v1alpha1.StageIdle,
			func(r *v1alpha1.Rollout) { r.Spec.Traffic.RouteRefs[0].Name = "other" }, ""},
		"TrafficNew": {"before the first release, too", "",
			func(r *v1alpha1.Rollout) { r.Spec.Traffic = nil }, ""},
		"TrafficAborted": {"nothing is exposed after a rollback", v1alpha1.StageAborted,
			func(r *v1alpha1.Rollout) { r.Spec.Traffic = nil }, ""},
		"TrafficProgressing": {"a split must be taken back where it was made", v1alpha1.StageProgressing,
			func(r *v1alpha1.Rollout) { r.Spec.Traffic.RouteRefs[0].Name = "other" }, "spec.traffic may not change while a release is under way"},
		"TrafficGone": {"nor may it go", v1alpha1.StagePromoting,
			func(r *v1alpha1.Rollout) { r.Spec.Traffic = nil }, "spec.traffic may not change while a release is under way"},
		"TrafficRollingBack": {"least of all while it is taken back", v1alpha1.StageRollingBack,
			func(r *v1alpha1.Rollout) { r.Spec.Traffic.OtherCallers = v1alpha1.OtherCallersShared }, "spec.traffic may not change while a release is under way"},
		"StepsProgressing": {"steps may change at any time", v1alpha1.StageProgressing,
			func(r *v1alpha1.Rollout) {
				w := intstr.FromInt32(5)
				r.Spec.Steps = []v1alpha1.Step{{Weight: &w}}
			}, ""},
		"PauseProgressing": {"and so may the switch", v1alpha1.StageProgressing,
			func(r *v1alpha1.Rollout) { r.Spec.Paused = true }, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := &v1alpha1.Rollout{
				ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, GenerateName: "r-"},
				Spec: v1alpha1.RolloutSpec{
					WorkloadRef: v1alpha1.WorkloadReference{Kind: "Deployment", Name: "web"},
					Traffic:     &v1alpha1.Traffic{RouteRefs: []v1alpha1.RouteReference{{Kind: "HTTPRoute", Name: "web"}}},
				},
			}
			must(t, admin.Create(t.Context(), r))
			if tc.stage != "" {
				r.Status.Release.Stage = tc.stage
				must(t, admin.Status().Update(t.Context(), r))
			}
			tc.change(r)
			err := admin.Update(t.Context(), r)
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("%s: want it accepted, got %v", tc.reason, err)
			case tc.want != "" && (!apierrors.IsInvalid(err) || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("%s: want %q in the error, got %v", tc.reason, tc.want, err)
			}
		})
	}
}
