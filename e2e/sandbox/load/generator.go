package load

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// maxLag is how late an arrival may be sent. When the process was held up for
// longer (a paused machine, say), what was due meanwhile is counted as unsent
// rather than sent in one burst that nobody asked for.
const maxLag = time.Second

// awaitInterval is the time between requests that look for a first good answer.
const awaitInterval = 50 * time.Millisecond

// Generator sends one load. Make one with New and call Run once.
type Generator struct {
	cfg    Config
	client sender
	record *recorder
	// session sent the last request.
	session int
	stop    context.CancelFunc
	done    context.Context // is done when the load is to stop early
}

// sender sends one request of a session, 0 for none, and tells how it ended.
type sender interface {
	send(ctx context.Context, session int) Key
}

// New returns a generator that is going to write its log to log. The header is
// written at once, and the times of the log count from now.
func New(cfg Config, log io.Writer) (*Generator, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	client, err := newClient(cfg)
	if err != nil {
		return nil, err
	}
	return newGenerator(cfg, client, log), nil
}

func newGenerator(cfg Config, client sender, log io.Writer) *Generator {
	header := Header{Name: cfg.Name, Target: cfg.Target, Host: cfg.Host, Rate: cfg.Rate, Started: time.Now()}
	g := &Generator{cfg: cfg, client: client, record: newRecorder(header, log)}
	g.done, g.stop = context.WithCancel(context.Background())
	return g
}

// Run sends requests until the duration has passed, ctx is done or Stop is
// called, then waits for those in flight, which have the timeout to end, and
// completes the log. An error is one of writing the log, never one of a
// request; it ends the run.
func (g *Generator) Run(ctx context.Context) (Totals, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(g.done, cancel)()

	g.await(ctx)
	var flushing sync.WaitGroup
	flushing.Go(func() { g.flush(ctx, cancel) })
	g.arrive(ctx, g.times(ctx))
	cancel()
	flushing.Wait()
	return g.record.close()
}

// await sends requests, which do not count, until one has a good answer.
func (g *Generator) await(ctx context.Context) {
	if g.cfg.Await == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Await)
	defer cancel()
	tick := time.NewTicker(awaitInterval)
	defer tick.Stop()
	for {
		one, done := context.WithTimeout(ctx, g.cfg.Timeout)
		answer := g.client.send(one, 0)
		done()
		if !badCode(answer.Code) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Stop ends the run early. It may be called at any time, from anywhere.
func (g *Generator) Stop() { g.stop() }

// Snapshot returns what has been counted so far.
func (g *Generator) Snapshot() (Counts, Totals) { return g.record.snapshot() }

// flush writes the log as it grows.
func (g *Generator) flush(ctx context.Context, fail func()) {
	tick := time.NewTicker(BucketSize)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if g.record.flush() != nil {
				fail() // close returns the error again
				return
			}
		}
	}
}

// arrive sends a request for each arrival and returns when the last has ended.
func (g *Generator) arrive(ctx context.Context, arrivals iter.Seq[time.Time]) {
	var inFlight sync.WaitGroup
	defer inFlight.Wait()
	slots := make(chan struct{}, g.cfg.MaxInFlight)
	// A request that was sent is not given up because the run ends.
	base := context.WithoutCancel(ctx)
	for due := range arrivals {
		if time.Since(due) > maxLag {
			g.record.unsent()
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			g.record.unsent()
			continue
		}
		g.record.sent()
		session := g.nextSession()
		inFlight.Go(func() {
			defer func() { <-slots }()
			one, cancel := context.WithTimeout(base, g.cfg.Timeout)
			defer cancel()
			g.record.ended(due, session, g.client.send(one, session))
		})
	}
}

// nextSession is whose turn it is, 0 where there are no sessions.
func (g *Generator) nextSession() int {
	if g.cfg.Sessions == 0 {
		return 0
	}
	g.session = g.session%g.cfg.Sessions + 1
	return g.session
}

// times yields the time of each arrival when it has come, until the duration has
// passed or ctx is done. The times are a schedule fixed by rate and seed: a late one does not delay
// those after it.
func (g *Generator) times(ctx context.Context) iter.Seq[time.Time] {
	// The second word only has to differ from a seed of 0.
	random := rand.New(rand.NewPCG(g.cfg.Seed, 0x9e3779b97f4a7c15)) //nolint:gosec // arrivals are no secret
	return func(yield func(time.Time) bool) {
		timer := time.NewTimer(0)
		defer timer.Stop()
		start, after := time.Now(), 0.0 // in units of 1/rate
		for {
			// The next time at a very low rate may be beyond what a Duration holds.
			offset := time.Duration(min(after/g.cfg.Rate, MaxDuration.Seconds()) * float64(time.Second))
			due := start.Add(min(offset, g.cfg.Duration))
			timer.Reset(time.Until(due))
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
			over := offset >= g.cfg.Duration
			if over || ctx.Err() != nil || !yield(due) {
				return
			}
			if g.cfg.Arrivals == Poisson {
				after += random.ExpFloat64()
			} else {
				after++
			}
		}
	}
}

// snapshot is what the control endpoint answers.
type snapshot struct {
	Totals Totals    `json:"totals"`
	Counts Counts    `json:"counts"`
	At     time.Time `json:"at"`
}

// Handler returns the control endpoint of a running load: GET /snapshot
// answers the counts so far, POST /stop ends the run.
func (g *Generator) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /snapshot", func(w http.ResponseWriter, _ *http.Request) {
		counts, totals := g.Snapshot()
		w.Header().Set("Content-Type", "application/json")
		// An error here means that the caller has gone.
		_ = json.NewEncoder(w).Encode(snapshot{Totals: totals, Counts: counts, At: time.Now()})
	})
	mux.HandleFunc("POST /stop", func(w http.ResponseWriter, _ *http.Request) {
		g.Stop()
		w.WriteHeader(http.StatusAccepted)
	})
	return mux
}
