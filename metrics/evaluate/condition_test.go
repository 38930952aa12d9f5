package evaluate

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics"
)

// always gives the same value at each look.
func always(v float64) func(float64) metrics.Value {
	return func(float64) metrics.Value { return metrics.Value{Value: v} }
}

// lacks has no value, for a reason.
func lacks(why metrics.Failure) func(float64) metrics.Value {
	return func(float64) metrics.Value { return metrics.Value{Missing: why} }
}

// between gives one value in a span of seconds, else another.
func between(from, to float64, inside, outside func(float64) metrics.Value) func(float64) metrics.Value {
	return func(t float64) metrics.Value {
		if t >= from && t < to {
			return inside(t)
		}
		return outside(t)
	}
}

func TestCondition(t *testing.T) {
	good, bad := always(0.2), always(0.9)
	cases := map[string]struct {
		reason      string
		value       func(float64) metrics.Value
		stepStart   time.Time
		at          float64
		whole, step v1alpha1.VerdictValue
		word        string
		message     string
		canary      string
		since       time.Time
	}{
		"NoLook":        {reason: "the first look is one interval after the beginning", value: bad, stepStart: begin, at: 31, whole: inconclusive, step: inconclusive, word: ReasonFewLooks, message: "the first look is at 12:00:32 UTC"},
		"FirstGood":     {reason: "one look could not have failed", value: good, stepStart: begin, at: 32, whole: inconclusive, step: inconclusive, word: ReasonFewLooks, message: "0.2, bad is > 0.5, bad in 0 of the last 1 looks, 1 of 5 looks of this step", canary: "0.2"},
		"FirstBad":      {reason: "one bad look fails nothing", value: bad, stepStart: begin, at: 32, whole: inconclusive, step: inconclusive, word: ReasonFewLooks},
		"ThreeGood":     {reason: "three looks could have failed", value: good, stepStart: begin, at: 92, whole: noFailure, step: noFailure, word: ReasonNotProven},
		"ThreeBad":      {reason: "three bad ones do", value: bad, stepStart: begin, at: 92, whole: fail, step: fail, word: ReasonConditionFailed, message: "0.9, bad is > 0.5, bad in 3 of the last 3 looks (fails with 3 of 5)", canary: "0.9"},
		"FiveGood":      {reason: "five good ones pass", value: good, stepStart: begin, at: 152, whole: pass, step: pass, word: ReasonMetricsPassed},
		"TwoBadOfFive":  {reason: "two bad ones do not prevent that", value: between(60, 120, bad, good), stepStart: begin, at: 152, whole: pass, step: pass, word: ReasonMetricsPassed, message: "bad in 2 of the last 5 looks"},
		"ThreeApart":    {reason: "bad looks need not follow each other", value: func(s float64) metrics.Value { return metrics.Value{Value: float64(int(s/30)%2) * 0.9} }, stepStart: begin, at: 152, whole: fail, step: fail, word: ReasonConditionFailed},
		"AtLimit":       {reason: "the limit itself is not above it", value: always(0.5), stepStart: begin, at: 152, whole: pass, step: pass, word: ReasonMetricsPassed},
		"Healed":        {reason: "what was bad long ago is over", value: between(0, 130, bad, good), stepStart: begin, at: 272, whole: pass, step: pass, word: ReasonMetricsPassed},
		"NewStep":       {reason: "a step needs looks of its own", value: good, stepStart: after(200), at: 272, whole: pass, step: noFailure, word: ReasonNotProven, message: "3 of 5 looks of this step"},
		"NewStepBad":    {reason: "bad looks before the step count for a failure", value: between(0, 200, good, between(0, 260, bad, bad)), stepStart: after(230), at: 272, whole: fail, step: fail, word: ReasonConditionFailed},
		"LastOfStep":    {reason: "five looks since the step began", value: good, stepStart: after(120), at: 272, whole: pass, step: pass, word: ReasonMetricsPassed},
		"NotVerified":   {reason: "an exposure that is not verified", value: good, at: 272, whole: pass, step: inconclusive, word: ReasonStepNotVerified},
		"NoSeriesYet":   {reason: "a rate of a new pod takes a while", value: lacks(metrics.NoSeries), stepStart: begin, at: 92, whole: inconclusive, step: inconclusive, word: ReasonNotSeenYet, message: "no value yet"},
		"NoSeries":      {reason: "after that it is missing", value: lacks(metrics.NoSeries), stepStart: begin, at: 152, whole: noData, step: noData, word: string(metrics.NoSeries), message: "the query has no value", since: after(30)},
		"WentAway":      {reason: "since its first look without a value", value: between(0, 130, good, lacks(metrics.NoSeries)), stepStart: begin, at: 212, whole: noData, step: noData, word: string(metrics.NoSeries), since: after(150)},
		"Several":       {reason: "several series are said, with the remedy, from the first look", value: lacks(metrics.SeveralSeries), stepStart: begin, at: 32, whole: noData, step: noData, word: string(metrics.SeveralSeries), message: "put an aggregation such as sum() around it", since: after(30)},
		"NaN":           {reason: "a value that is no number", value: lacks(metrics.NotANumber), stepStart: begin, at: 32, whole: noData, step: noData, word: string(metrics.NotANumber), message: "divide by zero", since: after(30)},
		"Stale":         {reason: "values that rest on old scrapes", value: lacks(metrics.StaleData), stepStart: begin, at: 212, whole: noData, step: noData, word: string(metrics.StaleData), message: "the newest scrape is too old", since: after(90)},
		"GapThenGood":   {reason: "a gap is no good look", value: between(110, 130, lacks(metrics.NoSeries), good), stepStart: begin, at: 152, whole: noFailure, step: noFailure, word: ReasonNotProven, message: "4 of 5 looks"},
		"BadThenGap":    {reason: "bad looks before a gap keep their weight", value: between(0, 95, bad, lacks(metrics.NoSeries)), stepStart: begin, at: 122, whole: fail, step: fail, word: ReasonConditionFailed, canary: "no value"},
		"TwoBadThenGap": {reason: "and a gap adds nothing to them", value: between(0, 65, bad, lacks(metrics.NoSeries)), stepStart: begin, at: 152, whole: noData, step: noData, word: string(metrics.NoSeries), since: after(90)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := world{scrape: 15, value: tc.value, pods: []pod{steady("canary-1", 0, 1, 0)}}
			r := w.request(tc.at, template(latency()))
			r.StepStart = tc.stepStart
			got, err := w.evaluator().Evaluate(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if got.Value != tc.whole || got.Step != tc.step || got.Reason != tc.word || !strings.Contains(got.Message, tc.message) {
				t.Errorf("%s: got %s, step %s, %s %q, want %s, step %s, %s %q", tc.reason, got.Value, got.Step, got.Reason, got.Message, tc.whole, tc.step, tc.word, tc.message)
			}
			if tc.canary != "" && got.Metrics[0].Canary != tc.canary {
				t.Errorf("%s: got %q, want %q", tc.reason, got.Metrics[0].Canary, tc.canary)
			}
			if !got.MissingSince.Equal(tc.since) {
				t.Errorf("%s: data missing since %s, want %s", tc.reason, got.MissingSince, tc.since)
			}
			if len(w.queries) > 1 || len(w.queries) == 1 && w.queries[0] != `p99{pod=~"canary-1"}` {
				t.Errorf("%s: asked %q", tc.reason, w.queries)
			}
		})
	}
}

