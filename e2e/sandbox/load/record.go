package load

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// BucketSize is the time that one line of the log stands for.
const BucketSize = 100 * time.Millisecond

// Totals are the numbers of a whole run, or of a run so far.
type Totals struct {
	// Sent is the number of requests sent, answered or not.
	Sent int `json:"sent"`
	// Unsent is the number of arrivals that could not be sent; see the package
	// documentation.
	Unsent int `json:"unsent"`
	// Responses is the number of requests that have ended. It is less than
	// Sent while some are in flight.
	Responses int `json:"responses"`
}

// Header is the first line of a log: which load this was.
type Header struct {
	Name    string    `json:"name"`
	Target  string    `json:"target"`
	Host    string    `json:"host,omitempty"`
	Rate    float64   `json:"rate"`
	Started time.Time `json:"started"`
}

// line is one line of the log: exactly one of its fields is set.
type line struct {
	Header *Header `json:"header,omitempty"`
	Bucket *bucket `json:"bucket,omitempty"`
	End    *Totals `json:"end,omitempty"`
}

// bucket is what happened in the BucketSize from Start on.
type bucket struct {
	Start     time.Time `json:"start"`
	Sent      int       `json:"sent"`
	Unsent    int       `json:"unsent,omitempty"`
	Counts    []count   `json:"counts,omitempty"`
	Responses []entry   `json:"responses,omitempty"`
}

// entry is one response; AtMicros counts from the start of its bucket.
type entry struct {
	AtMicros      int64 `json:"at_us"`
	LatencyMicros int64 `json:"latency_us"`
	Session       int   `json:"session,omitempty"`
	Key
}

// recorder counts what the generator does and writes the log. It gives every
// event its time under one lock, so that the events in the log are in order of
// time. It is safe for concurrent use.
type recorder struct {
	start time.Time

	mu     sync.Mutex
	counts Counts
	totals Totals
	// pending are the buckets that are not written yet, oldest first; all but
	// the last are over. next is the index of the first one.
	pending []*bucket
	next    int

	// The writer's own; see flush.
	enc *json.Encoder
	err error
}

func newRecorder(h Header, w io.Writer) *recorder {
	r := &recorder{start: h.Started, counts: Counts{}, enc: json.NewEncoder(w)}
	r.write(line{Header: &h})
	return r
}

// at returns the present bucket and time; r.mu is held. Times are the start's
// plus what the monotonic clock says has passed, so a step of the wall clock
// does not disorder them.
func (r *recorder) at() (*bucket, time.Time) {
	since := time.Since(r.start)
	index := int(since / BucketSize)
	for r.next+len(r.pending) <= index {
		start := r.start.Add(time.Duration(r.next+len(r.pending)) * BucketSize)
		r.pending = append(r.pending, &bucket{Start: start})
	}
	return r.pending[len(r.pending)-1], r.start.Add(since)
}

// sent counts a request that is about to be sent.
func (r *recorder) sent() {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, _ := r.at()
	b.Sent++
	r.totals.Sent++
}

// unsent counts an arrival that is not going to be sent.
func (r *recorder) unsent() {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, _ := r.at()
	b.Unsent++
	r.totals.Unsent++
}

// ended records the end, now, of a request of a session that was due at due.
func (r *recorder) ended(due time.Time, session int, k Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, now := r.at()
	b.Responses = append(b.Responses, entry{
		AtMicros:      now.Sub(b.Start).Microseconds(),
		LatencyMicros: max(now.Sub(due), 0).Microseconds(),
		Session:       session,
		Key:           k,
	})
	r.counts[k]++
	r.totals.Responses++
}

// flush writes the buckets that are over and reports the first error of any
// write so far. Only one goroutine may call flush and close.
func (r *recorder) flush() error {
	r.write(r.take(func(pending int) int { return pending - 1 })...)
	return r.err
}

// close writes what is left and the totals.
func (r *recorder) close() (Totals, error) {
	r.write(r.take(func(pending int) int { return pending })...)
	_, totals := r.snapshot()
	r.write(line{End: &totals})
	return totals, r.err
}

// snapshot returns the counts so far.
func (r *recorder) snapshot() (Counts, Totals) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts.Where(func(Key) bool { return true }), r.totals
}

// take removes the oldest of the pending buckets, as many as howMany says.
func (r *recorder) take(howMany func(pending int) int) []line {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at()
	n := howMany(len(r.pending))
	var lines []line
	for _, b := range r.pending[:n] {
		lines = append(lines, line{Bucket: b})
	}
	r.pending = r.pending[n:]
	r.next += n
	return lines
}

// write is called without the lock: a slow disk must not hold up requests.
func (r *recorder) write(lines ...line) {
	for _, l := range lines {
		if l.Bucket != nil {
			l.Bucket.Counts = summarize(l.Bucket.Responses)
		}
		if r.err != nil {
			return // one error is enough: the run is about to end
		}
		if err := r.enc.Encode(l); err != nil {
			r.err = fmt.Errorf("cannot write the log: %w", err)
		}
	}
}

// summarize counts responses by version and code, in order of appearance.
func summarize(responses []entry) []count {
	var list []count
	place := map[Key]int{}
	for _, e := range responses {
		k := Key{Version: e.Version, Code: e.Code}
		i, seen := place[k]
		if !seen {
			i = len(list)
			place[k] = i
			list = append(list, count{Key: k})
		}
		list[i].N++
	}
	return list
}
