package evaluate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics"
	"github.com/weir-dev/weir/metrics/judge"
	"github.com/weir-dev/weir/metrics/promql"
)

// ratioTest is a RatioMetric, parsed.
type ratioTest struct {
	// bad select the bad events, total all events. An event is bad when any of bad
	// selects it.
	bad, total []promql.Selector
	max        float64
	// text of the limit, as it was written.
	text string
	// by are the counters of what carries the traffic, nil for those of pods.
	by *metrics.RequestCounters
}

// ratioTest parses a metric. What a signal counts is the request's to say.
func (l *look) ratioTest(m v1alpha1.RatioMetric) (ratioTest, error) {
	bad, total := []v1alpha1.Selector{m.Bad}, []v1alpha1.Selector{m.Total}
	var by *metrics.RequestCounters
	if m.Signal != "" {
		if by = l.request.Requests; by == nil {
			return ratioTest{}, &metrics.Error{
				Failure: metrics.NoSeries,
				Message: fmt.Sprintf("signal %s: nothing that counts requests has taken the routes yet", m.Signal),
			}
		}
		bad, total = by.Failed, by.Total
	}
	test, err := parseRatio(bad, total, m.MaxRatio)
	if err != nil {
		return ratioTest{}, &metrics.Error{Failure: metrics.BadQuery, Message: err.Error()}
	}
	test.by = by
	return test, nil
}

// parseRatio parses selectors and a limit. The error names the field.
func parseRatio(bad, total []v1alpha1.Selector, limit string) (test ratioTest, err error) {
	if test.bad, err = parseSelectors(bad); err != nil {
		return ratioTest{}, fmt.Errorf("bad: %w", err)
	}
	if test.total, err = parseSelectors(total); err != nil {
		return ratioTest{}, fmt.Errorf("total: %w", err)
	}
	if test.max, err = parsePercent(limit); err != nil {
		return ratioTest{}, fmt.Errorf("maxRatio: %w", err)
	}
	test.text = limit
	return test, nil
}

func parseSelectors(texts []v1alpha1.Selector) ([]promql.Selector, error) {
	parsed := make([]promql.Selector, len(texts))
	for i, text := range texts {
		var err error
		if parsed[i], err = promql.ParseSelector(string(text)); err != nil {
			return nil, err //nolint:wrapcheck // It says what and where; the caller adds the field.
		}
	}
	return parsed, nil
}

// within tells whether what a selector of bad events selects is among the total, as
// far as the text shows.
func (t ratioTest) within(bad promql.Selector) bool {
	return slices.ContainsFunc(t.total, bad.Within)
}

// among tells whether a series of the total is one of bad events.
func (t ratioTest) among(labels map[string]string) bool {
	return slices.ContainsFunc(t.bad, func(s promql.Selector) bool { return t.within(s) && s.Matches(labels) })
}

// separate tells whether bad events have metrics of their own.
func (t ratioTest) separate() bool {
	return slices.ContainsFunc(t.bad, func(bad promql.Selector) bool {
		return !slices.ContainsFunc(t.total, func(total promql.Selector) bool { return total.Name() == bad.Name() })
	})
}

// question tells a test from others that count something else.
func (t ratioTest) question() string {
	return fmt.Sprint(t.bad, t.total)
}

// version of the workload.
type version bool

const (
	stableVersion version = false
	canaryVersion version = true
)

// party is one version, as series name it: by its pods, each of which counts for
// itself, or by its Services, for which others count, such as the proxies of callers.
type party struct {
	// owners but for their names.
	owners metrics.Owners
	// names of the version's own, besides those of the other version: of shared series
	// these tell since when their instance has been scraped.
	names, besides []string
}

// party that a version is in a test.
func (l *look) party(test ratioTest, of version) party {
	r := l.request
	p := party{owners: metrics.Owners{Namespace: r.Namespace}, names: r.StablePods}
	if test.by != nil {
		p.owners.Label, p.owners.NamespaceLabel = test.by.ServiceLabel, test.by.NamespaceLabel
		p.names, p.besides = r.StableServices, r.CanaryServices
	}
	switch {
	case of == canaryVersion && test.by != nil:
		p.names, p.besides = p.besides, p.names
	case of == canaryVersion:
		p.names = r.CanaryPods
	}
	return p
}

// shared tells whether others count for the party.
func (p party) shared() bool { return p.owners.Label != "" }

// kind of its owners, for messages.
func (p party) kind() string {
	if p.shared() {
		return "Service"
	}
	return "pod"
}

// history of the party's series.
func (p party) history(start time.Time, origin judge.Origin) *history {
	if p.shared() {
		return newSharedHistory(start)
	}
	return newHistory(start, origin)
}

// split gives the party's own series, and those of the other version.
func (p party) split(series []metrics.Series) (own, besides []metrics.Series) {
	if !p.shared() {
		return series, nil
	}
	for _, s := range series {
		if slices.Contains(p.names, s.Owner) {
			own = append(own, s)
		} else {
			besides = append(besides, s)
		}
	}
	return own, besides
}

// question tells parties apart whose series are others. Pods come and go.
func (p party) question() string {
	if !p.shared() {
		return ""
	}
	return fmt.Sprint(p.owners, p.names, p.besides)
}

// describe the series of both versions, for messages.
func (p party) describe(selectors []promql.Selector) string {
	texts := make([]string, len(selectors))
	for i, s := range selectors {
		texts[i] = s.With(p.owners.NamespaceLabel, p.owners.Namespace).With(p.owners.Label, slices.Concat(p.besides, p.names)...).String()
	}
	return strings.Join(texts, " or ")
}
