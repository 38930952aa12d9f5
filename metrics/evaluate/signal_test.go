package evaluate

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics"
	"github.com/weir-dev/weir/metrics/promql"
)

// proxies are a source of what the proxies of callers have counted.
type proxies struct {
	metrics.Source
	series []metrics.Series
	asked  []string
}

func (p *proxies) Counters(_ context.Context, selector v1alpha1.Selector, owners metrics.Owners, start, end time.Time) ([]metrics.Series, error) {
	p.asked = append(p.asked, string(selector))
	s, err := promql.ParseSelector(string(selector))
	if err != nil {
		return nil, err
	}
	var found []metrics.Series
	for _, one := range p.series {
		one.Owner = one.Labels[owners.Label]
		if !s.Matches(one.Labels) || one.Labels[owners.NamespaceLabel] != owners.Namespace || !slices.Contains(owners.Names, one.Owner) {
			continue
		}
		one.Samples = slices.DeleteFunc(slices.Clone(one.Samples), func(s metrics.Sample) bool { return !s.Time.After(start) || s.Time.After(end) })
		if len(one.Samples) > 0 {
			found = append(found, one)
		}
	}
	return found, nil
}

// meshCounters are those of a mesh that counts HTTP and gRPC by names of their own.
var meshCounters = &metrics.RequestCounters{
	Total:        []v1alpha1.Selector{`http_answers_total{side="caller"}`, "grpc_answers_total"},
	Failed:       []v1alpha1.Selector{`http_answers_total{side="caller",code=~"5.."}`, `http_answers_total{side="caller",flags!=""}`, `grpc_answers_total{status="INTERNAL"}`},
	ServiceLabel: "backend", NamespaceLabel: "backend_namespace",
}

// sent is a series of what a caller's proxy sent to a Service, with further labels as
// name=value: pairs of seconds and values, one each 15 seconds from the first on.
func sent(caller, service, labels string, from float64, values ...float64) metrics.Series {
	s := metrics.Series{Labels: map[string]string{"__name__": "http_answers_total", "side": "caller", "backend_namespace": "shop", "backend": service, "instance": caller}}
	for _, l := range strings.Fields(labels) {
		name, value, _ := strings.Cut(l, "=")
		s.Labels[name] = value
	}
	for i, v := range values {
		s.Samples = append(s.Samples, metrics.Sample{Time: after(from + 15*float64(i)), Value: v})
	}
	return s
}

func signal() v1alpha1.Metric {
	return v1alpha1.Metric{Name: "errors", Type: v1alpha1.MetricRatio, Ratio: &v1alpha1.RatioMetric{Signal: v1alpha1.SignalRequestErrors, MaxRatio: "1%"}}
}

