package evaluate

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weir-dev/weir/metrics"
	"github.com/weir-dev/weir/metrics/judge"
)

const (
	// settled is the age after which samples no longer change: they have been
	// stored, and those of a server that lagged behind have come. Of the rest,
	// which is read again, the interval between scrapes can be seen.
	settled = 5 * time.Minute
	// portion is the longest time that is read at once.
	portion = 2 * time.Hour
	// longestLag is how far behind a server may be whose samples all count. Of one
	// that lags more, those of the gap count where no counter was reset in it.
	longestLag = 6 * time.Hour
	// forgotten is how long a history is kept that nobody asks for.
	forgotten = 10 * time.Minute
)

// history is what has been counted of a Ratio so far. It saves reading: a
// release that lasts for days is not read from its beginning at each look. It
// holds nothing but sums of samples that have settled, so that one who begins
// without it, and reads them all, has the same.
type history struct {
	start  time.Time
	origin judge.Origin
	// until is up to when the samples of pods are in windows and series.
	until   time.Time
	pods    map[string]bool
	series  map[string]tracked
	windows judge.Windows
}

// tracked is one counter.
type tracked struct {
	counter judge.Counter
	pod     string
	// gaps between its last samples. Never changed in place: copies share them.
	gaps []time.Duration
}

// keptGaps is how many gaps between samples are kept of a counter.
const keptGaps = 10

// counted is what the counters of one version say at a look.
type counted struct {
	windows judge.Windows
	// pods with samples of the total, and the time of the newest one.
	pods   map[string]bool
	newest time.Time
	// interval between scrapes, zero when it is not known yet.
	interval time.Duration
	// anyBad tells whether there is a counter of bad events at all.
	anyBad bool
}

// question reads the counters of pods between two times.
type question func(ctx context.Context, pods []string, from, to time.Time) (counters, error)

func newHistory(start time.Time, origin judge.Origin) *history {
	return &history{
		start: start, origin: origin, until: start.Add(-lookback),
		pods: map[string]bool{}, series: map[string]tracked{}, windows: judge.Windows{Start: start},
	}
}

// count adds what has come since, and gives the counts up to now. An error leaves
// what was counted until then; counters that are read again know what they have.
func (h *history) count(ctx context.Context, ask question, pods []string, now time.Time) (counted, error) {
	if err := h.catchUp(ctx, ask, pods); err != nil {
		return counted{}, err
	}
	from := h.until
	for ; now.Sub(from) > portion+settled; from = from.Add(portion) {
		if err := h.read(ctx, ask, pods, from, from.Add(portion)); err != nil {
			return counted{}, err
		}
	}
	c, err := ask(ctx, pods, from, now)
	if err != nil {
		return counted{}, err
	}
	known := h.with(c)
	if border := settledAt(known.newest, now); border.After(h.until) {
		h.add(before(c, border))
		h.until = border
	}
	return known, nil
}

// settledAt is up to when samples have settled. Of a server that lags behind,
// only those before what it has, unless that is very long ago.
func settledAt(newest, now time.Time) time.Time {
	if newest.After(now) {
		newest = now
	}
	border := newest.Add(-settled)
	if latest := now.Add(-longestLag); latest.After(border) {
		return latest
	}
	return border
}

// catchUp reads what pods that are new to the history had until then.
func (h *history) catchUp(ctx context.Context, ask question, pods []string) error {
	unknown := slices.DeleteFunc(slices.Clone(pods), func(pod string) bool { return h.pods[pod] })
	for from := h.start.Add(-lookback); len(unknown) > 0 && from.Before(h.until); {
		to := from.Add(portion)
		if to.After(h.until) {
			to = h.until
		}
		if err := h.read(ctx, ask, unknown, from, to); err != nil {
			return err
		}
		from = to
	}
	for _, pod := range unknown {
		h.pods[pod] = true
	}
	return nil
}

// read counts a portion.
func (h *history) read(ctx context.Context, ask question, pods []string, from, to time.Time) error {
	c, err := ask(ctx, pods, from, to)
	if err != nil {
		return err
	}
	h.add(c)
	return nil
}

// add counts samples for good.
func (h *history) add(c counters) {
	h.windows = h.windows.Merge(h.fold(h.series, c))
}

