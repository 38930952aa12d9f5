package load

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"
	"time"
)

// Log is what a generator has logged, in memory. It is not safe for concurrent
// use.
type Log struct {
	// Header says which load this is.
	Header Header

	path      string
	offset    int64
	lines     int
	responses []Response // in order of At
	totals    Totals
	covered   time.Time
	end       *Totals
}

// Open reads the log at path, which may still be written. Refresh reads what
// has been added since.
func Open(path string) (*Log, error) {
	l := &Log{path: path}
	return l, l.Refresh()
}

// Refresh reads what the file has gained. A last line that is not whole yet is
// left for the next time.
func (l *Log) Refresh() error {
	f, err := os.Open(l.path)
	if err != nil {
		return fmt.Errorf("cannot read the load log: %w", err)
	}
	defer f.Close() //nolint:errcheck // it is only read
	if _, err := f.Seek(l.offset, io.SeekStart); err != nil {
		return fmt.Errorf("cannot read the load log: %w", err)
	}
	if err := l.read(f); err != nil {
		return fmt.Errorf("cannot read the load log %s: %w", l.path, err)
	}
	return nil
}

// read adds all whole lines of r.
func (l *Log) read(r io.Reader) error {
	in := bufio.NewReaderSize(r, 1<<20)
	for {
		text, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", l.lines+1, err)
		}
		if err := l.add(bytes.TrimSpace(text)); err != nil {
			return fmt.Errorf("line %d: %w", l.lines+1, err)
		}
		l.offset += int64(len(text))
		l.lines++
	}
}

// add takes in one line.
func (l *Log) add(text []byte) error {
	var one line
	if err := json.Unmarshal(text, &one); err != nil {
		return fmt.Errorf("the log is damaged: %w", err)
	}
	switch {
	case one.Header != nil && l.lines == 0:
		l.Header = *one.Header
		l.covered = one.Header.Started
	case one.Bucket != nil && l.lines > 0 && l.end == nil:
		return l.addBucket(one.Bucket)
	case one.End != nil && l.lines > 0 && l.end == nil:
		l.end = one.End
		if *l.end != l.totals {
			return fmt.Errorf("the log is damaged: its totals are %+v, its buckets sum to %+v", *l.end, l.totals)
		}
	default:
		return errors.New("the log is damaged: want a header, then buckets, then the end")
	}
	return nil
}

func (l *Log) addBucket(b *bucket) error {
	sum := 0
	for _, c := range b.Counts {
		sum += c.N
	}
	if sum != len(b.Responses) {
		return fmt.Errorf("the log is damaged: counts sum to %d, there are %d responses", sum, len(b.Responses))
	}
	l.totals.Sent += b.Sent
	l.totals.Unsent += b.Unsent
	l.totals.Responses += len(b.Responses)
	for _, e := range b.Responses {
		l.responses = append(l.responses, Response{
			At:      b.Start.Add(time.Duration(e.AtMicros) * time.Microsecond),
			Latency: time.Duration(e.LatencyMicros) * time.Microsecond,
			Session: e.Session, Version: e.Version, Pod: e.Pod, Code: e.Code, Reason: e.Reason,
		})
	}
	l.covered = b.Start.Add(BucketSize)
	return nil
}

// Covered returns the time up to which everything is known: all responses
// before it have been read.
func (l *Log) Covered() time.Time { return l.covered }

// Ended reports whether the generator came to its end; if not, it still runs
// or was killed.
func (l *Log) Ended() bool { return l.end != nil }

// Totals returns the numbers of everything read. Once the log has ended, Sent
// equals Responses. Of a generator that was killed, the difference is the
// number of requests in flight then, whose fate is not known.
func (l *Log) Totals() Totals { return l.totals }

// Responses returns all responses in order of time. The slice is the log's
// own: do not change it.
func (l *Log) Responses() []Response { return slices.Clip(l.responses) }

// Between counts the responses that ended in [from, to).
func (l *Log) Between(from, to time.Time) Counts {
	c := Counts{}
	for _, r := range l.responses[l.index(from):] {
		if !r.At.Before(to) {
			break
		}
		c[r.key()]++
	}
	return c
}

// DueBetween counts the responses to requests that were due in [from, to),
// whenever they ended.
func (l *Log) DueBetween(from, to time.Time) Counts {
	c := Counts{}
	// A request due at from cannot have ended before it.
	for _, r := range l.responses[l.index(from):] {
		if due := r.DueAt(); !due.Before(from) && due.Before(to) {
			c[r.key()]++
		}
	}
	return c
}

// UsersBetween counts, for each session, the responses to its requests that were due
// in [from, to).
func (l *Log) UsersBetween(from, to time.Time) map[int]Counts {
	users := map[int]Counts{}
	for _, r := range l.responses[l.index(from):] {
		if due := r.DueAt(); r.Session == 0 || due.Before(from) || !due.Before(to) {
			continue
		}
		if users[r.Session] == nil {
			users[r.Session] = Counts{}
		}
		users[r.Session][r.key()]++
	}
	return users
}

// All counts every response.
func (l *Log) All() Counts {
	c := Counts{}
	for _, r := range l.responses {
		c[r.key()]++
	}
	return c
}

// First returns the first response at or after a time that satisfies match.
func (l *Log) First(after time.Time, match func(Response) bool) (Response, bool) {
	for _, r := range l.responses[l.index(after):] {
		if match(r) {
			return r, true
		}
	}
	return Response{}, false
}

// Last returns the last response before a time that satisfies match.
func (l *Log) Last(before time.Time, match func(Response) bool) (Response, bool) {
	for _, r := range slices.Backward(l.responses[:l.index(before)]) {
		if match(r) {
			return r, true
		}
	}
	return Response{}, false
}

// FirstBad returns the first bad response at or after a time.
func (l *Log) FirstBad(after time.Time) (Response, bool) { return l.First(after, Response.Bad) }

// index returns the index of the first response at or after t.
func (l *Log) index(t time.Time) int {
	return sort.Search(len(l.responses), func(i int) bool { return !l.responses[i].At.Before(t) })
}

// WaitCovered refreshes until the log covers t or has ended.
func (l *Log) WaitCovered(ctx context.Context, t time.Time) error {
	tick := time.NewTicker(BucketSize / 2)
	defer tick.Stop()
	for {
		if err := l.Refresh(); err != nil {
			return err
		}
		if l.Ended() || !l.covered.Before(t) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the load log %s ends at %s, before %s: %w",
				l.path, l.covered.Format(time.StampMilli), t.Format(time.StampMilli), ctx.Err())
		case <-tick.C:
		}
	}
}
