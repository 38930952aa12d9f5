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
	series  map[string]*tracked
	windows judge.Windows
}

// tracked is one counter.
type tracked struct {
	counter judge.Counter
	pod     string
}

// counted is what the counters of one version say at a look.
type counted struct {
	windows judge.Windows
	// pods with samples of the total, and the time of the newest one.
	pods   map[string]bool
	newest time.Time
	// recent are the samples of the total that were read last.
	recent []metrics.Series
	// anyBad tells whether there is a counter of bad events at all.
	anyBad bool
}

// question reads the counters of pods between two times.
type question func(ctx context.Context, pods []string, from, to time.Time) (counters, error)

func newHistory(start time.Time, origin judge.Origin) *history {
	return &history{
		start: start, origin: origin, until: start.Add(-lookback),
		pods: map[string]bool{}, series: map[string]*tracked{}, windows: judge.Windows{Start: start},
	}
}

// count adds what has come since, and gives the counts up to now. After an error
// the history is of no use any more.
func (h *history) count(ctx context.Context, ask question, pods []string, now time.Time) (counted, error) {
	if err := h.catchUp(ctx, ask, pods); err != nil {
		return counted{}, err
	}
	for now.Sub(h.until) > portion+settled {
		if err := h.read(ctx, ask, pods, h.until, h.until.Add(portion)); err != nil {
			return counted{}, err
		}
		h.until = h.until.Add(portion)
	}
	c, err := ask(ctx, pods, h.until, now)
	if err != nil {
		return counted{}, err
	}
	// Where a server lags behind, only what it has can have settled.
	border := now
	if n := newest(c.total); n.Before(border) {
		border = n
	}
	if border = border.Add(-settled); border.After(h.until) {
		h.add(before(c, border))
		h.until = border
	}
	return h.with(c), nil
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
	h.windows = h.windows.Merge(h.increases(c, func(key, pod string) *judge.Counter {
		t, ok := h.series[key]
		if !ok {
			t = &tracked{pod: pod}
			h.series[key] = t
		}
		return &t.counter
	}))
}

// with gives the counts that there are with samples which may still change.
func (h *history) with(c counters) counted {
	known := counted{pods: map[string]bool{}, recent: c.total}
	for key, t := range h.series {
		known.see(key, t.pod, t.counter)
	}
	known.windows = h.windows.Merge(h.increases(c, func(key, _ string) *judge.Counter {
		var copied judge.Counter
		if t, ok := h.series[key]; ok {
			copied = t.counter
		}
		return &copied
	}))
	for _, s := range c.total {
		for _, sample := range s.Samples {
			known.pods[s.Pod] = true
			if sample.Time.After(known.newest) {
				known.newest = sample.Time
			}
		}
	}
	known.anyBad = known.anyBad || len(c.bad) > 0
	return known
}

// see takes a counter that was read before into account.
func (c *counted) see(key, pod string, counter judge.Counter) {
	last, ok := counter.Last()
	if strings.HasPrefix(key, badKey) {
		c.anyBad = true
		return
	}
	if ok {
		c.pods[pod] = true
		if last.Time.After(c.newest) {
			c.newest = last.Time
		}
	}
}

// increases counts samples with the counters that of gives.
func (h *history) increases(c counters, of func(key, pod string) *judge.Counter) judge.Windows {
	grown := func(prefix string, series []metrics.Series) []judge.Increase {
		var all []judge.Increase
		for _, s := range series {
			counter := of(prefix+key(s.Labels), s.Pod)
			all = append(all, counter.Increases(samples(s), h.start, h.origin)...)
		}
		return all
	}
	return judge.Count(h.start, grown(badKey, c.bad), grown(totalKey, c.total))
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
	c, err := r.history.count(ctx, ask, pods, now)
	if err != nil {
		r.history = nil // Half of it may be counted.
	}
	return c, err
}