// TestConditionGrid: the same looks are made whenever they are asked for, and
// the next look is when the grid has one.
func TestConditionGrid(t *testing.T) {
	for at := 152.0; at < 182; at++ {
		// A value that changes each second shows at which time it was read.
		w := world{scrape: 15, value: func(s float64) metrics.Value { return metrics.Value{Value: s / 1000} }}
		got, err := w.evaluator().Evaluate(t.Context(), w.request(at, template(latency())))
		if err != nil {
			t.Fatal(err)
		}
		if got.Metrics[0].Canary != "0.15" {
			t.Errorf("at %v: the last look is the one at 150 s: got %s", at, got.Metrics[0].Canary)
		}
		if diff := cmp.Diff([]time.Time{after(182), after(150)}, []time.Time{got.NextLook, got.WindowEnd}); diff != "" {
			t.Errorf("at %v: next look and end of the data: -want, +got:\n%s", at, diff)
		}
	}
}

// TestConditionSettings: every operator, and looks as the metric wants them.
func TestConditionSettings(t *testing.T) {
	cases := map[string]struct {
		reason   string
		operator v1alpha1.Operator
		limit    string
		value    float64
		want     v1alpha1.VerdictValue
	}{
		"Less":           {reason: "below", operator: v1alpha1.LessThan, limit: "0.99", value: 0.98, want: fail},
		"LessNot":        {reason: "the limit itself is not below it", operator: v1alpha1.LessThan, limit: "0.99", value: 0.99, want: pass},
		"LessOrEqual":    {reason: "the limit included", operator: v1alpha1.LessThanOrEqual, limit: "0.99", value: 0.99, want: fail},
		"Greater":        {reason: "above", operator: v1alpha1.GreaterThan, limit: "-1", value: 0, want: fail},
		"GreaterOrEqual": {reason: "the limit included", operator: v1alpha1.GreaterThanOrEqual, limit: "1.50", value: 1.5, want: fail},
		"GreaterNot":     {reason: "below is not above", operator: v1alpha1.GreaterThanOrEqual, limit: "1.50", value: 1.49, want: pass},
		"Nonsense":       {reason: "an operator of another version", operator: "Equal", limit: "1", value: 1, want: noData},
		"NoNumber":       {reason: "a limit that is no number", operator: v1alpha1.LessThan, limit: "one", value: 1, want: noData},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			m := latency()
			m.Condition.FailWhen = v1alpha1.Limit{Operator: tc.operator, Value: tc.limit}
			m.Condition.Interval, m.Condition.FailAfter, m.Condition.OutOf = "10s", 1, 2
			w := world{scrape: 15, value: always(tc.value)}
			got, err := w.evaluator().Evaluate(t.Context(), w.request(22, template(m)))
			if err != nil {
				t.Fatal(err)
			}
			if got.Value != tc.want {
				t.Errorf("%s: %v with %s %s: got %s (%s), want %s", tc.reason, tc.value, tc.operator, tc.limit, got.Value, got.Message, tc.want)
			}
		})
	}
}