// TestSignal: what the proxies of callers have counted, by Service.
func TestSignal(t *testing.T) {
	stable := sent("a", "web", "code=200", -15, 5000, 5500, 6000, 6500, 7000)
	earlier := sent("a", "web", "code=200", -20, 5000, 5500, 6000, 6500) // Scraped beside the start.
	good := sent("a", "web-canary", "code=200", 15, 100, 300, 500)
	cases := map[string]struct {
		reason   string
		series   []metrics.Series
		unknown  bool
		services []string
		at       float64
		value    v1alpha1.VerdictValue
		word     string
		message  string
		canary   string
		stable   string
	}{
		"Good":      {reason: "all answers are good", series: []metrics.Series{stable, good}, at: 46, value: pass, word: ReasonMetricsPassed, canary: "0/500"},
		"Bad":       {reason: "answers with 5xx", series: []metrics.Series{stable, good, sent("a", "web-canary", "code=503", 15, 10, 30, 50)}, at: 46, value: fail, word: ReasonLimitExceeded, message: "50 bad of 550", canary: "50/550", stable: "0/1500"},
		"Flag":      {reason: "a request that did not get through fails whatever its code, and once", series: []metrics.Series{stable, good, sent("a", "web-canary", "code=503 flags=UF", 15, 10, 30, 50)}, at: 46, value: fail, word: ReasonLimitExceeded, message: "50 bad of 550"},
		"GRPC":      {reason: "calls are counted by another name", series: []metrics.Series{stable, good, sent("a", "web-canary", "__name__=grpc_answers_total status=INTERNAL", 15, 10, 30, 50)}, at: 46, value: fail, word: ReasonLimitExceeded, message: "50 bad of 550"},
		"Stable":    {reason: "errors of the stable version are not the canary's", series: []metrics.Series{good, sent("a", "web", "code=500", -15, 0, 500, 1000, 1500)}, at: 46, value: pass, word: ReasonMetricsPassed, canary: "0/500"},
		"Others":    {reason: "nor are those of a Service of that name in another namespace", series: []metrics.Series{stable, good, sent("a", "web-canary", "code=500 backend_namespace=bank", 15, 100, 200, 300)}, at: 46, value: pass, word: ReasonMetricsPassed, canary: "0/500"},
		"Before":    {reason: "what a proxy counted in the release before is not of this one", series: []metrics.Series{stable, sent("a", "web-canary", "code=500", -15, 900, 900, 900, 900), sent("a", "web-canary", "code=200", -15, 100, 100, 300, 600)}, at: 46, value: pass, word: ReasonMetricsPassed, canary: "0/500"},
		"Across":    {reason: "nor is what it counted between the last scrape before this release and the first one in it", series: []metrics.Series{earlier, sent("a", "web-canary", "code=500", -20, 900, 900, 960, 960), sent("a", "web-canary", "code=200", -20, 100, 100, 110, 610)}, at: 46, value: pass, word: ReasonMetricsPassed, canary: "0/500"},
		"AcrossNew": {reason: "nor when the series is first seen in that scrape", series: []metrics.Series{earlier, sent("a", "web-canary", "code=500", 10, 60, 60), sent("a", "web-canary", "code=200", 10, 10, 510)}, at: 46, value: pass, word: ReasonMetricsPassed, canary: "0/500"},
		"Restart":   {reason: "a caller that begins anew has counted since", series: []metrics.Series{earlier, sent("a", "web-canary", "code=500", -20, 900, 900, 960, 90), sent("a", "web-canary", "code=200", -20, 100, 100, 110, 110)}, at: 46, value: fail, word: ReasonLimitExceeded, message: "90 bad of 90"},
		"NewOne":    {reason: "nor is that of a proxy that is scraped from now on only, which may be old", series: []metrics.Series{stable, good, sent("b", "web-canary", "code=500", 30, 900, 900), sent("b", "web", "code=200", 30, 900, 900)}, at: 46, value: pass, word: ReasonMetricsPassed, canary: "0/500"},
		"NewJob":    {reason: "nor that of one that a second job begins to scrape: its series are new, its counters are not", series: []metrics.Series{stable, good, sent("a", "web", "job=second code=200", 30, 6500, 7000), sent("a", "web-canary", "job=second code=500", 30, 900, 900)}, at: 46, value: pass, word: ReasonMetricsPassed, canary: "0/500"},
		"Callers":   {reason: "the callers are one", series: []metrics.Series{stable, good, sent("b", "web", "code=200", 0, 10, 20, 30, 40), sent("b", "web-canary", "code=500", 30, 25, 50)}, at: 46, value: fail, word: ReasonLimitExceeded, message: "50 bad of 550", canary: "50/550"},
		"Idle":      {reason: "the proxies are scraped, and sent nothing to the canary", series: []metrics.Series{stable}, at: 46, value: inconclusive, word: ReasonNoRequests, message: "no request yet", canary: "0/0"},
		"NotYet":    {reason: "no proxy has been scraped yet", at: 46, value: inconclusive, word: ReasonNotSeenYet, message: "nothing that carries the traffic has counted a request yet"},
		"Nothing": {
			reason: "no proxy is scraped: the message says what was asked for", at: 200, value: noData, word: string(metrics.NoSeries),
			message: `no series http_answers_total{side="caller",backend_namespace="shop",backend=~"web|web-canary"} or grpc_answers_total{backend_namespace="shop",backend=~"web|web-canary"}: are the proxies`,
		},
		"Stale":     {reason: "the proxies are no longer scraped", series: []metrics.Series{stable, good}, at: 200, value: noData, word: string(metrics.StaleData), message: "2m35s old"},
		"StaleFail": {reason: "evidence stands", series: []metrics.Series{stable, sent("a", "web-canary", "code=500", 15, 50, 90)}, at: 200, value: fail, word: ReasonLimitExceeded},
		"Unknown":   {reason: "who carries the traffic is not known yet", unknown: true, at: 46, value: noData, word: string(metrics.NoSeries), message: "signal RequestErrors: nothing that counts requests has taken the routes yet"},
		"NoService": {reason: "no Service tells the canary's requests", services: []string{}, at: 46, value: inconclusive, word: ReasonNotSeenYet, message: "the canary has no Service yet"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p := &proxies{series: tc.series}
			request := (&world{}).request(tc.at, template(signal()))
			request.StableServices, request.CanaryServices, request.Requests = []string{"web"}, []string{"web-canary"}, meshCounters
			if tc.unknown {
				request.Requests = nil
			}
			if tc.services != nil {
				request.CanaryServices = tc.services
			}
			got, err := New(func(context.Context, string) (metrics.Source, error) { return p, nil }).Evaluate(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			if got.Value != tc.value || got.Reason != tc.word || !strings.Contains(got.Message, tc.message) {
				t.Errorf("%s: got %s, %s %q, want %s, %s %q", tc.reason, got.Value, got.Reason, got.Message, tc.value, tc.word, tc.message)
			}
			if m := got.Metrics[0]; tc.canary != "" && m.Canary != tc.canary || tc.stable != "" && m.Stable != tc.stable {
				t.Errorf("%s: seen of the canary %s, of stable %s; want %s and %s", tc.reason, m.Canary, m.Stable, tc.canary, tc.stable)
			}
			for _, s := range p.asked {
				if !slices.Contains(meshCounters.Total, v1alpha1.Selector(s)) {
					t.Errorf("%s: %s was asked for: bad requests are among the total", tc.reason, s)
				}
			}
		})
	}
}

// TestSignalIsReadOnce: one that has looked before comes to the verdict of one that
// begins then, and each look reads what is new.
func TestSignalIsReadOnce(t *testing.T) {
	var stable, good, bad []float64
	for i := range 200 {
		stable, good, bad = append(stable, 1000*float64(i)), append(good, 100*float64(i)), append(bad, float64(i/10))
	}
	p := &proxies{series: []metrics.Series{
		sent("a", "web", "code=200", -15, stable...), sent("a", "web-canary", "code=200", 15, good...),
		sent("a", "web-canary", "code=500", 30, bad...), sent("b", "web-canary", "code=500", 100, 700, 700, 700),
	}}
	evaluator := func() *Evaluator { return New(func(context.Context, string) (metrics.Source, error) { return p, nil }) }
	e := evaluator()
	for at := 20.0; at < 2900; at += 137 {
		request := (&world{}).request(at, template(signal()))
		request.StableServices, request.CanaryServices, request.Requests = []string{"web"}, []string{"web-canary"}, meshCounters
		got, err := e.Evaluate(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		want, err := evaluator().Evaluate(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("at %v s: the one that begins then, and the one that has looked before:\n%s", at, diff)
		}
	}
}
