package evaluate

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics"
	"github.com/weir-dev/weir/metrics/promql"
)

var begin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// after gives a time some seconds after the beginning.
func after(seconds float64) time.Time {
	return begin.Add(time.Duration(seconds * float64(time.Second)))
}

// pod is a pod that serves requests.
type pod struct {
	name string
	// born and gone, in seconds from the beginning; gone 0 is never.
	born, gone float64
	// served is how many requests it had served a number of seconds after the
	// beginning, and failed how many of them had failed.
	served, failed func(seconds float64) float64
	// listed is when a request names it first, when that is after its birth.
	listed float64
	// unscraped pods are not known to the source; down ones answer no scrape.
	unscraped, down bool
}

// steady serves at a rate from a time on, of which a share fails.
func steady(name string, from, rate, share float64) pod {
	served := func(t float64) float64 { return math.Floor(max(0, t-from) * rate) }
	return pod{
		name: name, born: from - 10, served: served,
		failed: func(t float64) float64 { return math.Floor(served(t) * share) },
	}
}

// world is a source that has scraped pods. It implements metrics.Source from
// their histories, so every look at it can be repeated.
type world struct {
	pods []pod
	// scrape is the interval of scrapes.
	scrape float64
	// outages are times without scrapes, in pairs of seconds.
	outages [][2]float64
	// late: samples from the first time on are there only from the second on.
	late [2]float64
	// now is the time of the last request.
	now float64
	// value of the query of Conditions, by time.
	value func(seconds float64) metrics.Value
	// err answers everything, err with a number of queries before it.
	err   error
	after int
	// noUp: the source has counters of pods, but does not scrape them itself.
	noUp bool
	// queries that were asked, and the latest time that it has samples of.
	queries []string
}

// scraped tells whether there is a sample of a time, now.
func (w *world) scraped(p pod, t float64) bool {
	if t >= w.late[0] && w.now < w.late[1] {
		return false
	}
	for _, o := range w.outages {
		if t >= o[0] && t < o[1] {
			return false
		}
	}
	return t >= p.born && (p.gone == 0 || t < p.gone)
}

// trouble is the error of the next query.
func (w *world) trouble(query string) error {
	w.queries = append(w.queries, query)
	if w.err != nil && len(w.queries) > w.after {
		return w.err
	}
	return nil
}

func (w *world) Counters(_ context.Context, selector v1alpha1.Selector, owners metrics.Owners, start, end time.Time) ([]metrics.Series, error) {
	if err := w.trouble(string(selector)); err != nil {
		return nil, err
	}
	s, err := promql.ParseSelector(string(selector))
	if err != nil {
		return nil, &metrics.Error{Failure: metrics.BadQuery, Message: err.Error()}
	}
	var all []metrics.Series
	for i, p := range w.pods {
		if !slices.Contains(owners.Names, p.name) || p.unscraped {
			continue
		}
		one := func(value float64) func(float64) float64 { return func(float64) float64 { return value } }
		up := 1.0
		if p.down {
			up = 0
		}
		candidates := []struct {
			labels map[string]string
			count  func(float64) float64
			zero   bool // Has samples while the count is zero.
		}{
			{map[string]string{"__name__": "requests_total", "code": "200"}, func(t float64) float64 { return p.served(t) - p.failed(t) }, false},
			{map[string]string{"__name__": "requests_total", "code": "500"}, p.failed, false},
			{map[string]string{"__name__": "failures_total"}, p.failed, true},
			{map[string]string{"__name__": "up"}, one(up), true},
		}
		for _, c := range candidates {
			c.labels["pod"] = p.name
			name := c.labels["__name__"]
			if !s.Matches(c.labels) || name == "up" && w.noUp || name != "up" && p.down {
				continue
			}
			series := metrics.Series{Owner: p.name, Labels: c.labels}
			// Each pod is scraped at an offset of its own.
			for t := -600 + float64(i)*0.7; after(t).Before(end.Add(time.Nanosecond)); t += w.scrape {
				if w.scraped(p, t) && after(t).After(start) && (c.zero || c.count(t) > 0) {
					series.Samples = append(series.Samples, metrics.Sample{Time: after(t), Value: c.count(t)})
				}
			}
			if len(series.Samples) > 0 {
				all = append(all, series)
			}
		}
	}
	return all, nil
}

func (w *world) Values(_ context.Context, _, query string, looks metrics.Looks) ([]metrics.Value, error) {
	if err := w.trouble(query); err != nil {
		return nil, err
	}
	values := make([]metrics.Value, looks.Count)
	for i := range values {
		at := looks.Start.Add(time.Duration(i) * looks.Step)
		values[i] = w.value(at.Sub(begin).Seconds())
		values[i].Time = at
	}
	return values, nil
}

func (w *world) RequestsByService(context.Context, string, []string, time.Time, time.Time) ([]metrics.Series, bool, error) {
	return nil, false, nil
}

// errorRate is a Ratio of the world's counters.
func errorRate(limit string) v1alpha1.Metric {
	return v1alpha1.Metric{Name: "error-rate", Type: v1alpha1.MetricRatio, Ratio: &v1alpha1.RatioMetric{
		Bad: `requests_total{code=~"5.."}`, Total: `requests_total`, MaxRatio: limit,
	}}
}

// latency is a Condition on the world's value: bad above 0.5, in 3 of 5 looks,
// one each 30 seconds.
func latency() v1alpha1.Metric {
	return v1alpha1.Metric{Name: "latency", Type: v1alpha1.MetricCondition, Condition: &v1alpha1.ConditionMetric{
		Query: `p99{pod=~"{{canaryPods}}"}`, FailWhen: v1alpha1.Limit{Operator: v1alpha1.GreaterThan, Value: "0.5"},
	}}
}

// template holds metrics.
func template(list ...v1alpha1.Metric) metrics.Template {
	return metrics.Template{Ref: "AnalysisTemplate/golden", Spec: v1alpha1.AnalysisTemplateSpec{Metrics: list}}
}

// request is a look at the pods of the world that are called canary-*, at a
// number of seconds after the beginning, when the canary was first exposed.
func (w *world) request(seconds float64, templates ...metrics.Template) metrics.Request {
	w.now = seconds
	r := metrics.Request{
		Namespace: "shop", Workload: "web", Release: 7, StableRevision: "a1", CanaryRevision: "w2",
		Start: begin, StepStart: begin, Now: after(seconds), Templates: templates,
	}
	for _, p := range w.pods {
		switch {
		case p.born > seconds || p.listed > seconds:
		case p.name[0] == 'c':
			r.CanaryPods = append(r.CanaryPods, p.name)
		default:
			r.StablePods = append(r.StablePods, p.name)
		}
	}
	return r
}

// evaluator of the world.
func (w *world) evaluator() *Evaluator {
	return New(func(context.Context, string) (metrics.Source, error) { return w, nil })
}
