package metrics

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/sandbox/load"
	"github.com/weir-dev/weir/metrics"
	"github.com/weir-dev/weir/metrics/evaluate"
	"github.com/weir-dev/weir/metrics/judge"
)

// evidence is when what the clients of a pod had seen was enough for a failure.
func evidence(t *testing.T, log *load.Log, start time.Time) time.Time {
	t.Helper()
	limit := judge.Limit{Max: 0.01, Alpha: 0.01, Beta: 0.05}
	var bad, total []judge.Increase
	for _, r := range log.Responses() {
		if !r.At.After(start) {
			continue
		}
		total = append(total, judge.Increase{Time: r.At, Count: 1})
		if !r.Bad() {
			continue
		}
		bad = append(bad, judge.Increase{Time: r.At, Count: 1})
		if limit.Find(judge.Count(start, bad, total), start).Verdict == v1alpha1.VerdictFail {
			return r.At
		}
	}
	t.Fatalf("the clients themselves saw no evidence: %d bad of %d", len(bad), len(total))
	return time.Time{}
}

// TestBadVersionFails: five percent of errors against a limit of one percent are
// found within three scrapes of the moment at which the clients had seen enough;
// another evaluator finds the same at the same time.
func TestBadVersionFails(t *testing.T) {
	address := runPod(t, "bad", map[string]string{"ERROR_RATE": "0.05"})
	r := request([]string{"bad"}, errorRate("1%"))
	log := startLoad(t, "bad", "http://"+address+":8080/", 50)
	verdict, found := watch(t, newEvaluator(t), r, "a failure", is(v1alpha1.VerdictFail))

	must(t, log.WaitCovered(t.Context(), found))
	enough := evidence(t, log, r.Start)
	t.Logf("evidence %s after the exposure, failure %s later: %s", enough.Sub(r.Start), found.Sub(enough), verdict.Message)
	if late := found.Sub(enough); late > 3*scrape {
		t.Errorf("found %s after the evidence was there, want at most three scrapes, %s", late, 3*scrape)
	}
	if verdict.Reason != evaluate.ReasonLimitExceeded || !strings.Contains(verdict.Message, "limit 1%") {
		t.Errorf("got %s %q", verdict.Reason, verdict.Message)
	}

	r.Now = found
	first, err := newEvaluator(t).Evaluate(t.Context(), r)
	must(t, err)
	second, err := newEvaluator(t).Evaluate(t.Context(), r)
	must(t, err)
	if diff := cmp.Diff(first, second); diff != "" || first.Value != v1alpha1.VerdictFail {
		t.Errorf("a restarted controller must see the same: got %s\n%s", first.Value, diff)
	}
}

// TestGoodVersionPasses: it passes its first step, and has to pass the next one
// anew; its counts are those of its clients.
func TestGoodVersionPasses(t *testing.T) {
	address := runPod(t, "good", nil)
	r := request([]string{"good"}, errorRate("1%"), condition(
		`sum(rate(http_requests_total{namespace="{{namespace}}",pod=~"{{canaryPods}}",code=~"5.."}[10s]) or vector(0)) / sum(rate(http_requests_total{namespace="{{namespace}}",pod=~"{{canaryPods}}"}[10s]))`, "0.01"))
	e := newEvaluator(t)
	log := startLoad(t, "good", "http://"+address+":8080/", 50)
	verdict, _ := watch(t, e, r, "a pass", func(v metrics.Verdict) bool { return v.Step == v1alpha1.VerdictPass })
	if verdict.Value != v1alpha1.VerdictPass || verdict.Reason != evaluate.ReasonMetricsPassed {
		t.Errorf("got %s, %s", verdict.Value, verdict.Reason)
	}
	for _, m := range verdict.Metrics {
		t.Logf("%s: %s, canary %s: %s", m.Name, m.Verdict, m.Canary, m.Message)
	}

	r.StepStart = time.Now()
	if next, _ := watch(t, e, r, "the next step", func(v metrics.Verdict) bool { return v.Step != "" }); next.Step == v1alpha1.VerdictPass {
		t.Errorf("a step that has just begun passes: %s", next.Message)
	}
	watch(t, e, r, "the next step to pass", func(v metrics.Verdict) bool { return v.Step == v1alpha1.VerdictPass })

	// Up to the last scrape, the counter has what the clients got.
	r.StepStart = r.Start
	last, at := watch(t, e, r, "the counts", is(v1alpha1.VerdictPass))
	must(t, log.WaitCovered(t.Context(), at))
	var sent, early int
	for _, response := range log.Responses() {
		if response.At.Before(at) {
			sent++
		}
		if response.At.Before(at.Add(-2 * scrape)) {
			early++
		}
	}
	if total := totalOf(t, last); total > sent || total < early {
		t.Errorf("counted %d requests, the clients had %d answers then and %d two scrapes before", total, sent, early)
	}
}

