package load

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// script is a sender whose nth request takes and returns what it says. It
// notes when each was sent.
type script struct {
	answer func(n int) (time.Duration, Key)

	mu   sync.Mutex
	sent []time.Time
}

func (s *script) send(ctx context.Context, _ int) Key {
	s.mu.Lock()
	n := len(s.sent)
	s.sent = append(s.sent, time.Now())
	s.mu.Unlock()
	took, k := s.answer(n)
	select {
	case <-time.After(took):
		return k
	case <-ctx.Done():
		return Key{Reason: ReasonTimeout}
	}
}

func always(took time.Duration, k Key) func(int) (time.Duration, Key) {
	return func(int) (time.Duration, Key) { return took, k }
}

func good() Key { return Key{Version: "v1", Pod: "p", Code: 200} }

// run runs a load in the bubble of the test and reads its log back.
func run(t *testing.T, cfg Config, s sender) (*Log, *bytes.Buffer) {
	t.Helper()
	cfg.Target = "http://shop.test"
	cfg, err := cfg.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	totals, err := newGenerator(cfg, s, &text).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	log := new(Log)
	if err := log.read(bytes.NewReader(text.Bytes())); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(totals, log.Totals()); diff != "" {
		t.Errorf("totals of the run and of its log differ (-run +log):\n%s", diff)
	}
	if !log.Ended() {
		t.Error("the log of a run that ended has no end")
	}
	return log, &text
}

func TestArrivals(t *testing.T) {
	cases := map[string]struct {
		reason string
		cfg    Config
		want   Totals
		check  func(t *testing.T, offsets []time.Duration)
	}{
		"Even": {
			reason: "even arrivals leave at multiples of 1/rate, from the start until the duration has passed",
			cfg:    Config{Rate: 3, Duration: 2 * time.Second},
			want:   Totals{Sent: 6, Responses: 6},
			check: func(t *testing.T, offsets []time.Duration) {
				for n, got := range offsets {
					if want := time.Duration(n) * time.Second / 3; (got - want).Abs() > time.Microsecond {
						t.Errorf("request %d left at %s, want %s", n, got, want)
					}
				}
			},
		},
		"SlowServer": {
			reason: "an open-loop generator does not wait for answers",
			cfg:    Config{Rate: 100, Duration: time.Second, Timeout: 10 * time.Second, MaxInFlight: 200},
			want:   Totals{Sent: 100, Responses: 100},
		},
		"TooManyInFlight": {
			reason: "an answer takes 3 s, so the first 40 of 100 keep all the places",
			cfg:    Config{Rate: 100, Duration: time.Second, Timeout: 10 * time.Second, MaxInFlight: 40},
			want:   Totals{Sent: 40, Unsent: 60, Responses: 40},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				s := &script{answer: always(3*time.Second, good())}
				log, _ := run(t, tc.cfg, s)
				if diff := cmp.Diff(tc.want, log.Totals()); diff != "" {
					t.Errorf("%s: totals (-want +got):\n%s", tc.reason, diff)
				}
				if tc.check != nil {
					var offsets []time.Duration
					for _, at := range s.sent {
						offsets = append(offsets, at.Sub(start))
					}
					tc.check(t, offsets)
				}
			})
		})
	}
}

func TestPoissonArrivals(t *testing.T) {
	offsets := func(t *testing.T, seed uint64) (out []time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			s := &script{answer: always(0, good())}
			run(t, Config{Rate: 100, Duration: 100 * time.Second, Arrivals: Poisson, Seed: seed}, s)
			for _, at := range s.sent {
				out = append(out, at.Sub(start))
			}
		})
		return out
	}
	first := offsets(t, 7)
	if diff := cmp.Diff(first, offsets(t, 7)); diff != "" {
		t.Errorf("the same seed gave other arrivals:\n%s", diff)
	}
	if slices.Equal(first, offsets(t, 8)) {
		t.Error("another seed gave the same arrivals")
	}
	// 10 000 arrivals are expected, with a standard deviation of 100.
	if n := len(first); n < 9500 || n > 10500 {
		t.Errorf("%d arrivals in 100 s at 100 a second, want about 10000", n)
	}
	// The times between arrivals of a Poisson process vary as much as they are
	// long: the square of their variation is 1, that of even arrivals 0.
	var sum, squares float64
	for i := 1; i < len(first); i++ {
		gap := (first[i] - first[i-1]).Seconds()
		sum += gap
		squares += gap * gap
	}
	n := float64(len(first) - 1)
	mean := sum / n
	if v := (squares/n - mean*mean) / (mean * mean); v < 0.9 || v > 1.1 {
		t.Errorf("squared variation of the times between arrivals is %.2f, want about 1", v)
	}
}

func TestLateArrivalsAreNotSentInABurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answer: always(time.Millisecond, good())}
		cfg, err := Config{Target: "http://shop.test", Rate: 1}.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		g := newGenerator(cfg, s, io.Discard)
		now := time.Now()
		g.arrive(t.Context(), slices.Values([]time.Time{
			now.Add(-2 * time.Second), now.Add(-maxLag), now.Add(-time.Millisecond), now,
		}))
		_, got := g.Snapshot()
		if diff := cmp.Diff(Totals{Sent: 3, Unsent: 1, Responses: 3}, got); diff != "" {
			t.Errorf("totals (-want +got):\n%s", diff)
		}
	})
}

func TestHeldUpArrivalsKeepTheirSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, err := Config{Target: "http://shop.test", Rate: 10}.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		g := newGenerator(cfg, &script{answer: always(0, good())}, io.Discard)
		start := time.Now()
		var due []time.Duration
		for at := range g.times(t.Context()) {
			due = append(due, at.Sub(start))
			if len(due) == 2 {
				time.Sleep(350 * time.Millisecond) // of the bubble's clock: the loop is held up
			}
			if len(due) == 7 {
				break
			}
		}
		want := []time.Duration{0, 1, 2, 3, 4, 5, 6}
		for i := range want {
			want[i] *= 100 * time.Millisecond
		}
		if diff := cmp.Diff(want, due); diff != "" {
			t.Errorf("due times (-want +got):\n%s", diff)
		}
	})
}

func TestLatencyCountsFromWhenARequestWasDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, _ := run(t, Config{Rate: 1, Duration: time.Second}, &script{answer: always(120*time.Millisecond, good())})
		want := []Response{{
			At: log.Header.Started.Add(120 * time.Millisecond), Latency: 120 * time.Millisecond,
			Version: "v1", Pod: "p", Code: 200,
		}}
		if diff := cmp.Diff(want, log.Responses()); diff != "" {
			t.Errorf("responses (-want +got):\n%s", diff)
		}
	})
}

func TestTimeoutEndsARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, _ := run(t, Config{Rate: 2, Duration: time.Second, Timeout: 300 * time.Millisecond},
			&script{answer: always(time.Hour, good())})
		if diff := cmp.Diff(Counts{{Reason: ReasonTimeout}: 2}, log.All()); diff != "" {
			t.Errorf("counts (-want +got):\n%s", diff)
		}
	})
}

func TestRunEndsEarly(t *testing.T) {
	cases := map[string]struct {
		reason string
		end    func(g *Generator, cancel func())
	}{
		"Stop":    {reason: "Stop ends the run", end: func(g *Generator, _ func()) { g.Stop() }},
		"Context": {reason: "the context ends the run", end: func(_ *Generator, cancel func()) { cancel() }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg, err := Config{Target: "http://shop.test", Rate: 10}.withDefaults()
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				g := newGenerator(cfg, &script{answer: always(time.Second, good())}, io.Discard)
				time.AfterFunc(1050*time.Millisecond, func() { tc.end(g, cancel) })
				got, err := g.Run(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(Totals{Sent: 11, Responses: 11}, got); diff != "" {
					t.Errorf("%s, and requests in flight end well: totals (-want +got):\n%s", tc.reason, diff)
				}
			})
		})
	}
}

// full is a disk that is full after some bytes.
type full struct{ left int }

func (f *full) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errors.New("disk full")
	}
	return len(p), nil
}

func TestRunFailsWhenTheLogCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, err := Config{Target: "http://shop.test", Rate: 10, Duration: time.Hour}.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err = newGenerator(cfg, &script{answer: always(0, good())}, &full{left: 1000}).Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), "disk full") {
			t.Errorf("Run: %v, want an error that says that the disk is full", err)
		}
		if took := time.Since(start); took > time.Minute {
			t.Errorf("the run went on for %s without a log", took)
		}
	})
}

// TestAwait: a load that waits for a first good answer counts from then on, and
// one that has waited in vain counts all the same.
func TestAwait(t *testing.T) {
	cases := map[string]struct {
		reason       string
		badFor, want int
	}{
		"Answered": {"three requests were refused before", 3, 0},
		"InVain":   {"of the 40 requests that are refused the first 21 are not counted", 40, 19},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{answer: func(n int) (time.Duration, Key) {
					if n < tc.badFor {
						return 0, Key{Reason: ReasonRefused}
					}
					return 0, good()
				}}
				log, _ := run(t, Config{Rate: 10, Duration: 3 * time.Second, Await: time.Second}, s)
				if all := log.All(); all.Bad().Total() != tc.want || all.Total() != 30 {
					t.Errorf("%s: %d of %d responses are bad, want %d of 30", tc.reason, all.Bad().Total(), all.Total(), tc.want)
				}
			})
		})
	}
}