func TestArguments(t *testing.T) {
	route := "checkout"
	m := latency()
	m.Condition.Query = `p99{route="{{args.route}}",ns="{{namespace}}",wl="{{workload}}",a=~"{{stablePods}}",zone="{{args.zone}}"}`
	tmpl := template(m)
	tmpl.Spec.Parameters = []v1alpha1.Parameter{{Name: "route", Default: &route}, {Name: "zone"}}
	cases := map[string]struct {
		reason string
		args   map[string]string
		query  string
		err    string
	}{
		"Default": {reason: "a default is used when nothing is given", args: map[string]string{"zone": "a"}, query: `p99{route="checkout",ns="shop",wl="web",a=~"stable-1|stable-2",zone="a"}`},
		"Given":   {reason: "what is given comes first, and stays a value", args: map[string]string{"zone": "a", "route": `"} or up{a="`}, query: `p99{route="\"} or up{a=\"",ns="shop",wl="web",a=~"stable-1|stable-2",zone="a"}`},
		"Missing": {reason: "a value without a default is needed", err: "parameter zone needs a value"},
		"Unknown": {reason: "a typing error is found", args: map[string]string{"zone": "a", "rote": "x"}, err: "args has rote, which is no parameter"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := world{scrape: 15, value: always(0), pods: []pod{steady("canary-1", 0, 1, 0), steady("stable-1", 0, 1, 0), steady("stable-2", 0, 1, 0)}}
			tmpl.Args = tc.args
			got, err := w.evaluator().Evaluate(t.Context(), w.request(152, tmpl))
			if err != nil {
				t.Fatal(err)
			}
			if tc.err != "" {
				if got.Value != noData || got.Reason != string(metrics.BadQuery) || !strings.Contains(got.Message, tc.err) {
					t.Errorf("%s: got %s, %s %q", tc.reason, got.Value, got.Reason, got.Message)
				}
				return
			}
			if diff := cmp.Diff([]string{tc.query}, w.queries); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