// totalOf is the number of requests of the first metric.
func totalOf(t *testing.T, v metrics.Verdict) int {
	t.Helper()
	_, text, _ := strings.Cut(v.Metrics[0].Canary, "/")
	total := 0
	for _, digit := range text {
		total = total*10 + int(digit-'0')
	}
	return total
}

// TestIdleCanary: a canary without any request neither passes nor fails.
func TestIdleCanary(t *testing.T) {
	runPod(t, "idle", nil)
	r := request([]string{"idle"}, errorRate("1%"))
	verdict, _ := watch(t, newEvaluator(t), r, "an inconclusive verdict", func(v metrics.Verdict) bool { return v.Reason == evaluate.ReasonNoRequests })
	if verdict.Value != v1alpha1.VerdictInconclusive || verdict.Step != v1alpha1.VerdictInconclusive {
		t.Errorf("got %s, step %s: %s", verdict.Value, verdict.Step, verdict.Message)
	}
}

// TestRestartedContainer: a counter that begins anew loses no evidence.
func TestRestartedContainer(t *testing.T) {
	address := runPod(t, "restarting", map[string]string{"CRASH_AFTER": "8s", "EXIT_CODE": "1"})
	r := request([]string{"restarting"}, errorRate("50%"))
	startLoad(t, "restarting", "http://"+address+":8080/", 50)
	e := newEvaluator(t)
	most := 0
	watch(t, e, r, "counts beyond one life", func(v metrics.Verdict) bool {
		total := totalOf(t, v)
		if total < most {
			t.Errorf("the count fell from %d to %d", most, total)
		}
		most = max(most, total)
		// One life of 8 seconds serves 400 requests at most.
		return most > 600
	})
}

// TestConditions: what a query may give besides a number, as a real server gives
// it.
func TestConditions(t *testing.T) {
	address := runPod(t, "queried", nil)
	runPod(t, "queried-2", nil)
	pods := []string{"queried", "queried-2"}
	startLoad(t, "queried", "http://"+address+":8080/", 20)
	cases := map[string]struct {
		reason string
		query  string
		limit  string
		value  v1alpha1.VerdictValue
		word   string
	}{
		"Good":     {reason: "five looks below the limit", query: `max(up{pod=~"{{canaryPods}}"})`, limit: "1", value: v1alpha1.VerdictPass, word: evaluate.ReasonMetricsPassed},
		"Bad":      {reason: "three looks above it", query: `max(up{pod=~"{{canaryPods}}"})`, limit: "0.5", value: v1alpha1.VerdictFail, word: evaluate.ReasonConditionFailed},
		"Scalar":   {reason: "a scalar is a number", query: `1 + 1`, limit: "5", value: v1alpha1.VerdictPass, word: evaluate.ReasonMetricsPassed},
		"Several":  {reason: "one series for each pod", query: `up{pod=~"{{canaryPods}}"}`, limit: "1", value: v1alpha1.VerdictNoData, word: string(metrics.SeveralSeries)},
		"NaN":      {reason: "nothing by nothing", query: `max(up{pod=~"{{canaryPods}}"}) * 0 / 0`, limit: "1", value: v1alpha1.VerdictNoData, word: string(metrics.NotANumber)},
		"Inf":      {reason: "something by nothing", query: `max(up{pod=~"{{canaryPods}}"}) / 0`, limit: "1", value: v1alpha1.VerdictNoData, word: string(metrics.NotANumber)},
		"Nothing":  {reason: "a name that does not exist, once the first samples should be there", query: `max(misnamed{pod=~"{{canaryPods}}"})`, limit: "1", value: v1alpha1.VerdictInconclusive, word: evaluate.ReasonNotSeenYet},
		"BadQuery": {reason: "what only the server finds", query: `up{pod=~"{{canaryPods}}"} * on () up{pod=~"{{canaryPods}}"}`, limit: "1", value: v1alpha1.VerdictNoData, word: string(metrics.BadQuery)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := request(pods, condition(tc.query, tc.limit))
			verdict, _ := watch(t, newEvaluator(t), r, tc.reason, func(v metrics.Verdict) bool { return v.Reason == tc.word })
			if verdict.Value != tc.value {
				t.Errorf("%s: got %s: %s", tc.reason, verdict.Value, verdict.Message)
			}
		})
	}
}

