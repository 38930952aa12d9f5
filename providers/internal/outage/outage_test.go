package outage

import (
	"testing"
	"time"
)

func TestOutage(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }
	type event struct {
		at     float64
		failed bool
	}
	tests := map[string]struct {
		events  []event
		settled float64 // 0 for a control plane whose word counts at once
	}{
		"NeverAway":        {events: []event{{1, false}, {2, false}}},
		"Short":            {events: []event{{1, true}, {1.5, false}}, settled: 6.5},
		"FailuresOfOne":    {events: []event{{1, true}, {1.2, true}, {1.5, false}, {1.6, false}}, settled: 6.5},
		"Long":             {events: []event{{1, true}, {60, false}}, settled: 90},
		"ShortAfterLong":   {events: []event{{1, true}, {60, false}, {61, true}, {61.1, false}}, settled: 90},
		"LongAfterLong":    {events: []event{{1, true}, {60, false}, {61, true}, {80, false}}, settled: 110},
		"OverBeforeTheEnd": {events: []event{{1, true}, {1.1, false}, {5, false}}, settled: 2.1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := Outage{Name: "istiod", Factor: 10, Max: 30 * time.Second}
			last := 0.0
			for _, e := range test.events {
				last = e.at
				if e.failed {
					o.Failed(at(e.at))
				} else {
					o.Answered(at(e.at))
				}
			}
			for s := last; s < 120; s += 0.05 {
				if got := o.Settling(at(s)); (got != "") != (s < test.settled) {
					t.Fatalf("after %.2f s: %q, and it settles at %.2f", s, got, test.settled)
				}
			}
		})
	}
}

// TestWords: what people read does not change from second to second, which would be a
// write of a status each time.
func TestWords(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	o := Outage{Name: "istiod", Factor: 10, Max: 30 * time.Second}
	o.Failed(start)
	o.Answered(start.Add(8 * time.Second))
	const want = "istiod was away and is back since 03:04:13 UTC: its proxies may take until 03:04:44 UTC to be back with it, and route as before until then"
	for _, s := range []int{8, 9, 37} {
		if got := o.Settling(start.Add(time.Duration(s) * time.Second)); got != want {
			t.Errorf("after %d s it says\n%s\nand not\n%s", s, got, want)
		}
	}
}
