package evaluate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics"
)

// wild is a world of pods that come, restart and go, some of them unnoticed at
// first, with outages and with samples that come late.
func wild(random *rand.Rand, length float64) world {
	w := world{scrape: float64(5 + random.IntN(55))}
	for i := range 1 + random.IntN(5) {
		p := steady(fmt.Sprintf("canary-%d", i), random.Float64()*length, random.Float64()*20, random.Float64()*0.02)
		if random.IntN(3) == 0 {
			p.gone = p.born + random.Float64()*length
		}
		if life := 50 + random.Float64()*length; random.IntN(2) == 0 {
			served, failed := p.served, p.failed
			p.served = func(t float64) float64 { return served(t - life*float64(int(max(0, t)/life))) }
			p.failed = func(t float64) float64 { return failed(t - life*float64(int(max(0, t)/life))) }
		}
		w.pods = append(w.pods, p)
	}
	for i := range w.pods {
		w.pods[i].listed = random.Float64() * length
	}
	if random.IntN(3) == 0 {
		from := random.Float64() * length
		w.late = [2]float64{from, from + random.Float64()*length/2}
	}
	for range random.IntN(3) {
		from := random.Float64() * length
		w.outages = append(w.outages, [2]float64{from, from + random.Float64()*length/4})
	}
	return w
}

// TestHistorySavesReadingOnly: one evaluator that looks at a release again and
// again comes, at each look, to the verdict of one that begins then.
func TestHistorySavesReadingOnly(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 4))
		length := []float64{600, 3000, 8000}[random.IntN(3)]
		w := wild(random, length)
		metric := errorRate("1%")
		if random.IntN(2) == 0 {
			metric.Ratio.Bad = "failures_total" // Two questions.
		}
		e := w.evaluator()
		for at := 0.0; at < length*1.5; at += random.Float64() * length / 6 {
			r := w.request(at, template(metric))
			r.StepStart = after(at * random.Float64())
			switch random.IntN(12) {
			case 0: // A look that finds no source, at any of its queries.
				w.err = &metrics.Error{Failure: metrics.SourceUnavailable, Message: "down"}
				w.after = len(w.queries) + random.IntN(3)
				if _, err := e.Evaluate(t.Context(), r); err != nil {
					t.Fatal(err)
				}
				w.err = nil
			case 1: // A release of the same workload between two looks.
				other := r
				other.Release = 8
				if _, err := e.Evaluate(t.Context(), other); err != nil {
					t.Fatal(err)
				}
			}
			got, err := e.Evaluate(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			want, err := w.evaluator().Evaluate(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			seen[string(want.Value)]++
			if diff := cmp.Diff(want, got, cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "NextLook" }, cmp.Ignore())); diff != "" {
				t.Fatalf("seed %d at %v s: the one that begins then, and the one that has looked before:\n%s", seed, at, diff)
			}
		}
	}
	for _, v := range []string{"Pass", "NoFailure", "Fail", "NoData"} {
		if seen[v] < 20 {
			t.Errorf("only %d looks end in %s: the test shows little", seen[v], v)
		}
	}
}

// reading is a world that counts what is read from it.
type reading struct {
	*world
	samples int
	longest time.Duration
	// from and to are the span of the queries, which leave no gap.
	from, to time.Time
	gap      bool
}

func (r *reading) Counters(ctx context.Context, selector v1alpha1.Selector, owners metrics.Owners, start, end time.Time) ([]metrics.Series, error) {
	series, err := r.world.Counters(ctx, selector, owners, start, end)
	for _, s := range series {
		r.samples += len(s.Samples)
	}
	r.longest = max(r.longest, end.Sub(start))
	r.gap = r.gap || !r.to.IsZero() && !start.Equal(r.to)
	if r.to.IsZero() {
		r.from = start
	}
	r.to = end
	return series, err
}

// TestLongRelease: a release of two days is read once, in portions; then each
// look reads what is new.
func TestLongRelease(t *testing.T) {
	w := world{scrape: 15, pods: []pod{steady("canary-1", 0, 10, 0.001)}}
	r := &reading{world: &w}
	e := New(func(context.Context, string) (metrics.Source, error) { return r, nil })
	const days = 2 * 24 * 3600.0
	look := func(at float64) {
		t.Helper()
		*r = reading{world: r.world}
		got, err := e.Evaluate(t.Context(), w.request(at, template(errorRate("1%"))))
		if err != nil || got.Value != pass {
			t.Fatalf("got %s %q, %v", got.Value, got.Message, err)
		}
	}
	look(days)
	if r.samples < days/15 || r.longest > portion || r.gap || !r.from.Equal(begin.Add(-lookback)) || !r.to.Equal(after(days)) {
		t.Errorf("the first look reads everything, in portions: got %d samples from %s to %s, %s at a time, a gap: %t", r.samples, r.from, r.to, r.longest, r.gap)
	}
	look(days + 15)
	if most := int(2*settled.Seconds()/15) + 4; r.samples > most {
		t.Errorf("the next look reads what has not settled: got %d samples, want at most %d", r.samples, most)
	}
	if n := len(e.memory.histories); n != 1 {
		t.Errorf("one history is remembered, got %d", n)
	}
	// Another release, long after: the one before is forgotten.
	other := w.request(days+3600, template(errorRate("1%")))
	other.Release = 8
	if _, err := e.Evaluate(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if n := len(e.memory.histories); n != 1 {
		t.Errorf("an old history is forgotten, got %d", n)
	}
}