// TestPrometheusGoesAway: while the server hangs, or is gone, data are missing;
// when it is back, so are they, with all that was counted before.
func TestPrometheusGoesAway(t *testing.T) {
	address := runPod(t, "lasting", nil)
	startLoad(t, "lasting", "http://"+address+":8080/", 50)
	e := newEvaluator(t)
	r := request([]string{"lasting"}, errorRate("1%"))
	before, _ := watch(t, e, r, "a pass", is(v1alpha1.VerdictPass))

	for _, trouble := range []struct{ begin, end, text string }{
		{begin: "pause", end: "resume", text: "no answer within"},
		{begin: "kill", end: "start", text: "connection"},
	} {
		run(t, trouble.begin, "prometheus")
		began := time.Now().Truncate(time.Millisecond) // As the query API counts.
		gone, _ := watch(t, e, r, "missing data", is(v1alpha1.VerdictNoData))
		if gone.Step != v1alpha1.VerdictNoData || gone.Reason != string(metrics.SourceUnavailable) || gone.MissingSince.Before(began) {
			t.Errorf("%s: got step %s, %s %q, missing since %s", trouble.begin, gone.Step, gone.Reason, gone.Message, gone.MissingSince)
		}
		t.Logf("%s: %s", trouble.begin, gone.Message)
		run(t, trouble.end, "prometheus")
		back, _ := watch(t, e, r, "a pass again", is(v1alpha1.VerdictPass))
		if totalOf(t, back) < totalOf(t, before) {
			t.Errorf("%s: counted %d before and %d after", trouble.begin, totalOf(t, before), totalOf(t, back))
		}
	}
}

func run(t *testing.T, args ...string) {
	t.Helper()
	_, err := sandbox.Run(t.Context(), args...)
	must(t, err)
}

// TestMeasuredShare: the share at the gateway is that of the route's weights,
// and is told from another.
func TestMeasuredShare(t *testing.T) {
	backends := []string{"share", "share-canary"}
	route := &gatewayv1.HTTPRoute{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "share"},
		Spec: gatewayv1.HTTPRouteSpec{
			CommonRouteSpec: gatewayv1.CommonRouteSpec{ParentRefs: []gatewayv1.ParentReference{{Namespace: ptr.To(gatewayv1.Namespace("default")), Name: "sandbox"}}},
			Hostnames:       []gatewayv1.Hostname{"share.example.com"},
			Rules:           []gatewayv1.HTTPRouteRule{{}},
		},
	}
	for i, name := range backends {
		runPod(t, name, nil)
		service := &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			Spec: corev1.ServiceSpec{
				Selector: map[string]string{"app": name},
				Ports:    []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
			},
		}
		must(t, admin.Create(t.Context(), service))
		t.Cleanup(func() { _ = admin.Delete(context.WithoutCancel(t.Context()), service) })
		route.Spec.Rules[0].BackendRefs = append(route.Spec.Rules[0].BackendRefs, gatewayv1.HTTPBackendRef{BackendRef: gatewayv1.BackendRef{
			BackendObjectReference: gatewayv1.BackendObjectReference{Name: gatewayv1.ObjectName(name), Port: ptr.To[gatewayv1.PortNumber](80)},
			Weight:                 ptr.To([]int32{90, 10}[i]),
		}})
	}
	must(t, admin.Create(t.Context(), route))
	t.Cleanup(func() { _ = admin.Delete(context.WithoutCancel(t.Context()), route) })
	log := startLoad(t, "share", "http://10.0.0.3/", 100, "--host", "share.example.com")
	source := newSource(t)

	begin := time.Now()
	var share evaluate.Share
	for deadline := begin.Add(timeout); share.Total < 1000; {
		if time.Now().After(deadline) {
			t.Fatalf("only %v requests counted within %s", share.Total, timeout)
		}
		var ok bool
		var err error
		share, ok, err = evaluate.MeasureShare(t.Context(), source, namespace, backends[:1], backends[1:], begin, time.Now())
		if err != nil || !ok {
			t.Fatalf("got %t, %v", ok, err)
		}
		<-time.After(scrape)
	}
	t.Logf("%v of %v requests, %s", share.Canary, share.Total, v1alpha1.FormatWeight(share.Weight()))
	if !share.Consistent(1000) || share.Consistent(2000) || share.Consistent(500) {
		t.Errorf("%v of %v requests: plausible at 10 %%, not at 20 %% nor at 5 %%", share.Canary, share.Total)
	}
	must(t, log.Refresh())
	if answers := log.All().Total(); share.Total > float64(answers) {
		t.Errorf("counted %v requests, the clients had %d answers", share.Total, answers)
	}
}
