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
	// settled is the age after which no more samples come.
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
// holds nothing but sums of samples, so that one who begins without it, and reads
// them all, has the same.
type history struct {
	start  time.Time
	origin judge.Origin
	// until is up to when all samples of the owners have been read. Newer ones may have
	// been, and are read again.
	until   time.Time
	owners  map[string]bool
	series  map[string]*tracked
	windows judge.Windows
	// targets are the times of the first sample since start of each of those that count
	// for both versions, nil where each pod counts for itself. besides is what is known of the
	// series of the other version.
	targets map[target]time.Time
	besides freshness
}

// freshness of series: the time of the newest sample, and that between two scrapes,
// zero when it is not known yet.
type freshness struct {
	newest   time.Time
	interval time.Duration
}

// tracked is one counter.
type tracked struct {
	counter judge.Counter
	owner   string
	// gaps between its last samples.
	gaps []time.Duration
}

// keptGaps is how many gaps between samples are kept of a counter.
const keptGaps = 10

// counted is what the counters of one version say at a look.
type counted struct {
	windows judge.Windows
	// owners with samples of the total.
	owners map[string]bool
	// Of those samples, and of those of the other version where its series are read too.
	freshness
	// anyBad tells whether there is a counter of bad events at all.
	anyBad bool
}

// question reads the counters of owners between two times.
type question func(ctx context.Context, owners []string, from, to time.Time) (counters, error)

// newHistory is one of series of which each pod counts for itself.
func newHistory(start time.Time, origin judge.Origin) *history {
	return &history{
		start: start, origin: origin, until: start.Add(-lookback),
		owners: map[string]bool{}, series: map[string]*tracked{}, windows: judge.Windows{Start: start},
	}
}

// newSharedHistory is one of series of others than the pods, such as proxies that
// call them. They have counted for the releases before this one, too, by the same
// Service: the scrapes around the start do not say on which side of it a request was.
func newSharedHistory(start time.Time) *history {
	h := newHistory(start, judge.Zero)
	h.targets = map[target]time.Time{}
	return h
}

// from is where a series begins to count: at the start, or, where its counter may be
// older than the release, at the first scrape since. What that one shows is left out.
func (h *history) from(s metrics.Series) time.Time {
	if first, ok := h.targets[scrapedFrom(s)]; ok {
		return first
	}
	return h.start
}

// count adds what has come since, and gives the counts up to now. An error leaves
// what was counted until then. Reading something again counts nothing twice, as
// each counter knows its last sample.
func (h *history) count(ctx context.Context, ask question, owners []string, now time.Time) (counted, error) {
	unknown := slices.DeleteFunc(slices.Clone(owners), func(owner string) bool { return h.owners[owner] })
	if err := h.read(ctx, ask, unknown, h.start.Add(-lookback), h.until); err != nil {
		return counted{}, err
	}
	for _, owner := range unknown {
		h.owners[owner] = true
	}
	if err := h.read(ctx, ask, owners, h.until, now); err != nil {
		return counted{}, err
	}
	c := h.counted()
	if border := settledAt(c.newest, now); border.After(h.until) {
		h.until = border
	}
	return c, nil
}

// read counts the samples of owners between two times, in portions.
func (h *history) read(ctx context.Context, ask question, owners []string, from, to time.Time) error {
	for len(owners) > 0 && from.Before(to) {
		end := from.Add(portion)
		if end.After(to) {
			end = to
		}
		c, err := ask(ctx, owners, from, end)
		if err != nil {
			return err
		}
		h.add(c)
		from = end
	}
	return nil
}

// settledAt is up to when all samples have come. Of a server that lags behind,
// these are only those before what it has, unless that is very long ago.
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

// add counts samples.
func (h *history) add(c counters) {
	if h.targets != nil {
		for from, first := range firstScrapes(slices.Concat(c.total, c.bad, c.besides), h.start) {
			if at, ok := h.targets[from]; !ok || first.Before(at) {
				h.targets[from] = first
			}
		}
		h.besides = h.besides.with(c.besides)
	}
	grown := func(prefix string, series []metrics.Series) []judge.Increase {
		var all []judge.Increase
		for _, s := range series {
			k := prefix + key(s.Labels)
			t, ok := h.series[k]
			if !ok {
				t = &tracked{owner: s.Owner}
				h.series[k] = t
			}
			t.gaps = t.gapsWith(s.Samples)
			all = append(all, t.counter.Increases(samples(s), h.from(s), h.origin)...)
		}
		return all
	}
	h.windows = h.windows.Merge(judge.Count(h.start, grown(badKey, c.bad), grown(totalKey, c.total)))
}

// counted is what all counters say.
func (h *history) counted() counted {
	c := counted{windows: h.windows, owners: map[string]bool{}, freshness: h.besides}
	var gaps []time.Duration
	for key, t := range h.series {
		if strings.HasPrefix(key, badKey) {
			c.anyBad = true
			continue
		}
		last, ok := t.counter.Last()
		if !ok {
			continue
		}
		c.owners[t.owner] = true
		gaps = append(gaps, t.gaps...)
		if last.Time.After(c.newest) {
			c.newest = last.Time
		}
	}
	if usual := median(gaps); usual > 0 {
		c.interval = usual
	}
	return c
}

// with is the freshness when more series have been read.
func (f freshness) with(series []metrics.Series) freshness {
	if last := newest(series); last.After(f.newest) {
		f.newest = last
	}
	if usual := intervalOf(series); usual > 0 {
		f.interval = usual
	}
	return f
}

// gapsWith are the last gaps when samples follow.
func (t *tracked) gapsWith(samples []metrics.Sample) []time.Duration {
	last, ok := t.counter.Last()
	gaps := t.gaps
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
	// question is what is asked, and of whom.
	question string
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

// count counts with the history, or with a new one from the beginning.
func (r *remembered) count(ctx context.Context, p party, ask question, start, now time.Time) (counted, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.history == nil || now.Before(r.history.until) {
		// A canary's pods are of this release: a counter that begins has counted from
		// zero since.
		r.history = p.history(start, judge.Zero)
	}
	return r.history.count(ctx, ask, p.names, now)
}
