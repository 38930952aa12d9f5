package judge

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var begin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// at is a sample some seconds after the beginning.
func at(seconds float64, value float64) Sample {
	return Sample{Time: begin.Add(time.Duration(seconds * float64(time.Second))), Value: value}
}

func inc(seconds, count float64) Increase { return Increase{Time: at(seconds, 0).Time, Count: count} }

func TestIncreases(t *testing.T) {
	cases := map[string]struct {
		reason  string
		samples []Sample
		origin  Origin
		want    []Increase
	}{
		"None":          {reason: "no samples, no events"},
		"Baseline":      {reason: "counting begins at the last sample before the start", samples: []Sample{at(-30, 90), at(-15, 100), at(0, 104), at(15, 110)}, want: []Increase{inc(15, 6)}},
		"OldBaseline":   {reason: "events before the start do not count, even those between its samples and it", samples: []Sample{at(-200, 7), at(15, 10)}, want: []Increase{inc(15, 3)}},
		"NewSeries":     {reason: "a series that began since counts from zero: its first sample has events", samples: []Sample{at(15, 3), at(30, 5)}, origin: Zero, want: []Increase{inc(15, 3), inc(30, 2)}},
		"UnknownOrigin": {reason: "a first sample of unknown age shows no events", samples: []Sample{at(15, 3000), at(30, 3002)}, origin: Unknown, want: []Increase{inc(30, 2)}},
		"ZeroAtBirth":   {reason: "a series that begins at zero shows nothing yet", samples: []Sample{at(15, 0), at(30, 0)}, origin: Zero},
		"Reset":         {reason: "after a reset all that is shown is new", samples: []Sample{at(0, 100), at(15, 110), at(30, 4), at(45, 5)}, want: []Increase{inc(15, 10), inc(30, 4), inc(45, 1)}},
		"ResetAtStart":  {reason: "a reset right after the start", samples: []Sample{at(-5, 100), at(10, 2)}, want: []Increase{inc(10, 2)}},
		"ResetToZero":   {reason: "a reset without events since", samples: []Sample{at(0, 100), at(15, 0), at(30, 1)}, want: []Increase{inc(30, 1)}},
		"Gap":           {reason: "the sample after a gap has its events", samples: []Sample{at(0, 10), at(15, 11), at(600, 500)}, want: []Increase{inc(15, 1), inc(600, 489)}},
		"Reordered":     {reason: "order of arrival means nothing", samples: []Sample{at(30, 12), at(0, 10), at(15, 11)}, want: []Increase{inc(15, 1), inc(30, 1)}},
		"Duplicates":    {reason: "one sample a time counts, the largest", samples: []Sample{at(0, 10), at(15, 11), at(15, 13), at(15, 11), at(30, 13)}, want: []Increase{inc(15, 3)}},
		"NotANumber":    {reason: "values that no counter has are left out", samples: []Sample{at(0, 10), at(5, math.NaN()), at(10, math.Inf(1)), at(15, -1), at(20, math.Inf(-1)), at(30, 12)}, want: []Increase{inc(30, 2)}},
		"AllBefore":     {reason: "nothing after the start, no events", samples: []Sample{at(-30, 1), at(-15, 9)}, origin: Zero},
		"Fractions":     {reason: "counters of recording rules need not be whole", samples: []Sample{at(0, 0.25), at(15, 0.75)}, want: []Increase{inc(15, 0.5)}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var c Counter
			got := c.Increases(tc.samples, begin, tc.origin)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestIncreasesOfProcess: whatever is scraped when, in whatever order, often or
// twice, the increases add up to the events that the last scrape of each life of
// the process saw.
func TestIncreasesOfProcess(t *testing.T) {
	for seed := range uint64(500) {
		random := rand.New(rand.NewPCG(seed, 1))
		var samples []Sample
		var want, value, before float64
		seconds := -60.0
		for range 40 {
			seconds += 1 + random.Float64()*20
			grown := float64(random.IntN(9))
			if random.IntN(8) == 0 {
				value = 0 // A new life. What it lost before its end is nobody's.
			}
			previous := value
			value += grown
			if random.IntN(5) == 0 {
				value = previous // Not scraped: as if it had not happened yet.
				continue
			}
			samples = append(samples, at(seconds, value))
			switch {
			case seconds <= 0:
			case value < before:
				want += value
			default:
				want += value - before
			}
			before = value
			if random.IntN(4) == 0 {
				samples = append(samples, at(seconds, value))
			}
		}
		random.Shuffle(len(samples), func(i, j int) { samples[i], samples[j] = samples[j], samples[i] })
		original := slices.Clone(samples)
		got := 0.0
		var whole Counter
		for _, i := range whole.Increases(samples, begin, Zero) {
			got += i.Count
		}
		if got != want {
			t.Fatalf("seed %d: got %v events, want %v", seed, got, want)
		}
		// The same in portions, which may overlap.
		got = 0
		var portions Counter
		for to := -60.0; to < 1000; to += 1 + random.Float64()*200 {
			portion := slices.DeleteFunc(slices.Clone(samples), func(s Sample) bool { return s.Time.After(at(to, 0).Time) })
			for _, i := range portions.Increases(portion, begin, Zero) {
				got += i.Count
			}
		}
		if got != want {
			t.Fatalf("seed %d: got %v events in portions, want %v", seed, got, want)
		}
		if !slices.Equal(samples, original) {
			t.Fatalf("seed %d: the samples of the caller were changed", seed)
		}
	}
}

func TestCount(t *testing.T) {
	got := Count(begin,
		[]Increase{inc(5, 1), inc(61, 2)},
		[]Increase{inc(0.001, 10), inc(5, 20), inc(5.001, 40), inc(61, 80)},
	)
	want := Windows{Start: begin, Windows: []Window{
		{End: begin.Add(5 * time.Second), Bad: 1, Total: 30},
		{End: begin.Add(10 * time.Second), Total: 40},
		{End: begin.Add(65 * time.Second), Bad: 2, Total: 80},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("a window holds its end, empty ones are left out: -want, +got:\n%s", diff)
	}
	bad, total := got.Since(begin.Add(10 * time.Second))
	if bad != 2 || total != 80 {
		t.Errorf("since the end of the second window: got %v of %v, want 2 of 80", bad, total)
	}
}

func TestMerge(t *testing.T) {
	window := func(seconds, bad, total float64) Window {
		return Window{End: at(seconds, 0).Time, Bad: bad, Total: total}
	}
	a := Windows{Start: begin, Windows: []Window{window(5, 1, 2), window(10, 0, 3), window(30, 1, 1)}}
	b := Windows{Start: begin, Windows: []Window{window(10, 2, 4), window(20, 0, 5), window(40, 0, 6)}}
	want := Windows{Start: begin, Windows: []Window{window(5, 1, 2), window(10, 2, 7), window(20, 0, 5), window(30, 1, 1), window(40, 0, 6)}}
	for _, got := range []Windows{a.Merge(b), b.Merge(a)} {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("in order of time, those of one time added up: -want, +got:\n%s", diff)
		}
	}
	if diff := cmp.Diff(a, a.Merge(Windows{})); diff != "" {
		t.Errorf("nothing changes nothing: -want, +got:\n%s", diff)
	}
}

// FuzzIncreases: no input makes an increase that is not positive, out of order,
// or before the start.
func FuzzIncreases(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6}, true)
	f.Fuzz(func(t *testing.T, raw []byte, zero bool) {
		values := []float64{0, 1, 2, 100, -1, math.NaN(), math.Inf(1), 1e18, 0.5}
		var samples []Sample
		for i := 0; i+1 < len(raw); i += 2 {
			samples = append(samples, at(float64(raw[i])-100, values[int(raw[i+1])%len(values)]))
		}
		origin := Unknown
		if zero {
			origin = Zero
		}
		last := begin
		var c Counter
		for _, i := range c.Increases(samples, begin, origin) {
			if !i.Time.After(last) || !(i.Count > 0) || math.IsInf(i.Count, 0) {
				t.Fatalf("increase %v after %v from %v", i, last, samples)
			}
			last = i.Time
		}
	})
}
