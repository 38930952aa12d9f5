package evaluate

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics"
)

// gateway is a source of requests by Service.
type gateway struct {
	metrics.Source
	series   []metrics.Series
	ok       bool
	err      error
	services []string
}

func (g *gateway) RequestsByService(_ context.Context, _ string, services []string, _, _ time.Time) ([]metrics.Series, bool, error) {
	g.services = services
	return g.series, g.ok, g.err
}

// gatewaySeries is a series of a Service at a gateway: pairs of seconds and values.
func gatewaySeries(service, instance string, pairs ...float64) metrics.Series {
	s := metrics.Series{Owner: service, Labels: map[string]string{"instance": instance}}
	for i := 0; i < len(pairs); i += 2 {
		s.Samples = append(s.Samples, metrics.Sample{Time: after(pairs[i]), Value: pairs[i+1]})
	}
	return s
}

func TestMeasureShare(t *testing.T) {
	cases := map[string]struct {
		reason string
		series []metrics.Series
		want   Share
		weight int32
	}{
		"Nothing":   {reason: "no request, no share"},
		"Split":     {reason: "from scrape to scrape", series: []metrics.Series{gatewaySeries("web", "g1", 5, 1000, 20, 1950), gatewaySeries("web-canary", "g1", 5, 10, 20, 60)}, want: Share{Canary: 50, Total: 1000}, weight: 500},
		"Before":    {reason: "what was counted up to the first scrape may be of another weight", series: []metrics.Series{gatewaySeries("web", "g1", 5, 1000), gatewaySeries("web-canary", "g1", 5, 10)}},
		"New":       {reason: "a series that begins after the first scrape began at zero", series: []metrics.Series{gatewaySeries("web", "g1", 5, 1000, 20, 1095), gatewaySeries("web-canary", "g1", 20, 5)}, want: Share{Canary: 5, Total: 100}, weight: 500},
		"Instances": {reason: "each gateway has its own first scrape", series: []metrics.Series{gatewaySeries("web", "g1", 5, 0, 20, 90), gatewaySeries("web-canary", "g2", 12, 7, 27, 17)}, want: Share{Canary: 10, Total: 100}, weight: 1000},
		"Reset":     {reason: "a gateway that restarts", series: []metrics.Series{gatewaySeries("web", "g1", 5, 1000, 20, 90), gatewaySeries("web-canary", "g1", 5, 10, 20, 10)}, want: Share{Total: 90}},
		"AllCanary": {reason: "at full weight", series: []metrics.Series{gatewaySeries("web-canary", "g1", 5, 0, 20, 10)}, want: Share{Canary: 10, Total: 10}, weight: 10000},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			g := &gateway{series: tc.series, ok: true}
			got, ok, err := MeasureShare(t.Context(), g, "shop", []string{"web"}, []string{"web-canary"}, begin, after(30))
			if err != nil || !ok {
				t.Fatalf("got %t, %v", ok, err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
			if got.Weight() != tc.weight {
				t.Errorf("%s: got a weight of %s, want %s", tc.reason, v1alpha1.FormatWeight(got.Weight()), v1alpha1.FormatWeight(tc.weight))
			}
			if diff := cmp.Diff([]string{"web", "web-canary"}, g.services); diff != "" {
				t.Errorf("-want, +got:\n%s", diff)
			}
		})
	}
	if _, ok, err := MeasureShare(t.Context(), &gateway{}, "shop", nil, nil, begin, after(30)); ok || err != nil {
		t.Errorf("a source that does not count by Service: got %t, %v", ok, err)
	}
	failure := errors.New("down")
	if _, _, err := MeasureShare(t.Context(), &gateway{ok: true, err: failure}, "shop", nil, nil, begin, after(30)); !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
}

func TestShareConsistent(t *testing.T) {
	s := Share{Canary: 52, Total: 1000}
	if !s.Consistent(500) || s.Consistent(2500) || s.Consistent(0) {
		t.Errorf("52 of 1000: plausible at 5%%, not at 25%% nor at 0%%: got %t, %t, %t", s.Consistent(500), s.Consistent(2500), s.Consistent(0))
	}
}
