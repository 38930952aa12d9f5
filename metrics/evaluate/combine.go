package evaluate

import (
	"strings"
	"time"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics"
)

// rank orders verdicts: the worst has the highest.
var rank = map[v1alpha1.VerdictValue]int{
	v1alpha1.VerdictPass:         1,
	v1alpha1.VerdictNoFailure:    2,
	v1alpha1.VerdictInconclusive: 3,
	v1alpha1.VerdictNoData:       4,
	v1alpha1.VerdictFail:         5,
}

// worse gives the worse of two verdicts; an empty one is no verdict.
func worse(a, b v1alpha1.VerdictValue) v1alpha1.VerdictValue {
	if rank[a] >= rank[b] {
		return a
	}
	return b
}

// Reasons of verdicts other than NoData, whose reasons are those of
// metrics.Failure.
const (
	// ReasonLimitExceeded: a Ratio is above its limit, with the evidence needed.
	ReasonLimitExceeded = "LimitExceeded"
	// ReasonConditionFailed: a Condition was bad too often.
	ReasonConditionFailed = "ConditionFailed"
	// ReasonMetricsPassed: every required metric passed.
	ReasonMetricsPassed = "MetricsPassed"
	// ReasonNotProven: no evidence of a failure, and not enough for a pass.
	ReasonNotProven = "NotProven"
	// ReasonNoRequests: the canary has had no request.
	ReasonNoRequests = "NoRequests"
	// ReasonFewRequests: the canary has had too few requests to say anything.
	ReasonFewRequests = "FewRequests"
	// ReasonFewLooks: a query was asked too few times to say anything.
	ReasonFewLooks = "FewLooks"
	// ReasonNotSeenYet: the source has not seen the canary's pods yet.
	ReasonNotSeenYet = "NotSeenYet"
	// ReasonStepNotVerified: the exposure of the step is not verified yet.
	ReasonStepNotVerified = "StepNotVerified"
	// ReasonNoMetrics: there is no metric to look at.
	ReasonNoMetrics = "NoMetrics"
)

// combination gathers the outcomes of a look.
type combination struct {
	request metrics.Request
	// names counts metrics by name: those of two templates may share one.
	names   map[string]int
	value   v1alpha1.VerdictValue
	step    v1alpha1.VerdictValue
	metrics []v1alpha1.MetricStatus
	// telling are the messages of the metrics with the worst step verdict.
	telling []string
	reason  string

	newest, missingSince, next time.Time
}

func newCombination(request metrics.Request) *combination {
	c := &combination{request: request, names: map[string]int{}}
	for _, t := range request.Templates {
		for _, m := range t.Spec.Metrics {
			c.names[m.Name]++
		}
	}
	return c
}

// add takes the outcome of one metric.
func (c *combination) add(template metrics.Template, metric v1alpha1.Metric, o outcome) {
	name := metric.Name
	if c.names[name] > 1 {
		name = template.Ref + "/" + name
	}
	if c.request.StepStart.IsZero() && rank[o.step] < rank[v1alpha1.VerdictNoData] {
		o.step = v1alpha1.VerdictInconclusive
	}
	display := o.step
	if c.request.StepStart.IsZero() {
		display = o.value
	}
	c.metrics = append(c.metrics, v1alpha1.MetricStatus{
		Name: name, Verdict: display, Canary: o.canary, Stable: o.stable,
		Message: bounded(o.message, maxMetricMessage),
	})
	c.next = earlier(c.next, o.next)
	c.newest = later(c.newest, o.newest)
	if metric.Role == v1alpha1.RoleAdvisory {
		return
	}
	if o.value == v1alpha1.VerdictNoData {
		since := o.missingSince
		if since.IsZero() {
			since = c.request.Now
		}
		c.missingSince = earlier(c.missingSince, since)
	}
	if c.step == "" || rank[o.step] > rank[c.step] {
		c.telling, c.reason = nil, o.reason
	}
	c.value, c.step = worse(c.value, o.value), worse(c.step, o.step)
	if o.step == c.step {
		c.telling = append(c.telling, name+": "+o.message)
	}
}

// verdict is that of all metrics.
func (c *combination) verdict() metrics.Verdict {
	v := metrics.Verdict{
		Release: c.request.Release, Revision: c.request.CanaryRevision,
		Value: c.value, Step: c.step, Reason: c.reason, Metrics: c.metrics,
		WindowStart: c.request.Start, WindowEnd: c.newest,
		MissingSince: c.missingSince, NextLook: c.next,
	}
	texts := c.telling
	if len(texts) > shown {
		texts = texts[:shown]
	}
	v.Message = bounded(strings.Join(texts, "; "), maxMessage)
	switch {
	case len(c.metrics) == 0:
		// A list that is empty by mistake must not pass.
		v.Value, v.Step = v1alpha1.VerdictNoData, v1alpha1.VerdictNoData
		v.Reason, v.Message = ReasonNoMetrics, "the analysis has no metric"
		v.MissingSince = c.request.Now
	case c.value == "":
		v.Value, v.Step = v1alpha1.VerdictPass, v1alpha1.VerdictPass
		v.Reason, v.Message = ReasonMetricsPassed, "no metric is required: all are advisory"
	case c.step == v1alpha1.VerdictPass:
		v.Reason = ReasonMetricsPassed
	case c.request.StepStart.IsZero() && c.step == v1alpha1.VerdictInconclusive:
		v.Reason = ReasonStepNotVerified
	}
	return v
}

// earlier gives the earlier of two times, of which a zero one is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// later gives the later of two times, of which a zero one is none.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
