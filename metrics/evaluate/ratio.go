package evaluate

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics"
	"github.com/weir-dev/weir/metrics/judge"
	"github.com/weir-dev/weir/metrics/promql"
)

const (
	// lookback is how long before the start a counter may have had its last
	// sample, from which counting begins.
	lookback = 5 * time.Minute
	// minStale is how old the newest sample may be at least; staleScrapes how
	// many scrapes may be missed where they are further apart.
	minStale     = 30 * time.Second
	staleScrapes = 3
	// minPace and maxPace bound the time between two looks at counters.
	minPace, maxPace = time.Second, 15 * time.Second
)

// ratioTest is a RatioMetric, parsed.
type ratioTest struct {
	bad, total promql.Selector
	max        float64
	// text of the limit, as it was written.
	text string
}

// parseRatio parses a metric. The error names the field.
func parseRatio(m v1alpha1.RatioMetric) (ratioTest, error) {
	bad, err := promql.ParseSelector(string(m.Bad))
	if err != nil {
		return ratioTest{}, fmt.Errorf("bad: %w", err)
	}
	total, err := promql.ParseSelector(string(m.Total))
	if err != nil {
		return ratioTest{}, fmt.Errorf("total: %w", err)
	}
	limit, err := parsePercent(m.MaxRatio)
	if err != nil {
		return ratioTest{}, fmt.Errorf("maxRatio: %w", err)
	}
	return ratioTest{bad: bad, total: total, max: limit, text: m.MaxRatio}, nil
}

// counters are samples of one version.
type counters struct{ bad, total []metrics.Series }

// ratio judges bad events against all events of the canary's pods.
func (l *look) ratio(ctx context.Context, source metrics.Source, metric v1alpha1.RatioMetric) (outcome, error) {
	test, err := parseRatio(metric)
	if err != nil {
		return outcome{}, &metrics.Error{Failure: metrics.BadQuery, Message: err.Error()}
	}
	pods := l.request.CanaryPods
	if len(pods) == 0 {
		return l.inconclusive(ReasonNotSeenYet, "the canary has no pod yet"), nil
	}
	canary, err := l.memory.get(l.key(source, metric), l.request.Now).count(ctx, l.ask(source, test), l.request.Start, pods, l.request.Now)
	if err != nil {
		return outcome{}, err
	}
	cover, err := l.coverage(ctx, source, canary, pods)
	if err != nil {
		return outcome{}, err
	}
	o, err := l.judge(ctx, source, test, canary)
	if err != nil || o.value == v1alpha1.VerdictFail {
		return o, err // Evidence stands, whatever else is not seen.
	}
	if doubt := l.doubt(cover, len(pods)); doubt != nil {
		return *doubt, nil
	}
	return o, nil
}

// key of a metric of this release.
func (l *look) key(source metrics.Source, metric v1alpha1.RatioMetric) memoryKey {
	return memoryKey{
		namespace: l.request.Namespace, workload: l.request.Workload, revision: l.request.CanaryRevision,
		release: l.request.Release, start: l.request.Start, source: source,
		bad: string(metric.Bad), total: string(metric.Total),
	}
}

// ask reads the samples of both counters. Where the text shows that bad events
// are among all events, one question has both, of the same scrapes.
func (l *look) ask(source metrics.Source, test ratioTest) question {
	return func(ctx context.Context, pods []string, from, to time.Time) (counters, error) {
		read := func(s promql.Selector) ([]metrics.Series, error) {
			return source.Counters(ctx, v1alpha1.Selector(s.String()), l.request.Namespace, pods, from, to)
		}
		if !test.bad.Within(test.total) {
			// Bad events first: a scrape that comes in between adds to the total only.
			bad, err := read(test.bad)
			if err != nil {
				return counters{}, err
			}
			total, err := read(test.total)
			return counters{bad: bad, total: total}, err
		}
		total, err := read(test.total)
		if err != nil {
			return counters{}, err
		}
		c := counters{total: total}
		for _, series := range total {
			if test.bad.Matches(series.Labels) {
				c.bad = append(c.bad, series)
			}
		}
		return c, nil
	}
}

// judge finds what the counters say.
func (l *look) judge(ctx context.Context, source metrics.Source, test ratioTest, canary counted) (outcome, error) {
	limit := judge.Limit{Max: test.max, Alpha: l.alpha, Beta: beta}
	whole, step := limit.Find(canary.windows, l.request.Start), limit.Find(canary.windows, l.request.StepStart)
	o := outcome{
		value: whole.Verdict, step: step.Verdict, canary: fraction(step.Bad, step.Total),
		newest: canary.newest, next: l.request.Now.Add(pace(canary.interval)),
	}
	switch step.Verdict {
	case v1alpha1.VerdictFail:
		o.reason, o.message = ReasonLimitExceeded, failedText(test.text, step, l.alpha)
		o.stable = l.stable(ctx, source, test)
	case v1alpha1.VerdictPass:
		o.reason, o.message = ReasonMetricsPassed, seenText(test.text, step)
	case v1alpha1.VerdictInconclusive:
		o.reason, o.message = l.few(step, o.newest)
	case v1alpha1.VerdictNoData:
		return outcome{}, &metrics.Error{
			Failure: metrics.BadQuery,
			Message: fmt.Sprintf("%s bad events of %s: total must select the bad events too", count(step.Bad), count(step.Total)),
		}
	default:
		o.reason, o.message = ReasonNotProven, unprovenText(test.text, test.max, step)
	}
	if !canary.anyBad && step.Total > 0 && test.bad.Name() != test.total.Name() {
		o.message += "; no series matches bad" // Nobody failed, or the name is wrong.
	}
	return o, nil
}