// with gives the counts that there are with samples which may still change.
func (h *history) with(c counters) counted {
	series := maps.Clone(h.series)
	known := counted{windows: h.windows.Merge(h.fold(series, c)), pods: map[string]bool{}}
	var gaps []time.Duration
	for key, t := range series {
		if strings.HasPrefix(key, badKey) {
			known.anyBad = true
			continue
		}
		last, ok := t.counter.Last()
		if !ok {
			continue
		}
		known.pods[t.pod] = true
		gaps = append(gaps, t.gaps...)
		if last.Time.After(known.newest) {
			known.newest = last.Time
		}
	}
	known.interval = median(gaps)
	return known
}

// fold counts samples with counters that are known, and adds those that are not.
func (h *history) fold(known map[string]tracked, c counters) judge.Windows {
	grown := func(prefix string, series []metrics.Series) []judge.Increase {
		var all []judge.Increase
		for _, s := range series {
			k := prefix + key(s.Labels)
			t := known[k]
			t.pod = s.Pod
			t.gaps = t.gapsWith(s.Samples)
			all = append(all, t.counter.Increases(samples(s), h.start, h.origin)...)
			known[k] = t
		}
		return all
	}
	return judge.Count(h.start, grown(badKey, c.bad), grown(totalKey, c.total))
}

// gapsWith are the last gaps when samples follow.
func (t tracked) gapsWith(samples []metrics.Sample) []time.Duration {
	last, ok := t.counter.Last()
	gaps := slices.Clone(t.gaps)
	for _, s := range samples {
		gap := s.Time.Sub(last.Time)
		if ok && gap <= 0 {
			continue
		}
		if ok {
			gaps = append(gaps, gap)
		}
		last.Time, ok = s.Time, true
	}
	return gaps[max(0, len(gaps)-keptGaps):]
}

// median of durations, zero of none.
func median(list []time.Duration) time.Duration {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[len(list)/2]
}

// The same series may be a counter of bad and of all events.
const badKey, totalKey = "bad:", "total:"

// key tells a series from others.
func key(labels map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		b.WriteString(name)
		b.WriteByte(0xff) // In no UTF-8 text.
		b.WriteString(labels[name])
		b.WriteByte(0xff)
	}
	return b.String()
}

// before gives the samples up to a time.
func before(c counters, border time.Time) counters {
	cut := func(series []metrics.Series) []metrics.Series {
		early := make([]metrics.Series, 0, len(series))
		for _, s := range series {
			s.Samples = slices.DeleteFunc(slices.Clone(s.Samples), func(sample metrics.Sample) bool { return sample.Time.After(border) })
			if len(s.Samples) > 0 {
				early = append(early, s)
			}
		}
		return early
	}
	return counters{bad: cut(c.bad), total: cut(c.total)}
}

// samples in the words of the judge.
func samples(s metrics.Series) []judge.Sample {
	list := make([]judge.Sample, len(s.Samples))
	for i, sample := range s.Samples {
		list[i] = judge.Sample(sample)
	}
	return list
}

// memory keeps histories between looks.
type memory struct {
	mutex     sync.Mutex
	histories map[memoryKey]*remembered
}

// memoryKey is a Ratio of a release at a source. Another one, or another source,
// is read anew.
type memoryKey struct {
	namespace, workload, revision string
	release                       int64
	start                         time.Time
	source                        metrics.Source
	bad, total                    string
}

// remembered is a history that one look at a time may use.
type remembered struct {
	mutex   sync.Mutex
	history *history
	// used is guarded by the memory's mutex.
	used time.Time
}

// get gives the history of a Ratio, and forgets those that are no longer used.
func (m *memory) get(k memoryKey, now time.Time) *remembered {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	r, ok := m.histories[k]
	if !ok {
		for other, old := range m.histories {
			if now.Sub(old.used) > forgotten {
				delete(m.histories, other)
			}
		}
		r = &remembered{}
		m.histories[k] = r
	}
	r.used = now
	return r
}

// count counts with the history, or without one from the beginning.
func (r *remembered) count(ctx context.Context, ask question, start time.Time, pods []string, now time.Time) (counted, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.history == nil || now.Before(r.history.until) {
		// The canary's pods are of this release: a counter that begins has
		// counted from zero since.
		r.history = newHistory(start, judge.Zero)
	}
	return r.history.count(ctx, ask, pods, now)
}
