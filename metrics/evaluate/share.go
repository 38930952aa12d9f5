package evaluate

import (
	"context"
	"slices"
	"time"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics"
	"github.com/weir-dev/weir/metrics/judge"
)

// Share is the measured share of the traffic that reached the canary.
type Share struct {
	// Canary and Total are numbers of requests.
	Canary, Total float64
}

// Weight is the share in parts per 10,000; 0 without requests.
func (s Share) Weight() int32 {
	if s.Total <= 0 {
		return 0
	}
	return int32(s.Canary/s.Total*float64(v1alpha1.FullWeight) + 0.5)
}

// Consistent tells whether the share is plausible when each request went to the
// canary with the probability of the weight, in parts per 10,000. One right
// share in ten thousand is not.
func (s Share) Consistent(weight int32) bool {
	return judge.Consistent(s.Canary, s.Total, float64(weight)/float64(v1alpha1.FullWeight))
}

// MeasureShare counts the requests that the Services of each version served
// between two times. ok is false when the source does not count requests by
// Service.
//
// Each gateway counts from its first scrape after start, so that no request from
// before, under another weight, is among them.
func MeasureShare(ctx context.Context, source metrics.Source, namespace string, stable, canary []string, start, end time.Time) (share Share, ok bool, err error) {
	series, ok, err := source.RequestsByService(ctx, namespace, slices.Concat(stable, canary), start, end)
	if err != nil || !ok {
		return Share{}, ok, err //nolint:wrapcheck // The source says what was asked and what came.
	}
	first := firstScrapes(series, start)
	for _, s := range series {
		from := first[scrapedFrom(s)]
		var counter judge.Counter
		for _, i := range counter.Increases(samples(s), from, judge.Zero) {
			share.Total += i.Count
			if slices.Contains(canary, s.Owner) {
				share.Canary += i.Count
			}
		}
	}
	return share, true, nil
}

// target is what was scraped. Prometheus names it on each series. Two jobs that scrape
// one address are two targets: the series of each begin when that job does.
type target struct{ job, instance string }

// scrapedFrom is the target of a series.
func scrapedFrom(s metrics.Series) target {
	return target{job: s.Labels["job"], instance: s.Labels["instance"]}
}

// firstScrapes are the times of the first sample of each target that is not before
// start. A series that begins later began at zero, as its target was there and did not
// have it.
func firstScrapes(series []metrics.Series, start time.Time) map[target]time.Time {
	first := map[target]time.Time{}
	for _, s := range series {
		from := scrapedFrom(s)
		for _, sample := range s.Samples {
			if sample.Time.Before(start) {
				continue
			}
			if at, ok := first[from]; !ok || sample.Time.Before(at) {
				first[from] = sample.Time
			}
		}
	}
	return first
}
