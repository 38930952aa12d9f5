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

// counters are samples of one version, and of all events of the other one where what
// counts them is shared.
type counters struct{ bad, total, besides []metrics.Series }

// ratio judges bad events against all events of the canary.
func (l *look) ratio(ctx context.Context, source metrics.Source, metric v1alpha1.RatioMetric) (outcome, error) {
	test, err := l.ratioTest(metric)
	if err != nil {
		return outcome{}, err
	}
	party := l.party(test, canaryVersion)
	if len(party.names) == 0 {
		return l.inconclusive(ReasonNotSeenYet, "the canary has no "+party.kind()+" yet"), nil
	}
	canary, err := l.memory.get(l.key(source, test, party), l.request.Now).
		count(ctx, party, l.ask(source, test, party), l.request.Start, l.request.Now)
	if err != nil {
		return outcome{}, err
	}
	doubt, err := l.doubt(ctx, source, test, party, canary)
	if err != nil {
		return outcome{}, err
	}
	o, err := l.judge(ctx, source, test, canary)
	if err != nil || o.value == v1alpha1.VerdictFail || doubt == nil {
		return o, err // Evidence of a failure stands, whatever else is not seen.
	}
	return *doubt, nil
}

// key of a metric of this release.
func (l *look) key(source metrics.Source, test ratioTest, party party) memoryKey {
	return memoryKey{
		namespace: l.request.Namespace, workload: l.request.Workload, revision: l.request.CanaryRevision,
		release: l.request.Release, start: l.request.Start, source: source,
		question: test.question() + party.question(),
	}
}

// ask reads the samples of the counters. Where the text shows that bad events are
// among all events, one question has both, of the same scrapes.
func (l *look) ask(source metrics.Source, test ratioTest, party party) question {
	return func(ctx context.Context, names []string, from, to time.Time) (counters, error) {
		owners := party.owners
		owners.Names = slices.Concat(names, party.besides)
		var c counters
		read := func(s promql.Selector) ([]metrics.Series, error) {
			series, err := source.Counters(ctx, v1alpha1.Selector(s.String()), owners, from, to)
			own, besides := party.split(series)
			c.besides = append(c.besides, besides...)
			return own, err //nolint:wrapcheck // The source says what was asked and what came.
		}
		// Bad events first: a scrape that comes in between adds to the total only.
		for _, s := range test.bad {
			if test.within(s) {
				continue
			}
			bad, err := read(s)
			if err != nil {
				return counters{}, err
			}
			c.bad = append(c.bad, bad...)
		}
		for _, s := range test.total {
			total, err := read(s)
			if err != nil {
				return counters{}, err
			}
			c.total = append(c.total, total...)
		}
		for _, series := range c.total {
			if test.among(series.Labels) {
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
	if !canary.anyBad && step.Total > 0 && test.separate() {
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
	party := l.party(test, stableVersion)
	if len(party.names) == 0 || len(party.names) > most || l.request.Now.Sub(l.request.Start) > portion {
		return ""
	}
	c, err := party.history(l.request.Start, judge.Unknown).count(ctx, l.ask(source, test, party), party.names, l.request.Now)
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
func (l *look) coverage(ctx context.Context, source metrics.Source, canary counted, party party) (coverage, error) {
	pods := party.names
	c := coverage{seen: known(pods, canary.owners), newest: canary.newest, maxAge: maxAge(canary.interval)}
	if c.seen == len(pods) {
		return c, nil
	}
	from := l.request.Start.Add(-lookback)
	if l.request.Now.Sub(from) > portion {
		from = l.request.Now.Add(-portion)
	}
	owners := party.owners
	owners.Names = pods
	up, err := source.Counters(ctx, "up", owners, from, l.request.Now)
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
	c.seen = known(pods, canary.owners, podsOf(up))
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
			pods[s.Owner] = true
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
// nil when they do.
func (l *look) doubt(ctx context.Context, source metrics.Source, test ratioTest, party party, canary counted) (*outcome, error) {
	if party.shared() {
		return l.unheard(test, party, canary.freshness), nil
	}
	cover, err := l.coverage(ctx, source, canary, party)
	if err != nil {
		return nil, err
	}
	return l.unseen(cover, len(party.names)), nil
}

// unseen is the doubt where each pod counts for itself. Fewer than half of the pods
// may be unseen, as those are that came and went between two scrapes.
func (l *look) unseen(c coverage, pods int) *outcome {
	switch missing := pods - c.seen; {
	case 2*missing >= pods && l.early(l.begin()):
		return new(l.inconclusive(ReasonNotSeenYet, fmt.Sprintf("the source has seen %d of %d pods of the canary so far", c.seen, pods))).at(c.newest)
	case 2*missing >= pods:
		return new(l.noData(metrics.NoSeries, fmt.Sprintf("the source has no samples of %d of %d pods of the canary: are they scraped?", missing, pods), time.Time{})).at(c.newest)
	}
	return l.stale(c.newest, c.maxAge)
}

// unheard is the doubt where others than the pods count, as long as nothing is known
// of either version. A canary alone without samples got no requests.
func (l *look) unheard(test ratioTest, party party, f freshness) *outcome {
	switch {
	case f.newest.IsZero() && l.early(l.begin()):
		return new(l.inconclusive(ReasonNotSeenYet, "nothing that carries the traffic has counted a request yet"))
	case f.newest.IsZero():
		return new(l.noData(metrics.NoSeries, fmt.Sprintf("the source has no series %s: are the proxies of the callers, and gateways, in the mesh and scraped?",
			party.describe(test.total)), time.Time{}))
	}
	return l.stale(f.newest, maxAge(f.interval))
}

// begin of what is looked at: the step, or else the release.
func (l *look) begin() time.Time {
	if l.request.StepStart.After(l.request.Start) {
		return l.request.StepStart
	}
	return l.request.Start
}

// stale is the doubt about samples that are too old, nil for none. They are those of the
// canary, and of the stable version where others count for both.
func (l *look) stale(newest time.Time, most time.Duration) *outcome {
	age := l.request.Now.Sub(newest)
	if age <= most {
		return nil
	}
	return new(l.noData(metrics.StaleData, fmt.Sprintf("the newest sample is %s old", age.Round(time.Second)), newest)).at(newest)
}

// at notes the time of the newest data.
func (o *outcome) at(newest time.Time) *outcome {
	o.newest = newest
	return o
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
