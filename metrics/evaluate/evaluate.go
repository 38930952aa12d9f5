package evaluate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics"
)

const (
	// alpha is the probability that a release fails though every Ratio keeps its
	// limit, over the whole release and all its metrics.
	alpha = 0.01
	// beta is the probability that a step passes though a Ratio is much worse
	// than its limit.
	beta = 0.05
	// grace is how long after an exposure the first samples may take to come,
	// before they are missing.
	grace = 2 * time.Minute
	// retry is when to look again after data were missing, soon as long as it is
	// not known how often there are new ones.
	retry = 5 * time.Second
	soon  = 2 * time.Second
	// shown is how many metrics a message names.
	shown = 3
	// maxMessage and maxMetricMessage are the limits of the API.
	maxMessage, maxMetricMessage = 1024, 256
)

// Sources gives the source of a MetricSource by its name; an empty name means
// the default one. It may be called from several goroutines.
type Sources func(ctx context.Context, name string) (metrics.Source, error)

// Evaluator evaluates releases. It is safe for use by several goroutines.
type Evaluator struct {
	sources Sources
	memory  memory
}

// New makes an Evaluator. Sources are told apart by comparing them, so they must
// be comparable, as pointers are.
func New(sources Sources) *Evaluator {
	return &Evaluator{sources: sources, memory: memory{histories: map[memoryKey]*remembered{}}}
}

// outcome is what one metric says.
type outcome struct {
	// value since the release began, step since the step began.
	value, step v1alpha1.VerdictValue
	reason      string
	message     string
	// canary and stable are what was seen of each version.
	canary, stable string
	// newest is the time of the newest data; missingSince since when there are
	// none, zero when the data do not say.
	newest, missingSince time.Time
	// next is when another look can say more.
	next time.Time
}

// look is one evaluation.
type look struct {
	request metrics.Request
	sources Sources
	memory  *memory
	// alpha is this look's share for each Ratio.
	alpha float64
	// down are the sources that did not answer in this look. They are not asked
	// again: each of many metrics would wait for the time-out.
	down map[string]error
}

// Evaluate makes one look at a release. Trouble with the data is part of the
// verdict; an error means that the context was cancelled.
func (e *Evaluator) Evaluate(ctx context.Context, request metrics.Request) (metrics.Verdict, error) {
	l := &look{request: normal(request), sources: e.sources, memory: &e.memory, down: map[string]error{}}
	l.alpha = alpha / float64(max(1, requiredRatios(request.Templates)))
	c := newCombination(l.request)
	for _, template := range request.Templates {
		for _, metric := range template.Spec.Metrics {
			o := l.metric(ctx, template, metric)
			if errors.Is(ctx.Err(), context.Canceled) {
				return metrics.Verdict{}, fmt.Errorf("cannot evaluate %s: %w", template.Ref, ctx.Err())
			}
			c.add(template, metric, o)
		}
	}
	return c.verdict(), nil
}

// normal counts in the milliseconds of the query API.
func normal(r metrics.Request) metrics.Request {
	r.Start = r.Start.Truncate(time.Millisecond)
	r.Now = r.Now.Truncate(time.Millisecond)
	if !r.StepStart.IsZero() {
		r.StepStart = r.StepStart.Truncate(time.Millisecond)
	}
	return r
}

// requiredRatios is the number of Ratio metrics that may fail the release.
func requiredRatios(templates []metrics.Template) int {
	number := 0
	for _, t := range templates {
		for _, m := range t.Spec.Metrics {
			if m.Type == v1alpha1.MetricRatio && m.Role != v1alpha1.RoleAdvisory {
				number++
			}
		}
	}
	return number
}

// metric evaluates one metric.
func (l *look) metric(ctx context.Context, template metrics.Template, metric v1alpha1.Metric) outcome {
	name := template.Spec.MetricSourceName
	if err := l.down[name]; err != nil {
		return l.missing(err)
	}
	source, err := l.sources(ctx, name)
	if err != nil {
		return l.missing(&metrics.Error{Failure: metrics.SourceUnavailable, Message: err.Error()})
	}
	var o outcome
	switch {
	case metric.Type == v1alpha1.MetricRatio && metric.Ratio != nil:
		o, err = l.ratio(ctx, source, *metric.Ratio)
	case metric.Type == v1alpha1.MetricCondition && metric.Condition != nil:
		o, err = l.condition(ctx, source, template, *metric.Condition)
	default:
		err = &metrics.Error{Failure: metrics.BadQuery, Message: fmt.Sprintf("type %s does not say what to measure", metric.Type)}
	}
	if err != nil {
		var failure *metrics.Error
		if errors.As(err, &failure) && failure.Failure == metrics.SourceUnavailable {
			l.down[name] = err
		}
		return l.missing(err)
	}
	return o
}

// missing is the outcome of a metric without data.
func (l *look) missing(err error) outcome {
	reason := metrics.SourceUnavailable
	var failure *metrics.Error
	if errors.As(err, &failure) {
		reason = failure.Failure
	}
	return l.noData(reason, err.Error(), time.Time{})
}

// noData is the outcome of a metric without usable data.
func (l *look) noData(reason metrics.Failure, message string, since time.Time) outcome {
	return outcome{
		value: v1alpha1.VerdictNoData, step: v1alpha1.VerdictNoData,
		reason: string(reason), message: message, missingSince: since, next: l.request.Now.Add(retry),
	}
}

// inconclusive is the outcome of a metric about which nothing can be said yet.
func (l *look) inconclusive(reason, message string) outcome {
	return outcome{
		value: v1alpha1.VerdictInconclusive, step: v1alpha1.VerdictInconclusive,
		reason: reason, message: message, next: l.request.Now.Add(soon),
	}
}

// early tells whether an exposure is so young that first samples may still come.
func (l *look) early(since time.Time) bool { return l.request.Now.Sub(since) < grace }
