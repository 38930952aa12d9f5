package evaluate

import (
	"context"
	"fmt"
	"time"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics"
	"github.com/weir-dev/weir/metrics/promql"
)

const (
	defaultInterval  = 30 * time.Second
	minInterval      = time.Second
	defaultFailAfter = 3
	defaultOutOf     = 5
	// settle is how long after its time a look is made: the scrape of that moment
	// has to be stored first.
	settle = 2 * time.Second
)

// conditionTest is a ConditionMetric, parsed.
type conditionTest struct {
	query            string
	limit            limit
	interval         time.Duration
	failAfter, outOf int
}

// parseCondition parses a metric with values for its placeholders. The error
// names the field.
func parseCondition(m v1alpha1.ConditionMetric, values map[string]string) (conditionTest, error) {
	query, err := promql.Expand(m.Query, values)
	if err != nil {
		return conditionTest{}, fmt.Errorf("query: %w", err)
	}
	limit, err := parseLimit(m.FailWhen)
	if err != nil {
		return conditionTest{}, fmt.Errorf("failWhen: %w", err)
	}
	c := conditionTest{
		query: query, limit: limit, interval: max(m.Interval.Or(defaultInterval), minInterval),
		failAfter: int(m.FailAfter), outOf: int(m.OutOf),
	}
	if c.failAfter == 0 {
		c.failAfter = defaultFailAfter
	}
	if c.outOf == 0 {
		c.outOf = defaultOutOf
	}
	return c, nil
}

// tally counts looks.
type tally struct {
	// made, with a value, and bad ones among them.
	made, valued, bad int
}

// condition judges the values of a query at the last looks of the grid.
func (l *look) condition(ctx context.Context, source metrics.Source, template metrics.Template, metric v1alpha1.ConditionMetric) (outcome, error) {
	values, err := l.values(template)
	if err != nil {
		return outcome{}, &metrics.Error{Failure: metrics.BadQuery, Message: err.Error()}
	}
	test, err := parseCondition(metric, values)
	if err != nil {
		return outcome{}, &metrics.Error{Failure: metrics.BadQuery, Message: err.Error()}
	}
	// Looks are numbered from 1, the first one interval after the start.
	last := int(l.request.Now.Add(-settle).Sub(l.request.Start) / test.interval)
	next := l.request.Start.Add(time.Duration(max(last, 0)+1)*test.interval + settle)
	if last < 1 {
		o := l.inconclusive(ReasonFewLooks, "the first look is at "+next.UTC().Format(time.TimeOnly)+" UTC")
		o.next = next
		return o, nil
	}
	first := max(1, last-test.outOf+1)
	count := last - first + 1
	looks, err := source.Values(ctx, l.request.Namespace, test.query, metrics.Looks{
		Start: l.request.Start.Add(time.Duration(first) * test.interval), Step: test.interval, Count: count,
	})
	if err != nil {
		return outcome{}, err //nolint:wrapcheck // The source says what was asked and what came.
	}
	if len(looks) != count {
		return outcome{}, &metrics.Error{Failure: metrics.SourceUnavailable, Message: fmt.Sprintf("the source has %d values for %d looks", len(looks), count)}
	}
	o := l.weigh(test, looks)
	if o.value != v1alpha1.VerdictNoData {
		o.next = next
	}
	return o, nil
}

// weigh judges the values of the looks.
func (l *look) weigh(test conditionTest, looks []metrics.Value) outcome {
	whole, step := test.tally(looks, time.Time{}), test.tally(looks, l.request.StepStart)
	o := outcome{
		value: test.verdict(whole, whole.bad), step: test.verdict(step, whole.bad), reason: ReasonNotProven,
		newest: looks[len(looks)-1].Time,
	}
	latest := looks[len(looks)-1]
	if latest.Missing != "" {
		if o.value != v1alpha1.VerdictFail {
			return l.unvalued(looks)
		}
		o.canary = "no value"
	} else {
		o.canary = number(latest.Value)
	}
	o.message = fmt.Sprintf("%s, bad is %s, bad in %d of the last %d looks", o.canary, test.limit, whole.bad, whole.valued)
	switch o.step {
	case v1alpha1.VerdictFail:
		o.reason = ReasonConditionFailed
		o.message += fmt.Sprintf(" (fails with %d of %d)", test.failAfter, test.outOf)
	case v1alpha1.VerdictPass:
		o.reason = ReasonMetricsPassed
	case v1alpha1.VerdictInconclusive:
		o.reason = ReasonFewLooks
		fallthrough
	default:
		o.message += fmt.Sprintf(", %d of %d looks of this step", step.valued, test.outOf)
	}
	return o
}

// tally counts the looks after a time.
func (c conditionTest) tally(looks []metrics.Value, since time.Time) tally {
	var t tally
	for _, v := range looks {
		if !v.Time.After(since) {
			continue
		}
		t.made++
		if v.Missing != "" {
			continue
		}
		t.valued++
		if c.limit.bad(v.Value) {
			t.bad++
		}
	}
	return t
}

// verdict of the looks that count, given how many bad ones there are since the
// release began.
func (c conditionTest) verdict(t tally, bad int) v1alpha1.VerdictValue {
	switch {
	case bad >= c.failAfter:
		return v1alpha1.VerdictFail
	case t.valued >= c.outOf:
		return v1alpha1.VerdictPass
	case t.valued >= c.failAfter:
		return v1alpha1.VerdictNoFailure
	default:
		return v1alpha1.VerdictInconclusive
	}
}

// unvalued is the outcome when the newest look has no value.
func (l *look) unvalued(looks []metrics.Value) outcome {
	first := len(looks)
	for first > 0 && looks[first-1].Missing != "" {
		first--
	}
	why := looks[len(looks)-1].Missing
	if first == 0 && why == metrics.NoSeries && l.early(l.request.Start) {
		return l.inconclusive(ReasonNotSeenYet, "the query has no value yet")
	}
	return l.noData(why, missingText(why), looks[first].Time)
}

// values for the placeholders of a template.
func (l *look) values(template metrics.Template) (map[string]string, error) {
	values, err := arguments(template.Spec.Parameters, template.Args)
	if err != nil {
		return nil, err
	}
	values["namespace"], values["workload"] = l.request.Namespace, l.request.Workload
	values["canaryPods"] = promql.AnyOf(l.request.CanaryPods)
	values["stablePods"] = promql.AnyOf(l.request.StablePods)
	return values, nil
}
