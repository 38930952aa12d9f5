package evaluate

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics"
)

// named is a metric under another name and in a role.
func named(m v1alpha1.Metric, name string, role v1alpha1.MetricRole) v1alpha1.Metric {
	m.Name, m.Role = name, role
	return m
}

func TestWorstVerdict(t *testing.T) {
	const required, advisory = v1alpha1.RoleRequired, v1alpha1.RoleAdvisory
	strict, lax, unknown := errorRate("1%"), errorRate("50%"), latency()
	unknown.Condition.Query = `nonsense{`
	early := latency()
	early.Condition.Interval = "1h"
	slow := latency()
	slow.Condition.OutOf = 100
	cases := map[string]struct {
		reason    string
		templates []metrics.Template
		want      v1alpha1.VerdictValue
		word      string
		message   string
		names     []string
	}{
		"NoTemplate":   {reason: "a list that is empty by mistake does not pass", want: noData, word: ReasonNoMetrics, message: "no metric"},
		"AllPass":      {reason: "all pass", templates: []metrics.Template{template(named(lax, "a", required), named(latency(), "b", ""))}, want: pass, word: ReasonMetricsPassed, message: "a: 100 bad of 2000 (5.0%), limit 50%; b: 0.2, bad is > 0.5", names: []string{"a Pass", "b Pass"}},
		"OneFails":     {reason: "one failure is enough, and is what the message is about", templates: []metrics.Template{template(named(lax, "a", required), named(strict, "b", required))}, want: fail, word: ReasonLimitExceeded, message: "b: 100 bad of 2000 (5.0%), limit 1%", names: []string{"a Pass", "b Fail"}},
		"FailOverData": {reason: "missing data of one do not hide the failure of another", templates: []metrics.Template{template(named(unknown, "a", required), named(strict, "b", required))}, want: fail, word: ReasonLimitExceeded, message: "b: ", names: []string{"a NoData", "b Fail"}},
		"DataOverFew":  {reason: "missing data are worse than few", templates: []metrics.Template{template(named(early, "a", required), named(unknown, "b", required))}, want: noData, word: string(metrics.BadQuery), message: "b: query: ", names: []string{"a Inconclusive", "b NoData"}},
		"FewOverNone":  {reason: "few data are worse than no failure", templates: []metrics.Template{template(named(slow, "a", required), named(early, "b", required))}, want: inconclusive, word: ReasonFewLooks, names: []string{"a NoFailure", "b Inconclusive"}},
		"NoneOverPass": {reason: "no failure is less than a pass", templates: []metrics.Template{template(named(lax, "a", required), named(slow, "b", required))}, want: noFailure, word: ReasonNotProven, message: "b: ", names: []string{"a Pass", "b NoFailure"}},
		"Advisory":     {reason: "advisory metrics are shown and do not count", templates: []metrics.Template{template(named(lax, "a", required), named(strict, "b", advisory), named(unknown, "c", advisory))}, want: pass, word: ReasonMetricsPassed, message: "a: 100 bad of 2000 (5.0%), limit 50%", names: []string{"a Pass", "b Fail", "c NoData"}},
		"AllAdvisory":  {reason: "nothing is required", templates: []metrics.Template{template(named(strict, "a", advisory))}, want: pass, word: ReasonMetricsPassed, message: "all are advisory", names: []string{"a Fail"}},
		"TwoTemplates": {reason: "metrics of the same name are told apart", templates: []metrics.Template{template(named(lax, "a", required)), {Ref: "ClusterAnalysisTemplate/x", Spec: template(named(strict, "a", required)).Spec}}, want: fail, word: ReasonLimitExceeded, message: "ClusterAnalysisTemplate/x/a: ", names: []string{"AnalysisTemplate/golden/a Pass", "ClusterAnalysisTemplate/x/a Fail"}},
		"Untyped":      {reason: "a metric of a type that is not known", templates: []metrics.Template{template(v1alpha1.Metric{Name: "a", Type: "Latency"})}, want: noData, word: string(metrics.BadQuery), names: []string{"a NoData"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := world{scrape: 10, value: always(0.2), pods: []pod{steady("canary-1", 0, 10, 0.05)}}
			got, err := w.evaluator().Evaluate(t.Context(), w.request(200, tc.templates...))
			if err != nil {
				t.Fatal(err)
			}
			if got.Value != tc.want || got.Step != tc.want || got.Reason != tc.word || !strings.HasPrefix(got.Message, tc.message) && tc.message != "no metric" && tc.message != "all are advisory" || !strings.Contains(got.Message, tc.message) {
				t.Errorf("%s: got %s, step %s, %s %q, want %s, %s %q", tc.reason, got.Value, got.Step, got.Reason, got.Message, tc.want, tc.word, tc.message)
			}
			var names []string
			for _, m := range got.Metrics {
				names = append(names, m.Name+" "+string(m.Verdict))
			}
			if diff := cmp.Diff(tc.names, names); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestSourceTrouble: whatever goes wrong with the source is missing data, asked
// for once a look, and over when the source is back.
func TestSourceTrouble(t *testing.T) {
	down := &metrics.Error{Failure: metrics.SourceUnavailable, Message: "the source is not available: connection refused"}
	refused := &metrics.Error{Failure: metrics.BadQuery, Message: "the source refuses the query: parse error"}
	cases := map[string]struct {
		reason  string
		err     error
		after   int
		word    metrics.Failure
		queries int
	}{
		"Down":    {reason: "a source that is down is not asked again in the same look", err: down, word: metrics.SourceUnavailable, queries: 1},
		"Between": {reason: "half of a look is none", err: down, after: 1, word: metrics.SourceUnavailable, queries: 2},
		"Refuses": {reason: "a query that is refused says nothing of the others", err: refused, word: metrics.BadQuery, queries: 3},
		"Unknown": {reason: "an error of another kind", err: errors.New("oops"), word: metrics.SourceUnavailable, queries: 3},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := world{scrape: 10, value: always(0.2), pods: []pod{steady("canary-1", 0, 10, 0.05), idle("canary-2")}, err: tc.err, after: tc.after}
			r := w.request(200, template(named(errorRate("1%"), "a", ""), named(latency(), "b", ""), named(errorRate("2%"), "c", "")))
			got, err := w.evaluator().Evaluate(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if got.Value != noData || got.Step != noData || got.Reason != string(tc.word) || len(w.queries) != tc.queries {
				t.Errorf("%s: got %s, %s after %d queries, want NoData, %s after %d", tc.reason, got.Value, got.Reason, len(w.queries), tc.word, tc.queries)
			}
			if !got.MissingSince.Equal(r.Now) || !got.NextLook.Equal(r.Now.Add(retry)) {
				t.Errorf("%s: missing since %s, next look %s", tc.reason, got.MissingSince, got.NextLook)
			}
			w.err = nil
			if got, err = w.evaluator().Evaluate(t.Context(), r); err != nil || got.Value != fail {
				t.Errorf("%s: and back: got %s, %v, want Fail", tc.reason, got.Value, err)
			}
		})
	}
}

func TestSourceLookup(t *testing.T) {
	var asked []string
	e := New(func(_ context.Context, name string) (metrics.Source, error) {
		asked = append(asked, name)
		return nil, errors.New("MetricSource main does not exist: create it, or name another one in metricSourceName")
	})
	tmpl := template(named(errorRate("1%"), "a", ""), named(latency(), "b", ""))
	tmpl.Spec.MetricSourceName = "main"
	got, err := e.Evaluate(t.Context(), (&world{}).request(100, tmpl))
	if err != nil {
		t.Fatal(err)
	}
	if got.Value != noData || !strings.Contains(got.Message, "MetricSource main does not exist") {
		t.Errorf("got %s %q", got.Value, got.Message)
	}
	if diff := cmp.Diff([]string{"main", "main"}, asked); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}

// TestCancelled: a look that is called off says nothing; one that takes too long
// is missing data.
func TestCancelled(t *testing.T) {
	w := world{scrape: 10, err: context.Canceled, pods: []pod{steady("canary-1", 0, 10, 0.05)}}
	r := w.request(100, template(errorRate("1%")))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := w.evaluator().Evaluate(ctx, r); !errors.Is(err, context.Canceled) {
		t.Errorf("called off: got %s, %v", got.Value, err)
	}
	ctx, cancel = context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	w.err = context.DeadlineExceeded
	if got, err := w.evaluator().Evaluate(ctx, r); err != nil || got.Value != noData {
		t.Errorf("out of time: got %s, %v, want NoData", got.Value, err)
	}
}

// TestAlphaIsShared: the more Ratio metrics may fail a release, the more evidence
// each of them needs.
func TestAlphaIsShared(t *testing.T) {
	firstFail := func(others int) float64 {
		metrics := []v1alpha1.Metric{errorRate("1%")}
		for i := range others {
			metrics = append(metrics, named(errorRate("90%"), strings.Repeat("x", i+1), ""))
		}
		w := world{scrape: 1, pods: []pod{steady("canary-1", 0, 10, 0.05)}}
		for at := 1.0; at < 300; at++ {
			got, err := w.evaluator().Evaluate(t.Context(), w.request(at, template(metrics...)))
			if err != nil {
				t.Fatal(err)
			}
			if got.Value == fail {
				return at
			}
		}
		return 300
	}
	if one, ten := firstFail(0), firstFail(9); one >= ten || ten > 2*one {
		t.Errorf("found after %v s alone, after %v s among ten: want a little later", one, ten)
	}
}

func TestBounded(t *testing.T) {
	cases := map[string]struct{ reason, text, want string }{
		"Short":     {reason: "what fits stays", text: "abc", want: "abc"},
		"Exact":     {reason: "to the last byte", text: "abcdefghij", want: "abcdefghij"},
		"Long":      {reason: "what does not is cut", text: "abcdefghijk", want: "abcdefg..."},
		"Character": {reason: "between characters", text: "abcdef\u20acghij", want: "abcdef..."},
		"Control":   {reason: "nothing that moves a cursor", text: "a\x1b[1m\nb", want: "a [1m b"},
		"Broken":    {reason: "nothing that is no text", text: "a\xff\xfeb", want: "a b"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := bounded(tc.text, 10); got != tc.want {
				t.Errorf("%s: got %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}

func TestPercent(t *testing.T) {
	for share, want := range map[float64]string{0: "0%", 1: "100%", 0.123: "12%", 0.05: "5.0%", 0.0013: "0.13%", 0.00012: "0.012%", 1.0 / 3: "33%"} {
		if got := percent(share); got != want {
			t.Errorf("%v: got %s, want %s", share, got, want)
		}
	}
}
