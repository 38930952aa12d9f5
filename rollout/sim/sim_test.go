package sim

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// number reads a number from the environment.
func number(t testing.TB, name string, def uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return def
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s=%q is not a number", name, text)
	}
	return n
}

// TestSchedules runs schedules of consecutive seeds. It runs several at a time,
// each in a world of its own.
func TestSchedules(t *testing.T) {
	n := number(t, "WEIR_SIM_SCHEDULES", 50000)
	first := number(t, "WEIR_SIM_SEED", 1)
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	total := search(first, n, None)
	if len(total.Violations) > 0 {
		r := Run(total.Seed, None, true)
		t.Fatalf("%s\nreproduce: WEIR_SIM_SEED=%d WEIR_SIM_SCHEDULES=1 go test ./rollout/sim -run TestSchedules\n%s", r.Violations[0], r.Seed, r.Trace)
	}
	t.Logf("%d schedules, %d releases, %d promoted, %d writes (%d records)", n, total.Releases, total.Promoted, total.Writes, total.Records)
	for race, count := range total.Races {
		t.Logf("race %q: %d", Race(race), count)
		// What cannot be excluded must stay rare even in this weather.
		if limit := 10 + rareRaces[race]*int(n)/1_000_000; count > limit {
			t.Errorf("race %q: %d times in %d schedules, more than %d", Race(race), count, n, limit)
		}
	}
}

// rareRaces is how often each race may happen in a million schedules: about three
// times what a million have shown.
var rareRaces = [races]int{
	RaceInFlight:   20_000,
	RacePods:       1_200,
	RaceReplicas:   4_000,
	RaceTemplate:   150,
	RaceRoute:      30,
	RaceLateCreate: 45_000,
	RaceRevived:    900,
	RaceUnseen:     400,
}

// search runs n schedules from a seed on and adds up what they counted. It
// stops at the first that violates an invariant, and gives its seed.
func search(first, n uint64, mutant Mutant) Result {
	var total Result
	var mu sync.Mutex
	var next atomic.Uint64
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			var sum Result
			for i := next.Add(1) - 1; i < n && !stop.Load(); i = next.Add(1) - 1 {
				r := Run(first+i, mutant, false)
				sum.add(&r)
				if len(r.Violations) > 0 {
					stop.Store(true)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			total.add(&sum)
		})
	}
	wg.Wait()
	return total
}

// add adds the counts of another result; of two violations the lower seed wins.
func (r *Result) add(o *Result) {
	if len(o.Violations) > 0 && (len(r.Violations) == 0 || o.Seed < r.Seed) {
		r.Violations, r.Seed = o.Violations, o.Seed
	}
	for i := range o.Races {
		r.Races[i] += o.Races[i]
	}
	r.Writes += o.Writes
	r.Records += o.Records
	r.Releases += o.Releases
	r.Promoted += o.Promoted
}