// few says why there are too few events for any verdict.
func (l *look) few(step judge.Finding, newest time.Time) (reason, message string) {
	switch {
	case step.Total > 0:
		return ReasonFewRequests, fmt.Sprintf("%s bad of %s, too few to say anything: %d are needed at least",
			count(step.Bad), count(step.Total), judge.MinTotal)
	case !newest.IsZero() && !newest.After(l.request.StepStart):
		return ReasonNotSeenYet, "no scrape in this step yet"
	default:
		return ReasonNoRequests, "no request yet"
	}
}

// stable is what was seen of the stable version at the same time, to be shown
// beside a failure. It decides nothing, so trouble with it is none.
func (l *look) stable(ctx context.Context, source metrics.Source, test ratioTest) string {
	const most = 100 // Pods beyond that are not worth the query.
	pods := l.request.StablePods
	if len(pods) == 0 || len(pods) > most || l.request.Now.Sub(l.request.Start) > portion {
		return ""
	}
	c, err := newHistory(l.request.Start, judge.Unknown).count(ctx, l.ask(source, test), pods, l.request.Now)
	if err != nil {
		return ""
	}
	return fraction(c.windows.Since(l.request.Start))
}

// coverage is what the source knows of the canary's pods.
type coverage struct {
	// seen is the number of pods that it has samples of, or that it scrapes
	// though there is nothing to count.
	seen int
	// newest sample of all.
	newest time.Time
	// maxAge is how old that may be.
	maxAge time.Duration
}

// coverage asks which pods the source scrapes when some have no counter: those
// without any request have none either.
func (l *look) coverage(ctx context.Context, source metrics.Source, canary counted, pods []string) (coverage, error) {
	c := coverage{seen: known(pods, canary.pods), newest: canary.newest, maxAge: maxAge(canary.interval)}
	if c.seen == len(pods) {
		return c, nil
	}
	from := l.request.Start.Add(-lookback)
	if l.request.Now.Sub(from) > portion {
		from = l.request.Now.Add(-portion)
	}
	up, err := source.Counters(ctx, "up", l.request.Namespace, pods, from, l.request.Now)
	if err != nil {
		return coverage{}, err //nolint:wrapcheck // The source says what was asked and what came.
	}
	up = succeeded(up)
	if len(up) == 0 && c.seen > 0 {
		// It does not scrape pods itself (a mesh, a gateway), so it cannot tell
		// those without requests from those that it does not see.
		c.seen = len(pods)
		return c, nil
	}
	c.seen = known(pods, canary.pods, podsOf(up))
	if n := newest(up); n.After(c.newest) {
		c.newest = n
	}
	if canary.interval == 0 {
		c.maxAge = maxAge(intervalOf(up))
	}
	return c, nil
}

// known is how many pods are in one of the sets.
func known(pods []string, sets ...map[string]bool) int {
	number := 0
	for _, pod := range pods {
		if slices.ContainsFunc(sets, func(set map[string]bool) bool { return set[pod] }) {
			number++
		}
	}
	return number
}

// podsOf are the pods with samples.
func podsOf(series []metrics.Series) map[string]bool {
	pods := map[string]bool{}
	for _, s := range series {
		if len(s.Samples) > 0 {
			pods[s.Pod] = true
		}
	}
	return pods
}

// succeeded are the scrapes that brought something: up is 0 for others.
func succeeded(up []metrics.Series) []metrics.Series {
	var series []metrics.Series
	for _, s := range up {
		s.Samples = slices.DeleteFunc(slices.Clone(s.Samples), func(sample metrics.Sample) bool { return !(sample.Value > 0) })
		if len(s.Samples) > 0 {
			series = append(series, s)
		}
	}
	return series
}

// doubt is why the samples do not suffice for a verdict that is not a failure,
// nil when they do. Fewer than half of the pods may be unseen, as those are that
// came and went between two scrapes.
func (l *look) doubt(c coverage, pods int) *outcome {
	begin := l.request.Start
	if l.request.StepStart.After(begin) {
		begin = l.request.StepStart
	}
	var o outcome
	switch missing, age := pods-c.seen, l.request.Now.Sub(c.newest); {
	case 2*missing >= pods && l.early(begin):
		o = l.inconclusive(ReasonNotSeenYet, fmt.Sprintf("the source has seen %d of %d pods of the canary so far", c.seen, pods))
	case 2*missing >= pods:
		o = l.noData(metrics.NoSeries, fmt.Sprintf("the source has no samples of %d of %d pods of the canary: are they scraped?", missing, pods), time.Time{})
	case age > c.maxAge:
		o = l.noData(metrics.StaleData, fmt.Sprintf("the newest sample of the canary is %s old", age.Round(time.Second)), c.newest)
	default:
		return nil
	}
	o.newest = c.newest
	return &o
}

// newest is the time of the newest sample.
func newest(series []metrics.Series) time.Time {
	last := time.Time{}
	for _, s := range series {
		for _, sample := range s.Samples {
			if sample.Time.After(last) {
				last = sample.Time
			}
		}
	}
	return last
}

// intervalOf is the usual time between the last samples of series, zero when it
// is not known yet.
func intervalOf(series []metrics.Series) time.Duration {
	var gaps []time.Duration
	for _, s := range series {
		gaps = append(gaps, (&tracked{}).gapsWith(s.Samples)...)
	}
	return median(gaps)
}

// maxAge is how old the newest sample may be: a few scrapes may be missed.
func maxAge(interval time.Duration) time.Duration {
	if interval == 0 {
		return grace
	}
	return max(minStale, staleScrapes*interval)
}

// pace is the time until another look can say more: half of the time between two
// scrapes, so that a scrape is looked at before the next one.
func pace(interval time.Duration) time.Duration {
	if interval == 0 {
		return soon
	}
	return min(max(interval/2, minPace), maxPace)
}
