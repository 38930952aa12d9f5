// Package counterstest tests the series of which a provider says that requests are
// counted in them.
package counterstest

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
)

// Case is a series, and what it is to count as.
type Case struct {
	Reason string
	// Labels that differ from those of a good request, as name=value.
	Labels string
	// Counted says that it counts as a request of its Service, Failed as a failed one.
	Counted, Failed bool
}

// Run checks that the counters select series as the cases say. Labels are those of a
// good request to Service web-canary in namespace shop.
func Run(t *testing.T, counters providers.RequestCounters, good map[string]string, cases map[string]Case) {
	t.Helper()
	if good[counters.ServiceLabel] != "web-canary" || good[counters.NamespaceLabel] != "shop" {
		t.Errorf("labels %s and %s do not name Service and namespace", counters.ServiceLabel, counters.NamespaceLabel)
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			series := maps.Clone(good)
			for _, l := range strings.Fields(tc.Labels) {
				label, value, _ := strings.Cut(l, "=")
				series[label] = value
			}
			if counted := selected(t, counters.Total, series); counted != tc.Counted {
				t.Errorf("%s: counted %t, want %t", tc.Reason, counted, tc.Counted)
			}
			if failed := selected(t, counters.Failed, series); failed != tc.Failed {
				t.Errorf("%s: failed %t, want %t", tc.Reason, failed, tc.Failed)
			}
		})
	}
	for _, s := range counters.Failed {
		if !slices.ContainsFunc(counters.Total, func(total v1alpha1.Selector) bool { return within(t, s, total) }) {
			t.Errorf("%s is not within any of %q, as far as the text shows", s, counters.Total)
		}
	}
}

// selected tells whether any of the selectors selects a series.
func selected(t *testing.T, selectors []v1alpha1.Selector, series map[string]string) bool {
	t.Helper()
	return slices.ContainsFunc(selectors, func(s v1alpha1.Selector) bool {
		return !slices.ContainsFunc(parse(t, s), func(m *labels.Matcher) bool { return !m.Matches(series[m.Name]) })
	})
}

// within tells whether each condition of a wide selector is one of a narrow one.
func within(t *testing.T, narrow, wide v1alpha1.Selector) bool {
	t.Helper()
	own := parse(t, narrow)
	return !slices.ContainsFunc(parse(t, wide), func(m *labels.Matcher) bool {
		return !slices.ContainsFunc(own, func(o *labels.Matcher) bool { return o.String() == m.String() })
	})
}

func parse(t *testing.T, s v1alpha1.Selector) []*labels.Matcher {
	t.Helper()
	matchers, err := parser.NewParser(parser.Options{}).ParseMetricSelector(string(s))
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return matchers
}
