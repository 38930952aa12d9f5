package promql

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// grammar is stable PromQL: what every server of the last years understands.
var grammar = parser.NewParser(parser.Options{})

// Selector selects series: a metric name and conditions on labels.
type Selector struct {
	name string
	// matchers on labels other than the name. Never changed once made, as copies
	// of a Selector share them.
	matchers []*labels.Matcher
}

// ParseSelector reads a vector selector with a metric name, such as
// http_requests_total{code=~"5.."}, without range, offset or function.
func ParseSelector(text string) (Selector, error) {
	parsed, err := grammar.ParseMetricSelector(text)
	if err != nil {
		return Selector{}, fmt.Errorf("selector %s is not of the form name{label=\"value\"}: %w", strconv.Quote(text), err)
	}
	s := Selector{}
	for _, m := range parsed {
		switch {
		case m.Name != model.MetricNameLabel:
			s.matchers = append(s.matchers, m)
		case m.Type == labels.MatchEqual && s.name == "":
			s.name = m.Value
		default:
			return Selector{}, fmt.Errorf("selector %s must name exactly one metric", strconv.Quote(text))
		}
	}
	if s.name == "" {
		return Selector{}, fmt.Errorf("selector %s must begin with the name of a metric", strconv.Quote(text))
	}
	return s, nil
}

// Name of the metric.
func (s Selector) Name() string { return s.name }

// With is the selector narrowed to series whose label has one of the values.
// Without any value it selects nothing.
func (s Selector) With(label string, values ...string) Selector {
	m := labels.MustNewMatcher(labels.MatchRegexp, label, AnyOf(values))
	if len(values) == 1 {
		m = labels.MustNewMatcher(labels.MatchEqual, label, values[0])
	}
	s.matchers = append(s.matchers[:len(s.matchers):len(s.matchers)], m)
	return s
}

// Matches tells whether the selector selects a series with these labels.
func (s Selector) Matches(series map[string]string) bool {
	if series[model.MetricNameLabel] != s.name {
		return false
	}
	for _, m := range s.matchers {
		if !m.Matches(series[m.Name]) {
			return false
		}
	}
	return true
}

// Within tells whether every series that s selects is selected by wide too, as
// far as the text shows: same metric, and every condition of wide is in s.
func (s Selector) Within(wide Selector) bool {
	if s.name != wide.name {
		return false
	}
	own := make(map[string]bool, len(s.matchers))
	for _, m := range s.matchers {
		own[print(m)] = true
	}
	for _, m := range wide.matchers {
		if !own[print(m)] {
			return false
		}
	}
	return true
}

// Range is the query for the raw samples of the last d, in whole milliseconds.
func (s Selector) Range(d time.Duration) string {
	return fmt.Sprintf("%s[%dms]", s, d.Milliseconds())
}

// String is the selector in PromQL.
func (s Selector) String() string {
	name := s.name
	parts := make([]string, 0, len(s.matchers)+1)
	if !plainName.MatchString(name) {
		name = ""
		parts = append(parts, quote(s.name))
	}
	for _, m := range s.matchers {
		parts = append(parts, print(m))
	}
	if len(parts) == 0 {
		return name
	}
	return name + "{" + strings.Join(parts, ",") + "}"
}

// print is a condition in PromQL.
func print(m *labels.Matcher) string {
	name := m.Name
	if !plainName.MatchString(name) || strings.Contains(name, ":") {
		name = quote(name)
	}
	return name + m.Type.String() + quote(m.Value)
}

// quote is the literal of a text. It is ASCII: the lexer of PromQL takes the
// replacement character U+FFFD for a broken one unless it is escaped.
func quote(text string) string { return strconv.QuoteToASCII(text) }

// plainName is a metric name that needs no quotes.
var plainName = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)

// nothing is a regular expression that no name of a Kubernetes object matches:
// none begins with a dash. An empty expression would match series without the
// label.
const nothing = "-"

// AnyOf is a regular expression that matches each of the values and nothing
// else. A byte that is not UTF-8, which no name of an object has, stands for a
// question mark: no expression may hold it.
func AnyOf(values []string) string {
	if len(values) == 0 {
		return nothing
	}
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = regexp.QuoteMeta(strings.ToValidUTF8(v, "?"))
	}
	return strings.Join(quoted, "|")
}
