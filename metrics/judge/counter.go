package judge

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Sample is one raw value of a counter.
type Sample struct {
	Time  time.Time
	Value float64
}

// Increase is how much a counter grew since its sample before, at the time of
// the sample that shows it.
type Increase struct {
	Time  time.Time
	Count float64
}

// Origin is where a counter began, which its samples alone do not say.
type Origin int

const (
	// Unknown means that the counter may have counted long before its first sample. That
	// one is where counting begins, and shows no events itself.
	Unknown Origin = iota
	// Zero means that the counter did not exist at the start, or its pod did not. What its
	// first sample shows happened since.
	Zero
)

// Counter reads the samples of one counter, in portions. The zero value is one
// of which nothing has been read.
type Counter struct {
	last  Sample
	known bool
}

// Last is the newest sample that was read; ok is false when there is none.
func (c *Counter) Last() (last Sample, ok bool) { return c.last, c.known }

// Increases after start that a portion of samples shows. The newest sample at or
// before start is where counting begins; without one, origin says what the first
// sample means.
//
// A portion may be in any order, with samples more than once; those that are not
// newer than the portion before are left out. So are values that no counter can
// have (negative, infinite, not a number). Of several values at one time the
// largest counts, as counters only grow.
func (c *Counter) Increases(samples []Sample, start time.Time, origin Origin) []Increase {
	var increases []Increase
	for _, s := range clean(samples) {
		if c.known && !s.Time.After(c.last.Time) {
			continue
		}
		if s.Time.After(start) && (c.known || origin == Zero) {
			// A counter that fell was reset: all it shows is new.
			grown := s.Value
			if s.Value >= c.last.Value {
				grown -= c.last.Value
			}
			if grown > 0 {
				increases = append(increases, Increase{Time: s.Time, Count: grown})
			}
		}
		c.last, c.known = s, true
	}
	return increases
}

// clean gives the usable samples in order of time, one for each time.
func clean(samples []Sample) []Sample {
	usable := make([]Sample, 0, len(samples))
	for _, s := range samples {
		if s.Value >= 0 && !math.IsInf(s.Value, 1) {
			usable = append(usable, s)
		}
	}
	slices.SortFunc(usable, func(a, b Sample) int {
		// The largest of one time comes first and is the one that Compact keeps.
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(b.Value, a.Value))
	})
	return slices.CompactFunc(usable, func(a, b Sample) bool { return a.Time.Equal(b.Time) })
}

// WindowStep is the length of the windows into which events are counted. It is
// fixed, so that every look, at whatever time, counts in the same windows.
const WindowStep = 5 * time.Second

// Window counts the events of WindowStep up to End.
type Window struct {
	End        time.Time
	Bad, Total float64
}

// Windows are the counts of one version since Start, in order of time. Windows
// without events are left out.
type Windows struct {
	Start   time.Time
	Windows []Window
}

// Count adds up increases of bad and of all events, of any number of counters,
// in windows since start.
func Count(start time.Time, bad, total []Increase) Windows {
	counts := map[int64]*Window{}
	at := func(t time.Time) *Window {
		// The k-th window ends at start + k steps and holds that moment.
		k := int64((t.Sub(start) + WindowStep - 1) / WindowStep)
		w, ok := counts[k]
		if !ok {
			w = &Window{End: start.Add(time.Duration(k) * WindowStep)}
			counts[k] = w
		}
		return w
	}
	for _, i := range bad {
		at(i.Time).Bad += i.Count
	}
	for _, i := range total {
		at(i.Time).Total += i.Count
	}
	windows := Windows{Start: start, Windows: make([]Window, 0, len(counts))}
	for _, w := range counts {
		windows.Windows = append(windows.Windows, *w)
	}
	slices.SortFunc(windows.Windows, func(a, b Window) int { return a.End.Compare(b.End) })
	return windows
}

// Merge adds the counts of other windows with the same start.
func (w Windows) Merge(other Windows) Windows {
	merged := Windows{Start: w.Start, Windows: make([]Window, 0, len(w.Windows)+len(other.Windows))}
	a, b := w.Windows, other.Windows
	for len(a) > 0 && len(b) > 0 {
		switch a[0].End.Compare(b[0].End) {
		case -1:
			merged.Windows, a = append(merged.Windows, a[0]), a[1:]
		case 1:
			merged.Windows, b = append(merged.Windows, b[0]), b[1:]
		default:
			sum := Window{End: a[0].End, Bad: a[0].Bad + b[0].Bad, Total: a[0].Total + b[0].Total}
			merged.Windows, a, b = append(merged.Windows, sum), a[1:], b[1:]
		}
	}
	merged.Windows = append(append(merged.Windows, a...), b...)
	return merged
}

// number of a window: the first is 1.
func (w Windows) number(window Window) int64 { return int64(window.End.Sub(w.Start) / WindowStep) }

// Since adds up the counts of the windows that end after a time.
func (w Windows) Since(since time.Time) (bad, total float64) {
	for _, window := range w.Windows {
		if window.End.After(since) {
			bad += window.Bad
			total += window.Total
		}
	}
	return bad, total
}
